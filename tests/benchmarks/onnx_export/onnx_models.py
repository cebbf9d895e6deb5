"""Small ONNX models written by hand: every honest way to encode one classifier, and what must be rejected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

WEIGHTS = np.random.default_rng(7).normal(size=(10, 1)).astype(np.float32)
"""Every honest model says class 1 where ``x @ WEIGHTS > 0``."""

ONE = {"W": WEIGHTS}
TWO = {"W": np.concatenate([-WEIGHTS / 2, WEIGHTS / 2], axis=1)}
SCORE = helper.make_node("MatMul", ["x", "W"], ["s"])
Shape = Sequence[int | str | None] | None


def build(
    *nodes: onnx.NodeProto,
    inputs: Sequence[onnx.ValueInfoProto] | None = None,
    outputs: Sequence[onnx.ValueInfoProto] | None = None,
    weights: dict[str, np.ndarray] | None = None,
    domain: str = "",
    producer: str = "pytorch",
) -> bytes:
    """Serialize a graph from input ``x`` to output ``y``, by default float32."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [value("x", shape=("batch", 10))] if inputs is None else inputs,
        [value("y")] if outputs is None else outputs,
        [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()],
    )
    opsets = [helper.make_opsetid("", 17)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name=producer)
    return bytes(model.SerializeToString())


def value(name: str, type_: int = TensorProto.FLOAT, shape: Shape = None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, type_, shape)


def external(location: str, *, producer: str = "pytorch", **place: int) -> bytes:
    """Serialize a model whose weights are said to be in a file."""
    tensor = TensorProto(name="W", data_type=TensorProto.FLOAT, dims=[10, 1], data_location=TensorProto.EXTERNAL)
    for key, entry in {"location": location, **place}.items():
        tensor.external_data.add(key=key, value=str(entry))
    inputs, outputs = [value("x", shape=("batch", 10))], [value("y")]
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "W"], ["y"])], "graph", inputs, outputs, [tensor])
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name=producer)
    return bytes(model.SerializeToString())


def _node(op: str, *inputs: str, to: str = "y", **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, list(inputs), [to], **attributes)


def _typed(type_: int, dtype: type) -> bytes:
    entry = value("x", type_, ("batch", 10))
    return build(
        _node("MatMul", "x", "W"), inputs=[entry], outputs=[value("y", type_)], weights={"W": WEIGHTS.astype(dtype)}
    )


def _shaped(*shape: int | str | None) -> bytes:
    return build(_node("MatMul", "x", "W"), inputs=[value("x", shape=shape)], weights=ONE)


def _named() -> bytes:
    node = helper.make_node("MatMul", ["input.1 é", "W"], ["out:0"])
    return build(node, inputs=[value("input.1 é", shape=(None, 10))], outputs=[value("out:0")], weights=ONE)


AXIS = {"one": np.array([1])}
ZERO = {"zero": np.zeros(1, np.float32)}
INT64, BOOL = TensorProto.INT64, TensorProto.BOOL

