"""Attacks by the model file, each consistent and signed by the trusted key."""

from __future__ import annotations

import copy
import os
import pickle
from collections.abc import Iterator
from functools import partial
from io import BytesIO
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import onnx
from attacks.lab import Case, Lab, forged, modelled, regraphed
from bundles import tiny_graph, tiny_model
from onnx import TensorProto, helper

from engines.errors import ContentWrong, ManifestInvalid, ModelInvalid


def external() -> Iterator[Case]:
    def model_with(**entry: str) -> onnx.ModelProto:
        model = tiny_model()
        gain = model.graph.initializer[0]
        gain.ClearField("raw_data")
        gain.data_location = TensorProto.EXTERNAL
        for key, value in entry.items():
            gain.external_data.add(key=key, value=value)
        return model

    for location in (
        "/etc/passwd", "../secret", "..", "", ".", "sub/weights", "nowhere.bin", "model.onnx",
        "weights.bin/../weights.bin", "./weights.bin", "WEIGHTS.BIN", "weights.bin\0",
        "file:///etc/passwd", "manifest.json",
    ):  # fmt: skip
        yield Case(
            f"external-at-{location!r}",
            ModelInvalid,
            forged(
                files={
                    "model.onnx": model_with(location=location).SerializeToString(),
                    "weights.bin": bytes(12),
                }
            ),
        )
    for offset, length in (
        ("0", "13"), ("1", "12"), ("13", "12"), ("-1", "12"), ("0", "-1"), ("0", "9" * 30),
        ("9" * 18, "12"), ("0x0", "12"), ("0", "1e1"), ("", ""), ("٠", "12"),
    ):  # fmt: skip
        model = model_with(location="weights.bin", offset=offset, length=length)
        yield Case(
            f"external-offset-{offset[:5]}-length-{length[:5]}",
            ModelInvalid,
            forged(files={"model.onnx": model.SerializeToString(), "weights.bin": bytes(12)}),
        )

    def quiet(graph: onnx.GraphProto) -> None:  # external, but not said to be
        graph.initializer[0].external_data.add(key="location", value="/etc/passwd")

    yield Case("external-unsaid", ModelInvalid, regraphed(quiet))

    both = model_with(location="weights.bin")  # two sources: readers differ in which they take
    both.graph.initializer[0].data_location = TensorProto.DEFAULT
    both.graph.initializer[0].raw_data = bytes(12)
    files = {"model.onnx": both.SerializeToString(), "weights.bin": b"\1" * 12}
    yield Case("external-and-inside", ModelInvalid, forged(files=files))

    def attribute(graph: onnx.GraphProto) -> None:
        tensor = model_with(location="/etc/passwd").graph.initializer[0]
        graph.node.insert(0, helper.make_node("Constant", [], ["hidden"], value=tensor))

    yield Case("external-in-a-constant", ModelInvalid, regraphed(attribute))


def huge() -> Iterator[Case]:
    for size in (-1, (1 << 31) + 1, 1 << 40, 1 << 63, 10**30):
        yield Case(
            f"claims-{size}-bytes",
            ManifestInvalid,
            forged(entries={"CARD.md": {"size": size}}),
        )

    def sparse(lab: Lab, name: str, size: int) -> None:
        lab.forge(entries={name: {"size": size}})
        os.truncate(lab.folder / name, size)

    yield Case(
        "claims-and-holds-a-tebibyte", ManifestInvalid, lambda lab: sparse(lab, "CARD.md", 1 << 40)
    )

    def together(lab: Lab) -> None:
        many = {f"part{n}.bin": b"" for n in range(4)}
        lab.forge(files=many, entries={name: {"size": 1 << 30} for name in many} | {
            "CARD.md": {"size": 1 << 31}})  # fmt: skip

    yield Case("claims-too-much-together", ManifestInvalid, together)
    yield Case(
        "claims-sixty-five-files",
        ManifestInvalid,
        forged(files={f"f{n}": b"" for n in range(64)}),
    )
    for name in ("manifest.json", "manifest.sig", "model.onnx"):
        yield Case(
            f"grown-to-a-tebibyte-{name}",
            ContentWrong,
            partial(Lab.grow, name=name, size=1 << 40),
        )

    for dims in ((1 << 40,), (1 << 31, 1 << 31), (-1,), (1 << 62, 4), (4,), (3, 0)):

        def tensor(graph: onnx.GraphProto, dims: tuple[int, ...] = dims) -> None:
            del graph.initializer[0].dims[:]
            graph.initializer[0].dims.extend(dims)

        yield Case(f"tensor-claims-{dims}", ModelInvalid, regraphed(tensor))

    for dims in ((1 << 40,), (-1,)):

        def typed(graph: onnx.GraphProto, dims: tuple[int, ...] = dims) -> None:
            tensor = graph.initializer[0]
            tensor.ClearField("raw_data")
            tensor.float_data.append(1.0)  # no length to hold the claim to
            del tensor.dims[:]
            tensor.dims.extend(dims)

        yield Case(f"typed-tensor-claims-{dims}", ModelInvalid, regraphed(typed))

    def bomb(lab: Lab) -> None:
        buffer = BytesIO()
        with ZipFile(buffer, "w", ZIP_DEFLATED) as archive, archive.open("in.frame.npy", "w") as f:
            for _ in range(300):
                f.write(bytes(1 << 20))
        lab.forge(files={"selftest.npz": buffer.getvalue()})

    yield Case("self-test-unpacks-to-300-MB", ManifestInvalid, bomb)


