"""A tiny network over decoder planes, as a bundle and on the simulated GPU."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from bundles import tiny_fields
from gpus import FakeDevice
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from engines.bundle import Bundle, Vector, write
from engines.contract import ports

H, W = 24, 40
BRIGHTER, WARMER = 30.0, np.array([-6.0, 8.0], np.float32)  # luma; U and V, at full strength
Bytes = NDArray[np.uint8]


def expected(luma: Bytes, chroma: Bytes, strength: float = 1.0) -> tuple[Bytes, Bytes]:
    y = np.clip(luma.astype(np.float32) + BRIGHTER * strength, 0, 255)
    uv = np.clip(chroma.astype(np.float32) + WARMER * strength, 0, 255)
    return y.astype(np.uint8), uv.astype(np.uint8)


def planes(seed: int = 0) -> tuple[Bytes, Bytes]:
    rng = np.random.default_rng(seed)
    return (
        rng.integers(20, 200, (H, W), np.uint8),
        rng.integers(100, 156, (H // 2, W // 2, 2), np.uint8),
    )


def plane_bundle(folder: Path) -> Bundle:
    """Adds a constant to each plane, times strength."""
    nodes, values = [], []
    for plane, change in (("luma", np.float32(BRIGHTER)), ("chroma", WARMER)):
        values.append(numpy_helper.from_array(np.asarray(change), f"{plane}.change"))
        nodes += [
            helper.make_node("Cast", [plane], [f"{plane}.f"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [f"{plane}.change", "strength"], [f"{plane}.much"]),
            helper.make_node("Add", [f"{plane}.f", f"{plane}.much"], [f"{plane}.more"]),
            helper.make_node("Clip", [f"{plane}.more", "low", "high"], [f"{plane}.held"]),
            helper.make_node("Cast", [f"{plane}.held"], [f"restored_{plane}"],
                             to=TensorProto.UINT8),
        ]  # fmt: skip
    values += [
        numpy_helper.from_array(np.float32(0), "low"),
        numpy_helper.from_array(np.float32(255), "high"),
    ]
    byte, real = TensorProto.UINT8, TensorProto.FLOAT
    sizes = {"luma": (1, H, W), "chroma": (1, H // 2, W // 2, 2)}
    graph = helper.make_graph(
        nodes,
        "planes",
        [
            *(helper.make_tensor_value_info(n, byte, s) for n, s in sizes.items()),
            helper.make_tensor_value_info("strength", real, (1,)),
        ],
        [helper.make_tensor_value_info(f"restored_{n}", byte, s) for n, s in sizes.items()],
        values,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    inputs, outputs = ports("nv12", (H, W))
    luma, chroma = planes(7)
    y, uv = expected(luma, chroma)
    vector = Vector(
        {"luma": luma[None], "chroma": chroma[None], "strength": np.ones(1, np.float32)},
        {"restored_luma": y[None], "restored_chroma": uv[None]},
        0.0,
    )
    fields = tiny_fields(name="planes", inputs=inputs, outputs=outputs)
    files = {"model.onnx": model.SerializeToString(), "CARD.md": b"# planes\n"}
    return write(folder, fields, files, vector)


@dataclass
class PlaneContext:
    """Runs the same on the simulated GPU."""

    device: FakeDevice
    addresses: dict[str, int] = field(default_factory=dict)

    def set_tensor_address(self, name: str, address: int) -> None:
        self.addresses[name] = address

    def is_stream_capturable(self, stream: int) -> bool:
        return True

    def execute_async_v3(self, stream: int) -> bool:
        memory, at = self.device.memory, dict(self.addresses)

        def compute() -> None:
            strength = float(memory[at["strength"]].view(np.float32)[0])
            luma = memory[at["luma"]].reshape(H, W)
            chroma = memory[at["chroma"]].reshape(H // 2, W // 2, 2)
            y, uv = expected(luma, chroma, strength)
            memory[at["restored_luma"]][:] = y.reshape(-1)
            memory[at["restored_chroma"]][:] = uv.reshape(-1)

        self.device.enqueue(compute, stream)
        return True


@dataclass
class PlaneTrt:
    """As much of the TensorRT package as running a plan needs."""

    bundle: Bundle
    context: PlaneContext
    __name__ = "tensorrt"
    __version__: str = "11.4"

    class ILogger:
        ERROR, INTERNAL_ERROR, WARNING = range(3)

        def __init__(self) -> None: ...

    def Runtime(self, logger: Any) -> Any:  # noqa: N802
        manifest = self.bundle.manifest
        tensors = {port.name: port for port in (*manifest.inputs, *manifest.outputs)}
        engine = SimpleNamespace(
            num_io_tensors=len(tensors),
            get_tensor_name=lambda n: list(tensors)[n],
            get_tensor_shape=lambda name: tensors[name].shape,
            get_tensor_dtype=lambda name: tensors[name].dtype,
            create_execution_context=lambda: self.context,
        )
        return SimpleNamespace(deserialize_cuda_engine=lambda plan: engine)

    def nptype(self, dtype: Any) -> Any:
        return np.dtype(dtype)
