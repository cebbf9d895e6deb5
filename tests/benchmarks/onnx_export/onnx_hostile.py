"""Hostile ONNX models: what reaches for other files, exhausts memory, or abuses the format."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, TensorProto, helper

from tests.benchmarks.onnx_export.onnx_models import BOOL, INT64, ONE, SCORE, WEIGHTS, build, external, value

HUGE = np.array([1 << 34])


def _added(*nodes: str | tuple[str, list[str], list[str], dict[str, object]], **weights: np.ndarray) -> bytes:
    """An honest score plus ``k``, which the nodes compute."""
    made = [helper.make_node(op, inputs, outputs, **attributes) for op, inputs, outputs, attributes in nodes]
    return build(*made, SCORE, helper.make_node("Add", ["s", "k"], ["y"]), weights=ONE | weights)


def _doubled() -> bytes:
    """A tensor that is doubled 40 times."""
    nodes = [("Concat", [f"t{i}", f"t{i}"], [f"t{i + 1}"], {"axis": 0}) for i in range(40)]
    seed = ("ReduceSum", ["x"], ["t"], {"keepdims": 0})
    return _added(
        seed,
        ("Reshape", ["t", "one"], ["t0"], {}),
        *nodes,
        ("ReduceSum", ["t40"], ["k"], {"keepdims": 0}),
        one=np.array([1]),
    )


def _hoarding() -> bytes:
    """A loop that keeps 8 MB of each of its 10^6 rounds."""
    state = [value("i", INT64, []), value("on", BOOL, [])]
    steps = [helper.make_node("Identity", ["on"], ["on2"]), helper.make_node("ConstantOfShape", ["size"], ["kept"])]
    body = helper.make_graph(steps, "body", state, [value("on2", BOOL, []), value("kept")])
    loop = helper.make_node("Loop", ["many", ""], ["all"], body=body)
    total = helper.make_node("ReduceSum", ["all"], ["k"], keepdims=0)
    weights = ONE | {"many": np.array(10**6), "size": np.array([2 * 10**6])}
    return build(SCORE, loop, total, helper.make_node("Add", ["s", "k"], ["y"]), weights=weights)


def _field(number: int, content: bytes) -> bytes:
    """A field of a protobuf message, by hand: the library refuses to write what ought not to be."""
    size, length = len(content), b""
    while size >= 0x80:
        length += bytes([size & 0x7F | 0x80])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


def _nested(depth: int) -> bytes:
    """If within If, as deep as that."""
    graph = b""
    for _ in range(depth):
        branch = _field(1, b"then_branch") + _field(6, graph) + b"\xa0\x01\x05"
        graph = _field(1, _field(1, b"x") + _field(2, b"y") + _field(4, b"If") + _field(5, branch))
    return b"\x08\x08" + _field(7, graph)


def _recursive() -> bytes:
    """A function that calls itself."""
    model = ModelProto()
    model.ParseFromString(build(helper.make_node("f", ["x"], ["y"], domain="own"), domain="own"))
    call = helper.make_node("f", ["a"], ["b"], domain="own")
    model.functions.append(helper.make_function("own", "f", ["a"], ["b"], [call], [helper.make_opsetid("own", 1)]))
    return bytes(model.SerializeToString())


def _tensor(**fields: object) -> bytes:
    """A model whose weights are the tensor with these fields."""
    model = ModelProto()
    model.ParseFromString(build(helper.make_node("MatMul", ["x", "W"], ["y"]), weights=ONE))
    tensor = TensorProto(name="W", data_type=TensorProto.FLOAT, dims=[10, 1], raw_data=WEIGHTS.tobytes())
    for name, content in fields.items():
        tensor.ClearField(name)
        getattr(tensor, name).extend(content) if isinstance(content, list) else setattr(tensor, name, content)
    model.graph.initializer[0].CopyFrom(tensor)
    return bytes(model.SerializeToString())


def empty_nodes(count: int) -> bytes:
    """A graph of nodes that take two bytes each in the file, and some hundred in memory."""
    return b"\x08\x08\x42\x02\x10\x11" + _field(7, b"\x0a\x00" * count)


HOSTILE: dict[str, tuple[bytes, str]] = {
    # Files of others
    "weights in the environment": (external("/proc/self/environ", offset=0, length=40), "cannot be loaded"),
    "weights in a relative environment": (
        external("../../../../../../proc/self/environ", offset=0, length=40),
        "cannot be loaded",
    ),
    "weights in /dev/zero": (external("/dev/zero", offset=0, length=40), "cannot be loaded"),
    "weights before the file": (external("model.onnx", offset=-40, length=40), "cannot be loaded"),
    "weights past the file": (external("model.onnx", offset=1 << 40, length=40), "cannot be loaded"),
    "weights of negative length": (external("model.onnx", offset=0, length=-1), "cannot be loaded"),
    "weights in the folder": (external(".", offset=0, length=40), "cannot be loaded"),
    "weights at no name": (external("", offset=0, length=40), "cannot be loaded"),
    # Memory
    "doubled 40 times": (_doubled(), ""),
    "tiled 2^31 times": (
        _added(
            ("Tile", ["W", "many"], ["t"], {}),
            ("ReduceSum", ["t"], ["k"], {"keepdims": 0}),
            many=np.array([1 << 31, 1]),
        ),
        "",
    ),
    "expanded to 2^34": (
        _added(
            ("Expand", ["one", "huge"], ["t"], {}),
            ("ReduceSum", ["t"], ["k"], {"keepdims": 0}),
            one=np.ones(1, np.float32),
            huge=HUGE,
        ),
        "",
    ),
    "range of 2^40": (
        _added(
            ("Range", ["a", "b", "c"], ["r"], {}),
            ("ReduceSum", ["r"], ["k"], {"keepdims": 0}),
            a=np.float32(0),
            b=np.float32(2.0**40),
            c=np.float32(1),
        ),
        "",
    ),
    "hoarding loop": (_hoarding(), ""),
    # The format
    "random": (np.random.default_rng(0).bytes(5000), "cannot be loaded"),
    "one byte": (b"\x08", "cannot be loaded"),
    "field that never ends": (b"\x3a\xff\xff\xff\xff\x0f", "cannot be loaded"),
    "too few weights": (_tensor(raw_data=b"\0\0\0\0"), "cannot be loaded"),
    "huge dimensions": (_tensor(dims=[1 << 40, 1 << 20]), "cannot be loaded"),
    "dimensions that overflow": (_tensor(dims=[1 << 32, 1 << 32]), "cannot be loaded"),
    "negative dimensions": (_tensor(dims=[-10, -1]), "cannot be loaded"),
    "weights of no type": (_tensor(data_type=999), "cannot be loaded"),
    "If 300 deep": (_nested(300), "cannot be loaded"),
    "function that calls itself": (_recursive(), ""),
    "node that reads itself": (build(helper.make_node("Add", ["y", "x"], ["y"])), "cannot be loaded"),
    "10^6 empty nodes": (empty_nodes(10**6), ""),
    "no output": (build(SCORE, outputs=[], weights=ONE), "it has no output"),
    "operator of a library": (
        build(helper.make_node("Evil", ["x"], ["y"], library="./evil.so"), domain="com.evil"),
        "cannot be loaded",
    ),
    # Answers
    "sequence": (
        build(
            helper.make_node("SequenceConstruct", ["x"], ["y"]),
            outputs=[helper.make_tensor_sequence_value_info("y", 1, None)],
        ),
        "must hold numbers, but it holds list",
    ),
    "bfloat16": (
        build(SCORE, helper.make_node("Cast", ["s"], ["y"], to=16), outputs=[value("y", 16)], weights=ONE),
        "",
    ),
    "no value per row": (
        build(
            helper.make_node("Slice", ["x", "zero", "zero", "one"], ["y"]),
            weights={"zero": np.array([0]), "one": np.array([1])},
        ),
        "one or two values per row",
    ),
    "a single NaN": (
        build(
            SCORE,
            helper.make_node("ReduceMax", ["s"], ["m"], keepdims=1),
            helper.make_node("Sub", ["s", "m"], ["d"]),
            helper.make_node("Div", ["d", "d"], ["y"]),
            weights=ONE,
        ),
        "not finite",
    ),
}
"""Models, and words that the reason must hold."""
