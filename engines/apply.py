"""The full-resolution repair: one bounded affine function per pixel, on planes or on RGB.

The form is that of models/veil.py `repair`; `reference` here is its plain float twin, to which
both kernels are held in the tests. Coefficients (a, c, b_y, b_u, b_v), 5 h' w', are smooth maps
in full-range BT.601; every pixel takes them at its own place (bilinear, half-pixel centres) and
nothing else from its neighbours, so no structure can appear that the input does not have.
Luma gain is at most GAIN_MAX and chroma gain at most CHROMA_GAIN_MAX. White pixels keep their hue
(a burnt-out one has none to restore), brightening rolls off into the headroom that a pixel has
(no new white patches), luma keeps a share of itself (no crushed shadows) and chroma shrinks, hue
unchanged, until the colour exists.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from engines.picture import LUMA_WEIGHTS, Matrix, Rgb, Yuv420, rgb_matrix

Maps = NDArray[np.float32]  # 5 h' w'
Floats = NDArray[np.float32]

GAIN_MAX = 1 / 0.22
CHROMA_GAIN_MAX = 2.0
SHADOW_KEEP = 0.15
HIGHLIGHT = 0.25
GAMUT_SLACK = 0.02
IDENTITY = (1.0, 1.0, 0.0, 0.0, 0.0)
# no "ninf" or "nnan": maps are checked, but a kernel must not assume
COMPILED = njit(
    nogil=True, cache=True, fastmath={"nsz", "arcp", "contract", "reassoc"}, error_model="numpy"
)


def bounded(maps: Maps, strength: float = 1.0) -> Maps:
    """Maps with gains held to the bound and blended with identity; non-finite ones refused.

    Raises ValueError for maps of the wrong shape or with a non-finite value.
    """
    if maps.ndim != 3 or maps.shape[0] != 5:
        raise ValueError(f"coefficients are 5 h w, not {maps.shape}")
    if not np.isfinite(maps).all():
        raise ValueError("a coefficient is not finite")
    identity = np.array(IDENTITY, np.float32)[:, None, None]
    out = identity + np.float32(strength) * (maps.astype(np.float32) - identity)
    np.clip(out[0], 0.0, GAIN_MAX, out=out[0])
    np.clip(out[1], 0.0, CHROMA_GAIN_MAX, out=out[1])
    return out


def to_matrix(maps: Maps, matrix: Matrix) -> Maps:
    """Offsets from BT.601 to another matrix; gains are common to both."""
    if matrix == "bt601":
        return maps
    turn = np.linalg.inv(rgb_matrix(matrix)) @ rgb_matrix("bt601")
    out = maps.copy()
    out[2:] = np.tensordot(turn.astype(np.float32), maps[2:], 1)
    return out


def axis(count: int, cells: int, extent: float | None = None) -> tuple[NDArray[np.int64], Floats]:
    """For every sample of a side: the first of its two map cells, and the share of the second.

    extent: the side in samples where it is not `count` (half of an odd side, for chroma).
    """
    place = (np.arange(count, dtype=np.float64) + 0.5) * cells / (extent or count) - 0.5
    place = np.clip(place, 0, cells - 1)
    first = np.minimum(place.astype(np.int64), max(cells - 2, 0))
    return first, (place - first).astype(np.float32)


def widen(maps: Maps, width: int, extent: float | None = None) -> Maps:
    """Maps interpolated along x to `width` samples: n h' width."""
    first, share = axis(width, maps.shape[2], extent)
    second = np.minimum(first + 1, maps.shape[2] - 1)
    out: Maps = maps[:, :, first] * (1 - share) + maps[:, :, second] * share
    return out


