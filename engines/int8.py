"""What eight bits would give `veil` on the CPU: its time and its answers beside FP32's.

The convolutions are quantised after the fact (ONNX Runtime, per channel, ranges from real
pictures) and both graphs are run on pictures that the ranges were not taken from. A quantised
graph is worth shipping only if it is quicker and passes the bundle's own self-test; docs/engines.md
says what came out.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from engines.engine import Array
from engines.errors import BackendMissing

ROUNDS = 5
Feeds = Sequence[Mapping[str, Array]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """*_ms: CPU time of one run on one thread, median; worst: the largest difference of each
    output over all pictures; tolerance: what the bundle's self-test allows."""

    fp32_ms: float
    int8_ms: float
    worst: Mapping[str, float]
    tolerance: float

    @property
    def quicker(self) -> bool:
        return self.int8_ms < self.fp32_ms

    @property
    def lossless(self) -> bool:
        return max(self.worst.values()) <= self.tolerance

    def line(self) -> str:
        far = max(self.worst, key=lambda name: self.worst[name])
        return (
            f"int8 {self.int8_ms:.2f} ms against {self.fp32_ms:.2f} ms in fp32"
            f" ({self.int8_ms / self.fp32_ms:.2f}); off by up to {self.worst[far]:.3g} in {far},"
            f" allowed {self.tolerance:g}: {'worth it' if self.quicker and self.lossless else 'no'}"
        )


class _Calibration:
    """Pictures one by one, as the quantiser asks for them."""

    def __init__(self, feeds: Feeds) -> None:
        self._feeds = iter(feeds)

    def get_next(self) -> Mapping[str, Array] | None:
        return next(self._feeds, None)


def quantised(model: bytes, feeds: Feeds) -> bytes:
    """The graph with its convolutions in 8 bits. Raises BackendMissing where onnx is absent."""
    try:
        from onnxruntime import quantization
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ImportError as error:
        raise BackendMissing(
            f"quantising needs onnx ({error})", "install the extra `train`"
        ) from error
    with tempfile.TemporaryDirectory() as folder:
        source, ready, target = (Path(folder) / f"{name}.onnx" for name in "abc")
        source.write_bytes(model)
        quant_pre_process(str(source), str(ready), skip_symbolic_shape=True)
        quantization.quantize_static(
            str(ready), str(target), _Calibration(feeds), op_types_to_quantize=["Conv"],
            quant_format=quantization.QuantFormat.QDQ, per_channel=True, reduce_range=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
        )  # fmt: skip
        return target.read_bytes()


def compare(model: bytes, calibration: Feeds, pictures: Feeds, tolerance: float) -> Outcome:
    """Both graphs over `pictures`, in turn, so that a busy machine hits both alike."""
    full, less = _session(model), _session(quantised(model, calibration))
    names = [output.name for output in full.get_outputs()]
    worst = dict.fromkeys(names, 0.0)
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(ROUNDS):
        for feed in pictures:
            want, have = (
                _timed(s, names, feed, t) for s, t in zip((full, less), times, strict=True)
            )
            for name, a, b in zip(names, want, have, strict=True):
                worst[name] = max(worst[name], float(np.abs(a - b).max()))
        if number == 0:
            times[0].clear()  # warm now
            times[1].clear()
    return Outcome(
        fp32_ms=float(np.median(times[0])), int8_ms=float(np.median(times[1])), worst=worst,
        tolerance=tolerance,
    )  # fmt: skip


def _session(model: bytes) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _timed(session: Any, names: list[str], feed: Mapping[str, Array], times: list[float]) -> Any:
    started = time.process_time()
    out = session.run(names, dict(feed))
    times.append((time.process_time() - started) * 1e3)
    return out
