"""What must be known of an ONNX file before any run time parses it.

A reader of the protocol-buffer wire format for the fields of onnx.proto3 that matter here
(ModelProto, GraphProto, NodeProto, AttributeProto, TensorProto), with bounds: it never follows
a path, never allocates by a claimed size, and refuses whatever it does not know.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import prod

from engines.errors import ModelInvalid

DOMAINS = ("", "ai.onnx")  # plain ONNX only: no custom operators
# Loop may never end; the others reach outside or are training's
OPERATORS_REFUSED = ("Loop", "Gradient", "Adam", "Adagrad", "Momentum")
DEPTH = 8  # graphs within attributes within nodes
ELEMENTS = 1 << 31  # of one tensor
ITEM_BYTES = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 16: 2}

Value = int | memoryview

# field numbers of onnx.proto3
MODEL_FIELDS = {1, 2, 3, 4, 5, 6, 7, 8, 14}  # 20 training_info, 25 functions, 26: refused
GRAPH_FIELDS = {1, 2, 5, 10, 11, 12, 13, 14, 15, 16}


@dataclass(frozen=True, slots=True)
class External:
    """An initialiser whose bytes lie in another file of the bundle."""

    name: str
    location: str
    offset: int
    length: int
    dtype: int  # TensorProto.DataType
    shape: tuple[int, ...]


@dataclass(slots=True)
class Facts:
    """opset: of the default domain; inputs, outputs: names; operators: counts; nodes: total."""

    opset: int = 0
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    operators: dict[str, int] = field(default_factory=dict)
    external: list[External] = field(default_factory=list)

    @property
    def nodes(self) -> int:
        return sum(self.operators.values())


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise ModelInvalid("the model file is cut short or is not ONNX")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def fields(data: memoryview) -> Iterator[tuple[int, Value]]:
    """(field number, value) of one message: an int, or the bytes of anything longer."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield number, value
            continue
        size = {1: 8, 5: 4}.get(wire)
        if wire == 2:
            size, at = _varint(data, at)
        if size is None or number == 0 or size > len(data) - at:
            raise ModelInvalid("the model file is cut short or is not ONNX")
        yield number, data[at : at + size]
        at += size


def _message(value: Value) -> memoryview:
    if isinstance(value, int):
        raise ModelInvalid("the model file is not ONNX")
    return value


def _text(value: Value) -> str:
    try:
        return bytes(_message(value)).decode()
    except UnicodeDecodeError:
        raise ModelInvalid("the model file has a name that is not text") from None


def _integer(value: Value) -> int:
    if not isinstance(value, int):
        raise ModelInvalid("the model file is not ONNX")
    return value if value < 1 << 63 else value - (1 << 64)


def _dims(value: Value) -> list[int]:
    if isinstance(value, int):
        return [_integer(value)]
    out, at = [], 0
    while at < len(value):
        number, at = _varint(value, at)
        out.append(_integer(number))
    return out


def _tensor(data: memoryview, facts: Facts) -> str:
    """Checks one TensorProto; its name."""
    name, dtype, shape, raw, location = "", 0, list[int](), None, 0
    external: dict[str, str] = {}
    for number, value in fields(data):
        if number == 1:
            shape += _dims(value)
        elif number == 2:
            dtype = _integer(value)
        elif number == 8:
            name = _text(value)
        elif number == 9:
            raw = len(_message(value))
        elif number == 13:
            entry = {n: _text(v) for n, v in fields(_message(value))}
            external[entry.get(1, "")] = entry.get(2, "")
        elif number == 14:
            location = _integer(value)
    if any(d < 0 for d in shape) or prod(shape) > ELEMENTS:
        raise ModelInvalid(f"tensor {name!r} claims the shape {tuple(shape)}")
    size = prod(shape) * ITEM_BYTES.get(dtype, 0)
    if location or external:
        facts.external.append(_external(name, dtype, tuple(shape), size, external, location))
    elif raw is not None and (dtype not in ITEM_BYTES or raw != size):
        raise ModelInvalid(f"tensor {name!r} holds {raw} bytes but claims {size}")
    return name