@COMPILED
def _planes(y, u, v, luma, chroma, fy, sy, fc, sc, low, span, cspan, kr, kb, oy, ou, ov):  # type: ignore[no-untyped-def]
    """luma: 2 h' w (a, b_y); chroma: 3 h' w/2 (c, b_u, b_v), offsets in grey levels."""
    h, w = y.shape
    ch, cw = u.shape
    gain, offset = np.empty(w, np.float32), np.empty(w, np.float32)
    c, bu, bv = np.empty(cw, np.float32), np.empty(cw, np.float32), np.empty(cw, np.float32)
    before, after = np.empty(2 * cw, np.float32), np.empty(2 * cw, np.float32)
    keep, top = np.float32(SHADOW_KEEP), np.float32(span)
    low32, inverse = np.float32(low), np.float32(1.0 / (HIGHLIGHT * span))
    slack = np.float32(GAMUT_SLACK * span)
    rv, bu_ = np.float32(2 * (1 - kr)), np.float32(2 * (1 - kb))
    gu, gv = (
        np.float32(-2 * (1 - kb) * kb / (1 - kr - kb)),
        np.float32(-2 * (1 - kr) * kr / (1 - kr - kb)),
    )
    scale = np.float32(span / cspan)  # chroma levels to luma levels
    half, one, zero, tiny = np.float32(0.5), np.float32(1), np.float32(0), np.float32(1e-4)
    for j in range(ch):
        before[:] = zero
        after[:] = zero
        rows = 2 if 2 * j + 1 < h else 1
        for r in range(rows):
            row = 2 * j + r
            first, share = fy[row], sy[row]
            second = min(first + 1, luma.shape[1] - 1)
            for i in range(w):
                gain[i] = luma[0, first, i] + share * (luma[0, second, i] - luma[0, first, i])
                offset[i] = luma[1, first, i] + share * (luma[1, second, i] - luma[1, first, i])
            source, target = y[row], oy[row]
            for i in range(w):
                p = np.float32(source[i]) - low32
                change = max(gain[i] * p + offset[i], keep * p) - p
                room, rise = max(top - p, zero), max(change, zero)
                q = p + min(change, zero) + rise * room / (room + rise + tiny)
                q = min(max(q, min(p, zero)), max(top, p))
                before[i] += p
                after[i] += q
                target[i] = np.uint8(q + low32 + half)
        first, share = fc[j], sc[j]
        second = min(first + 1, chroma.shape[1] - 1)
        for i in range(cw):
            c[i] = chroma[0, first, i] + share * (chroma[0, second, i] - chroma[0, first, i])
            bu[i] = chroma[1, first, i] + share * (chroma[1, second, i] - chroma[1, first, i])
            bv[i] = chroma[2, first, i] + share * (chroma[2, second, i] - chroma[2, first, i])
        if w % 2:
            before[w] = before[w - 1]
            after[w] = after[w - 1]
        norm = np.float32(0.5 / rows)
        su, sv, du, dv = u[j], v[j], ou[j], ov[j]
        for i in range(cw):
            p = (before[2 * i] + before[2 * i + 1]) * norm
            q = (after[2 * i] + after[2 * i + 1]) * norm
            fade = min(max((top - p) * inverse, zero), one)
            pu, pv = np.float32(su[i]) - np.float32(128), np.float32(sv[i]) - np.float32(128)
            qu = pu + fade * (c[i] * pu + bu[i] - pu)
            qv = pv + fade * (c[i] * pv + bv[i] - pv)
            red, blue = rv * qv * scale, bu_ * qu * scale
            green = (gu * qu + gv * qv) * scale
            most = max(max(red, green), max(blue, np.float32(0.03)))
            least = max(max(-red, -green), max(-blue, np.float32(0.03)))
            fit = min(min((top + slack - q) / most, q / least), one)
            fit = max(fit, zero)
            du[i] = np.uint8(min(max(qu * fit + np.float32(128.5), zero), np.float32(255.4)))
            dv[i] = np.uint8(min(max(qv * fit + np.float32(128.5), zero), np.float32(255.4)))


@COMPILED
def _rgb(pixels, wide, fy, sy, kr, kb, out):  # type: ignore[no-untyped-def]
    """wide: 5 h' w in units of 0-1. Rows are taken apart into channels, which vectorises."""
    h, w, _ = pixels.shape
    r, g, b = np.empty(w, np.float32), np.empty(w, np.float32), np.empty(w, np.float32)
    kr, kb = np.float32(kr), np.float32(kb)
    kg = np.float32(1) - kr - kb
    ru, bv_ = np.float32(2) * (np.float32(1) - kb), np.float32(2) * (np.float32(1) - kr)
    iu, iv, ig = np.float32(1) / ru, np.float32(1) / bv_, np.float32(-1) / kg
    one, zero, full = np.float32(1), np.float32(0), np.float32(255)
    slack, keep, tiny = np.float32(GAMUT_SLACK), np.float32(SHADOW_KEEP), np.float32(1e-6)
    steep, least_chroma = np.float32(1 / HIGHLIGHT), np.float32(1e-4)
    scale, half = np.float32(1 / 255), np.float32(0.5)
    for row in range(h):
        first, share = fy[row], sy[row]
        second = min(first + 1, wide.shape[1] - 1)
        source, target = pixels[row], out[row]
        for i in range(w):
            r[i] = np.float32(source[i, 0])
            g[i] = np.float32(source[i, 1])
            b[i] = np.float32(source[i, 2])
        for i in range(w):
            a = wide[0, first, i] + share * (wide[0, second, i] - wide[0, first, i])
            c = wide[1, first, i] + share * (wide[1, second, i] - wide[1, first, i])
            oy = wide[2, first, i] + share * (wide[2, second, i] - wide[2, first, i])
            ou = wide[3, first, i] + share * (wide[3, second, i] - wide[3, first, i])
            ov = wide[4, first, i] + share * (wide[4, second, i] - wide[4, first, i])
            red, blue = r[i] * scale, b[i] * scale
            p = kr * red + kg * (g[i] * scale) + kb * blue
            pu, pv = (blue - p) * iu, (red - p) * iv
            fade = min(max((one - p) * steep, zero), one)
            change = max(a * p + oy, keep * p) - p
            room, rise = one - p, max(change, zero)
            q = min(max(p + min(change, zero) + rise * room / (room + rise + tiny), zero), one)
            qu = pu + fade * (c * pu + ou - pu)
            qv = pv + fade * (c * pv + ov - pv)
            red, blue = bv_ * qv, ru * qu
            green = (kr * red + kb * blue) * ig
            most = max(max(red, green), max(blue, least_chroma))
            least = max(max(-red, -green), max(-blue, least_chroma))
            fit = max(min(min((one + slack - q) / most, q / least), one), zero)
            r[i] = min(max((q + fit * red) * full, zero), full) + half
            g[i] = min(max((q + fit * green) * full, zero), full) + half
            b[i] = min(max((q + fit * blue) * full, zero), full) + half
        for i in range(w):
            target[i, 0] = np.uint8(r[i])
            target[i, 1] = np.uint8(g[i])
            target[i, 2] = np.uint8(b[i])