def models() -> Iterator[Case]:
    for opset in (1, 19, 21, 99):
        yield Case(f"opset-{opset}", ModelInvalid, modelled(tiny_model(opset=opset)))
    for claimed in (0, -1, 100, 2.5, "20"):
        yield Case(f"manifest-opset-{claimed}", ManifestInvalid, forged(opset=claimed))
    no_opset = tiny_model()
    del no_opset.opset_import[:]
    yield Case("no-opset", ModelInvalid, modelled(no_opset))
    foreign = tiny_model()
    foreign.opset_import.add(domain="com.evil", version=1)
    yield Case("foreign-domain", ModelInvalid, modelled(foreign))

    weights = {"layer.weight": np.ones(3, np.float32)}
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        data = pickle.dumps(weights, protocol)
        yield Case(f"pickle-{protocol}-renamed", ModelInvalid, modelled(data))
    buffer = BytesIO()
    with ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(weights))
    model = tiny_model().SerializeToString()
    for name, data in {
        "zip": buffer.getvalue(),
        "ort-flatbuffer": b"\x18\0\0\0ORTM" + bytes(64),
        "elf": b"\x7fELF\x02\x01\x01" + bytes(64),
        "empty": b"",
        "text": b"import os\n",
        "zeros": bytes(256),
        "ones": b"\xff" * 256,
        "noise": np.random.default_rng(3).bytes(4096),
        "half": model[: len(model) // 2],
        "with-a-tail": model + b"\x00",
        "twice": model + model,
        "endless-varint": b"\x08" + b"\xff" * 64,
        "group": b"\x0b\x0c",
    }.items():
        yield Case(f"model-is-{name}", ModelInvalid, modelled(data))


def graphs() -> Iterator[Case]:
    def custom(graph: onnx.GraphProto) -> None:
        graph.node[1].domain = "com.evil"

    def vendor(graph: onnx.GraphProto) -> None:
        graph.node[1].domain = "com.microsoft"

    def loop(graph: onnx.GraphProto) -> None:
        graph.node.append(helper.make_node("Loop", ["", ""], ["x"], body=tiny_graph("body")))

    def cycle(graph: onnx.GraphProto) -> None:
        graph.node[0].input[0] = "held"

    def itself(graph: onnx.GraphProto) -> None:
        graph.node[1].input[0] = "more"

    def order(graph: onnx.GraphProto) -> None:
        nodes = [copy.deepcopy(n) for n in reversed(graph.node)]
        del graph.node[:]
        graph.node.extend(nodes)

    def nobody(graph: onnx.GraphProto) -> None:
        graph.node[1].input[1] = "nothing"

    def no_output(graph: onnx.GraphProto) -> None:
        graph.output[0].name = "nothing"

    def renamed(graph: onnx.GraphProto) -> None:
        graph.input[0].name = graph.node[0].input[0] = "image"

    def second(graph: onnx.GraphProto) -> None:
        graph.input.append(helper.make_tensor_value_info("more_in", TensorProto.FLOAT, (1,)))

    def empty(graph: onnx.GraphProto) -> None:
        del graph.node[:]

    def deep(graph: onnx.GraphProto) -> None:
        inner = tiny_graph("inner")
        for _ in range(40):
            node = helper.make_node("If", ["c"], ["x"], then_branch=inner, else_branch=inner)
            inner = helper.make_graph([node], "g", [], [])
            inner.initializer.add(name="c", data_type=TensorProto.BOOL)
            if inner.ByteSize() > 1 << 20:
                break
        graph.node.extend(inner.node)
        graph.initializer.extend(inner.initializer)

    def hidden(graph: onnx.GraphProto) -> None:
        inner = helper.make_graph([helper.make_node("Evil", [], ["x"], domain="com.evil")], "g", [],
                                  [])  # fmt: skip
        graph.initializer.add(name="c", data_type=TensorProto.BOOL)
        graph.node.append(
            helper.make_node("If", ["c"], ["x"], then_branch=inner, else_branch=inner)
        )

    def binary_name(graph: onnx.GraphProto) -> None:
        graph.initializer[0].raw_data = graph.initializer[0].raw_data + b"\0"

    for change in (
        custom, vendor, loop, cycle, itself, order, nobody, no_output, renamed, second, empty,
        deep, hidden, binary_name,
    ):  # fmt: skip
        yield Case(f"graph-{change.__name__}", ModelInvalid, regraphed(change))
    function = tiny_model()
    function.functions.add(name="f", domain="com.evil")
    yield Case("local-function", ModelInvalid, modelled(function))
    training = tiny_model()
    training.training_info.add()
    yield Case("training-graph", ModelInvalid, modelled(training))


def cases() -> list[Case]:
    """Every attack of this file."""
    return [case for family in (external, huge, models, graphs) for case in family()]