def _external(
    name: str, dtype: int, shape: tuple[int, ...], size: int, entry: Mapping[str, str], where: int
) -> External:
    offset, length = entry.get("offset", "0"), entry.get("length", str(size))
    numbers = all(n.isascii() and n.isdigit() and len(n) < 19 for n in (offset, length))
    if where != 1 or not numbers or int(length) != size or dtype not in ITEM_BYTES:
        raise ModelInvalid(f"tensor {name!r} has a malformed reference to external data")
    return External(name, entry.get("location", ""), int(offset), size, dtype, shape)


def _graph(data: memoryview, facts: Facts, outer: frozenset[str], depth: int) -> None:
    """Checks one GraphProto: known fields, plain operators, every input made before its use."""
    if depth > DEPTH:
        raise ModelInvalid("the graph is nested too deep")
    nodes: list[memoryview] = []
    known = set(outer)
    inputs: list[str] = []
    outputs: list[str] = []
    for number, value in fields(data):
        if number not in GRAPH_FIELDS:
            raise ModelInvalid(f"the graph has an unknown field {number}")
        if number == 1:
            nodes.append(_message(value))
        elif number == 5:
            known.add(_tensor(_message(value), facts))
        elif number == 15:
            known.update(_sparse(_message(value), facts))
        elif number in (11, 12):
            name = next((_text(v) for n, v in fields(_message(value)) if n == 1), "")
            (inputs if number == 11 else outputs).append(name)
    initialised = known - outer
    known.update(inputs)
    for node in nodes:
        known.update(_node(node, facts, known, depth))
    missing = [name for name in outputs if name not in known]
    if missing:
        raise ModelInvalid(f"nothing makes the output {missing[0]!r}")
    if depth == 0:
        facts.inputs = tuple(n for n in inputs if n not in initialised)
        facts.outputs = tuple(outputs)


def _sparse(data: memoryview, facts: Facts) -> list[str]:
    return [_tensor(_message(v), facts) for n, v in fields(data) if n in (1, 2)]


def _node(data: memoryview, facts: Facts, known: set[str], depth: int) -> list[str]:
    """Checks one NodeProto; the names it makes."""
    outputs: list[str] = []
    attributes: list[memoryview] = []
    operator = domain = ""
    for number, value in fields(data):
        if number == 1:
            name = _text(value)
            if name and name not in known:
                raise ModelInvalid(f"{name!r} is used before anything makes it (a cycle?)")
        elif number == 2:
            outputs.append(_text(value))
        elif number == 4:
            operator = _text(value)
        elif number == 5:
            attributes.append(_message(value))
        elif number == 7:
            domain = _text(value)
    if domain not in DOMAINS or operator in OPERATORS_REFUSED:
        raise ModelInvalid(f"operator {domain}:{operator} is not allowed")
    facts.operators[operator] = facts.operators.get(operator, 0) + 1
    for attribute in attributes:
        for number, value in fields(attribute):
            if number in (5, 10):
                _tensor(_message(value), facts)
            elif number in (6, 11):
                _graph(_message(value), facts, frozenset(known), depth + 1)
            elif number in (22, 23):
                _sparse(_message(value), facts)
    return outputs


def inspect(model: bytes) -> Facts:
    """The facts of a model. Raises ModelInvalid for anything but a plain, closed ONNX graph."""
    facts = Facts()
    graphs: list[memoryview] = []
    for number, value in fields(memoryview(model)):
        if number not in MODEL_FIELDS:
            raise ModelInvalid(f"the model file is not plain ONNX (field {number})")
        if number == 7:
            graphs.append(_message(value))
        elif number == 8:
            entry = dict(fields(_message(value)))
            domain = _text(entry.get(1, memoryview(b"")))
            if domain not in DOMAINS:
                raise ModelInvalid(f"the model imports the operator domain {domain!r}")
            facts.opset = _integer(entry.get(2, 0))
    if len(graphs) != 1 or facts.opset < 1:
        raise ModelInvalid("the model file is not ONNX: no graph, or no opset")
    _graph(graphs[0], facts, frozenset(), 0)
    if not facts.outputs or not facts.operators:
        raise ModelInvalid("the model has no outputs or no operators")
    return facts