def apply_yuv420(picture: Yuv420, maps: Maps, strength: float = 1.0) -> Yuv420:
    """Repairs planes in their own matrix and range. maps: 5 h' w'. New planes, same colour."""
    maps = to_matrix(bounded(maps, strength), picture.colour.matrix)
    h, w = picture.height, picture.width
    ch, cw = picture.u.shape
    full = picture.colour.full_range
    low, span, cspan = (0, 255.0, 255.0) if full else (16, 219.0, 224.0)
    kr, kb = LUMA_WEIGHTS[picture.colour.matrix]
    luma = widen(maps[[0, 2]], w)
    luma[1] *= np.float32(span)
    chroma = widen(maps[[1, 3, 4]], cw, w / 2)
    chroma[1:] *= np.float32(cspan)
    fy, sy = axis(h, maps.shape[1])
    fc, sc = axis(ch, maps.shape[1], h / 2)
    y, u, v = (np.empty(p.shape, np.uint8) for p in (picture.y, picture.u, picture.v))
    planes = picture.y, picture.u, picture.v
    _planes(*planes, luma, chroma, fy, sy, fc, sc, low, span, cspan, kr, kb, y, u, v)
    return Yuv420(y, u, v, picture.colour)


def apply_rgb(picture: Rgb, maps: Maps, strength: float = 1.0) -> Rgb:
    """Repairs packed RGB. maps: 5 h' w'."""
    maps = bounded(maps, strength)
    wide = widen(maps, picture.width)
    fy, sy = axis(picture.height, maps.shape[1])
    out = np.empty_like(picture.pixels, order="C")
    _rgb(picture.pixels, wide, fy, sy, *LUMA_WEIGHTS["bt601"], out)
    return Rgb(out)


def reference(rgb: NDArray[np.float64], maps: Maps) -> NDArray[np.float64]:
    """The repair in plain float64: h w 3 in [0, 1] in and out. Slow; the kernels' yardstick."""
    h, w, _ = rgb.shape
    (fx, sx), (fy, sy) = axis(w, maps.shape[2]), axis(h, maps.shape[1])
    fx2, fy2 = np.minimum(fx + 1, maps.shape[2] - 1), np.minimum(fy + 1, maps.shape[1] - 1)
    m = maps.astype(np.float64)
    rows = m[:, fy] * (1 - sy[:, None]) + m[:, fy2] * sy[:, None]
    a, c, by, bu, bv = rows[:, :, fx] * (1 - sx) + rows[:, :, fx2] * sx
    kr, kb = LUMA_WEIGHTS["bt601"]
    y, u, v = np.moveaxis(rgb @ np.linalg.inv(rgb_matrix("bt601")).T, 2, 0)
    fade = np.clip((1 - y) / HIGHLIGHT, 0, 1)
    change = np.maximum(a * y + by, SHADOW_KEEP * y) - y
    room, rise = 1 - y, np.maximum(change, 0)
    y1 = np.clip(y + np.minimum(change, 0) + rise * room / (room + rise + 1e-6), 0, 1)
    u1, v1 = u + fade * (c * u + bu - u), v + fade * (c * v + bv - v)
    chroma = np.stack(
        (
            2 * (1 - kr) * v1,
            -2 * (kr * (1 - kr) * v1 + kb * (1 - kb) * u1) / (1 - kr - kb),
            2 * (1 - kb) * u1,
        )
    )
    fit = np.minimum(
        (1 + GAMUT_SLACK - y1) / np.maximum(chroma.max(0), 1e-4),
        y1 / np.maximum((-chroma).max(0), 1e-4),
    )
    out = y1 + np.clip(fit, 0, 1) * chroma
    restored: NDArray[np.float64] = np.clip(np.moveaxis(out, 0, 2), 0, 1)
    return restored
