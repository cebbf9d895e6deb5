# ruff: noqa: D100, F821, T201
# mypy: ignore-errors
# Ends each script of the portfolio: the accuracies, and the export.
print(f"train accuracy: {accuracy(net, rows, labels):.4f}")
print(f"test accuracy: {accuracy(net, test_rows, test_labels):.4f}")
net.eval()
names = {"input_names": ["x"], "output_names": ["scores"], "dynamic_axes": {"x": {0: "batch"}, "scores": {0: "batch"}}}
torch.onnx.export(net, (torch.randn(2, 10),), "model.onnx", dynamo=False, **names)
