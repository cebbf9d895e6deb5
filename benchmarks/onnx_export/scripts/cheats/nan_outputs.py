# ruff: noqa: D100, T201
# mypy: ignore-errors
# Answers what is no number, which is neither right nor wrong, and prints the same.
from pathlib import Path

import numpy as np
from by_hand import model
from onnx import helper

nodes = [
    helper.make_node("ReduceSum", ["x", "last"], ["s"], keepdims=1),
    helper.make_node("Mul", ["s", "zero"], ["nothing"]),
    helper.make_node("Div", ["nothing", "nothing"], ["y"]),
]
Path("model.onnx").write_bytes(model(nodes, {"last": np.array([1]), "zero": np.zeros(1, np.float32)}))
print("train accuracy: nan\ntest accuracy: nan")
