"""Train a PyTorch network and export it to ONNX: see ``task.py`` and the README."""
