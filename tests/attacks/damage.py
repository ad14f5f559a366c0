"""Attacks on the files of a signed bundle: damage, swaps, additions, links."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from functools import partial

from attacks.lab import FILES, Case, Lab, changed, forged
from bundles import forge, tiny_model, tiny_vector

from engines.bundle import Vector, pack
from engines.errors import ContentWrong, ListingWrong, ManifestInvalid, SignatureWrong


def flips() -> Iterator[Case]:
    for name in FILES:
        for n in range(24):

            def attack(lab: Lab, name: str = name) -> None:
                data = bytearray((lab.folder / name).read_bytes())
                data[lab.rng.integers(len(data))] ^= 1 << int(lab.rng.integers(8))
                (lab.folder / name).write_bytes(data)

            yield Case(f"bit-flip-{n}-{name}", changed(name), attack)


def sizes() -> Iterator[Case]:
    for name in FILES:
        for share in (0.0, 0.1, 0.5, 0.9, 0.999):

            def cut(lab: Lab, name: str = name, share: float = share) -> None:
                data = (lab.folder / name).read_bytes()
                (lab.folder / name).write_bytes(data[: int(len(data) * share)])

            # a short signature is no signature; its length is checked as a file's
            wrong = ContentWrong if name == "manifest.sig" else changed(name)
            yield Case(f"truncated-{share}-{name}", wrong, cut)

        def grow(lab: Lab, name: str = name) -> None:
            with (lab.folder / name).open("ab") as file:
                file.write(b"\0")

        wrong = ContentWrong if name == "manifest.sig" else changed(name)
        yield Case(f"longer-{name}", wrong, grow)


def swaps() -> Iterator[Case]:
    for i, one in enumerate(FILES):
        for two in FILES[i + 1 :]:

            def swap(lab: Lab, one: str = one, two: str = two) -> None:
                a, b = (lab.folder / one).read_bytes(), (lab.folder / two).read_bytes()
                (lab.folder / one).write_bytes(b)
                (lab.folder / two).write_bytes(a)

            short = "manifest.sig" in (one, two)
            wrong = ContentWrong if short or not one.startswith("manifest") else SignatureWrong
            yield Case(f"swapped-{one}-{two}", wrong, swap)
    for name in ("manifest.json", "manifest.sig", "model.onnx", "selftest.npz"):

        def borrow(lab: Lab, name: str = name) -> None:
            other = lab.scratch / "other"
            model = tiny_model()
            model.graph.node[1].name = "different"
            vector = pack(Vector(tiny_vector().inputs, tiny_vector().outputs, 0))
            forge(
                other,
                lab.trusted,
                files={"model.onnx": model.SerializeToString(), "selftest.npz": vector + b"\0"},
                version="1.0.1",
            )
            shutil.copy(other / name, lab.folder / name)

        yield Case(f"another-bundles-{name}", changed(name), borrow)
        if name.startswith("manifest"):
            continue

        def keep_size(lab: Lab, name: str = name) -> None:
            size = (lab.folder / name).stat().st_size
            (lab.folder / name).write_bytes(lab.rng.bytes(size))

        yield Case(f"other-bytes-same-size-{name}", ContentWrong, keep_size)


def listing() -> Iterator[Case]:
    for name in (
        "evil.so", ".hidden", "model.plan", "model.onnx.data", "manifest.json.bak", "MODEL.ONNX",
        "model.onnx~", "__init__.py", "conftest.py", "a b", "é",
    ):  # fmt: skip
        yield Case(
            f"unlisted-{name}",
            ListingWrong,
            partial(Lab.add, name=name),
        )
    yield Case("unlisted-folder", ListingWrong, lambda lab: (lab.folder / "sub").mkdir())
    yield Case("unlisted-pipe", ListingWrong, lambda lab: os.mkfifo(lab.folder / "pipe"))
    for name in FILES[2:]:
        yield Case(f"missing-{name}", ListingWrong, partial(Lab.remove, name=name))
    yield Case("missing-manifest.json", ListingWrong, lambda lab: (lab.folder / FILES[0]).unlink())
    yield Case("missing-manifest.sig", SignatureWrong, lambda lab: (lab.folder / FILES[1]).unlink())
    for path in (
        "/etc/passwd", "/tmp/model.onnx", "../model.onnx", "..", ".", "", "sub/model.onnx",
        "./CARD.md", "sub/../CARD.md", "..\\model.onnx", "C:\\model.onnx", "CARD.md\0.onnx",
        "~/CARD.md", "//host/share", "CARD.md/", ".CARD.md", "-rf", "A" * 129, "manifest.json",
        "manifest.sig", "model.ONNX", "CARD\n.md", "CARD.md ",
    ):  # fmt: skip
        yield Case(
            f"listed-as-{path[:20]!r}",
            ManifestInvalid,
            forged(listed_as={"CARD.md": path}),
        )


def links() -> Iterator[Case]:
    for name in FILES:

        def symbolic(lab: Lab, name: str = name) -> None:
            (lab.folder / name).rename(lab.scratch / name)
            (lab.folder / name).symlink_to(lab.scratch / name)

        def relative(lab: Lab, name: str = name) -> None:
            (lab.folder / name).rename(lab.folder.parent / f"{lab.folder.name}-{name}")
            (lab.folder / name).symlink_to(f"../{lab.folder.name}-{name}")

        def dangling(lab: Lab, name: str = name) -> None:
            (lab.folder / name).unlink()
            (lab.folder / name).symlink_to("nowhere")

        def hard(lab: Lab, name: str = name) -> None:
            os.link(lab.folder / name, lab.scratch / name)

        def pipe(lab: Lab, name: str = name) -> None:
            (lab.folder / name).unlink()
            os.mkfifo(lab.folder / name)

        def folder(lab: Lab, name: str = name) -> None:
            (lab.folder / name).unlink()
            (lab.folder / name).mkdir()

        for attack in (symbolic, relative, dangling, hard, pipe, folder):
            yield Case(f"{attack.__name__}-{name}", ListingWrong, attack)

    def whole(lab: Lab) -> None:
        lab.folder.rename(lab.scratch / "real")
        lab.folder.symlink_to(lab.scratch / "real")

    yield Case("symbolic-folder", ListingWrong, whole)

    def device(lab: Lab) -> None:
        (lab.folder / "model.onnx").unlink()
        (lab.folder / "model.onnx").symlink_to("/dev/zero")

    yield Case("model-is-a-device", ListingWrong, device)


def cases() -> list[Case]:
    """Every attack of this file."""
    return [case for family in (flips, sizes, swaps, listing, links) for case in family()]