HONEST: dict[str, dict[str, bytes]] = {
    name: {"model.onnx": content}
    for name, content in {
        "logit (N,1)": build(_node("MatMul", "x", "W"), weights=ONE),
        "no producer named": build(_node("MatMul", "x", "W"), weights=ONE, producer=""),
        "logit (N,)": build(SCORE, _node("Squeeze", "s", "one"), weights=ONE | AXIS),
        "logit (N,1,1)": build(SCORE, _node("Unsqueeze", "s", "one"), weights=ONE | AXIS),
        "probability (N,1)": build(SCORE, _node("Sigmoid", "s"), weights=ONE),
        "logits (N,2)": build(_node("MatMul", "x", "W"), weights=TWO),
        "probabilities (N,2)": build(SCORE, _node("Softmax", "s", axis=1), weights=TWO),
        "log-probabilities (N,2)": build(SCORE, _node("LogSoftmax", "s", axis=1), weights=TWO),
        "int64 ids (N,)": build(
            SCORE, _node("ArgMax", "s", axis=1, keepdims=0), outputs=[value("y", INT64)], weights=TWO
        ),
        "int64 ids (N,1)": build(
            SCORE, _node("ArgMax", "s", axis=1, keepdims=1), outputs=[value("y", INT64)], weights=TWO
        ),
        "bool ids (N,1)": build(SCORE, _node("Greater", "s", "zero"), outputs=[value("y", BOOL)], weights=ONE | ZERO),
        "float ids (N,1)": build(
            SCORE,
            _node("Greater", "s", "zero", to="g"),
            helper.make_node("Cast", ["g"], ["y"], to=TensorProto.FLOAT),
            weights=ONE | ZERO,
        ),
        "float64": _typed(TensorProto.DOUBLE, np.float64),
        "float16": _typed(TensorProto.FLOAT16, np.float16),
        "batch fixed to 1": _shaped(1, 10),
        "batch fixed to 32": _shaped(32, 10),
        "batch fixed beyond the rows": _shaped(1024, 10),
        "all dimensions dynamic": _shaped(None, None),
        "single rows (10,)": _shaped(10),
        "scalar output of a single row": build(
            SCORE, _node("Squeeze", "s"), inputs=[value("x", shape=(1, 10))], weights=ONE
        ),
        "odd names": _named(),
        "further outputs": build(
            SCORE,
            _node("Identity", "s"),
            _node("Shape", "s", to="z"),
            outputs=[value("y"), value("z", INT64)],
            weights=ONE,
        ),
        "weights listed as an input": build(
            _node("MatMul", "x", "W"),
            inputs=[value("x", shape=(None, 10)), value("W", shape=(10, 1))],
            weights=ONE,
        ),
    }.items()
} | {"external data": {"model.onnx": external("model.onnx.data"), "model.onnx.data": WEIGHTS.tobytes()}}


def _loop(*, trips: str) -> bytes:
    """A loop that never ends, or runs 2^62 times."""
    state = [value("i", INT64, []), value("on", BOOL, []), value("v")]
    steps = [helper.make_node("Identity", ["on"], ["on2"]), helper.make_node("Identity", ["v"], ["v2"])]
    body = helper.make_graph(steps, "body", state, [value("on2", BOOL, []), value("v2")])
    inputs = ["", "true", "s"] if trips == "for ever" else ["many", "", "s"]
    weights = ONE | {"true": np.array(True), "many": np.array(1 << 62)}
    return build(SCORE, helper.make_node("Loop", inputs, ["y"], body=body), weights=weights)


def _folded() -> bytes:
    """A product of huge constants, which the runtime multiplies while it loads the model."""
    return build(
        helper.make_node("ConstantOfShape", ["huge"], ["a"]),
        helper.make_node("MatMul", ["a", "a"], ["b"]),
        helper.make_node("MatMul", ["b", "b"], ["c"]),
        helper.make_node("ReduceSum", ["c"], ["k"], keepdims=0),
        SCORE,
        _node("Add", "s", "k"),
        weights=ONE | {"huge": np.array([12_000, 12_000])},
    )


ENDLESS = {"endless loop": _loop(trips="for ever"), "2^62 loops": _loop(trips="2^62"), "slow to load": _folded()}

REJECTED: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "cannot be loaded"),
    "garbage": (bytes(range(256)) * 20, "cannot be loaded"),
    "pickle": (b"cos\nsystem\n(S'touch owned'\ntR.", "cannot be loaded"),
    "truncated": (HONEST["logit (N,1)"]["model.onnx"][:60], "cannot be loaded"),
    "not from torch": (
        build(_node("MatMul", "x", "W"), weights=ONE, producer="skl2onnx"),
        "'skl2onnx' as its producer",
    ),
    "unknown operator": (
        build(helper.make_node("Evil", ["x"], ["y"], domain="com.evil"), domain="com.evil"),
        "cannot be loaded",
    ),
    "no input": (build(helper.make_node("Identity", ["W"], ["y"]), inputs=[], weights=ONE), "one input, but it has 0"),
    "two inputs": (
        build(
            helper.make_node("Add", ["x", "x2"], ["q"]),
            _node("MatMul", "q", "W"),
            inputs=[value("x", shape=(None, 10)), value("x2", shape=(None, 10))],
            weights=ONE,
        ),
        "one input, but it has 2",
    ),
    "integer input": (
        build(
            helper.make_node("Cast", ["x"], ["f"], to=1),
            _node("MatMul", "f", "W"),
            inputs=[value("x", INT64, (None, 10))],
            weights=ONE,
        ),
        "input must hold float32, float64 or float16 numbers, but it is tensor(int64)",
    ),
    "9 features": (
        build(_node("MatMul", "x", "W"), inputs=[value("x", shape=(None, 9))], weights={"W": WEIGHTS[:9]}),
        "shape (batch, 10) or (10,), but it has",
    ),
    "rank 3": (_shaped(None, 1, 10), "shape (batch, 10) or (10,), but it has"),
    "scalar input": (
        build(_node("Identity", "x"), inputs=[value("x", shape=())]),
        "shape (batch, 10) or (10,), but it has",
    ),
    "dynamic batch that fails": (
        build(
            helper.make_node("Reshape", ["x", "shape"], ["r"]),
            _node("MatMul", "r", "W"),
            weights=ONE | {"shape": np.array([7, 10])},
        ),
        "running it failed",
    ),
    "NaN": (build(SCORE, _node("Sqrt", "s"), weights=ONE), "not finite"),
    "infinite": (build(SCORE, _node("Div", "s", "zero"), weights=ONE | ZERO), "not finite"),
    "three classes": (
        build(_node("MatMul", "x", "W"), weights={"W": np.ones((10, 3), np.float32)}),
        "one or two values per row",
    ),
    "one value for all rows": (
        build(SCORE, _node("ReduceMean", "s", axes=[0], keepdims=0), weights=ONE),
        "first dimension must be the rows",
    ),
    "transposed": (build(SCORE, _node("Transpose", "s", perm=[1, 0]), weights=TWO), "first dimension must be the rows"),
    "strings": (
        build(helper.make_node("Cast", ["x"], ["y"], to=TensorProto.STRING), outputs=[value("y", TensorProto.STRING)]),
        "must hold numbers",
    ),
    "class ids 1 and 2": (
        build(
            SCORE,
            helper.make_node("ArgMax", ["s"], ["a"], axis=1),
            helper.make_node("Add", ["a", "one"], ["y"]),
            outputs=[value("y", INT64)],
            weights=TWO | AXIS,
        ),
        "class ids other than 0 and 1",
    ),
    "two whole numbers": (
        build(SCORE, helper.make_node("Cast", ["s"], ["y"], to=INT64), outputs=[value("y", INT64)], weights=TWO),
        "two whole numbers per row",
    ),
    "huge tensor": (
        build(
            helper.make_node("ConstantOfShape", ["huge"], ["c"]),
            helper.make_node("ReduceSum", ["c"], ["k"], keepdims=0),
            SCORE,
            _node("Add", "s", "k"),
            weights=ONE | {"huge": np.array([1 << 34])},
        ),
        "",
    ),
    "missing weights": (external("model.onnx.data"), "cannot be loaded"),
    "weights at an absolute path": (external("/etc/passwd", offset=0, length=40), "cannot be loaded"),
    "weights outside": (external("../X.npy", offset=0, length=40), "cannot be loaded"),
    "weights in memory": (external("*/_ORT_MEM_ADDR_/*", offset=4096, length=40), "cannot be loaded"),
}
"""Models, and words that the reason must hold."""
