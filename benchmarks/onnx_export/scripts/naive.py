# ruff: noqa: D100, T201
# mypy: ignore-errors
# A plain multilayer perceptron on raw features with the usual defaults, and the default export.
import pandas as pd
import torch
from torch import nn

CONFIG = {"seed": 0}

torch.manual_seed(CONFIG["seed"])
train, test = pd.read_csv("train.csv"), pd.read_csv("test.csv")
x_train, y_train = torch.tensor(train.iloc[:, :10].values).float(), torch.tensor(train["label"].values)
x_test, y_test = torch.tensor(test.iloc[:, :10].values).float(), torch.tensor(test["label"].values)

net = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 2))
optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
for _ in range(10):
    for batch in torch.randperm(len(x_train)).split(32):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x_train[batch]), y_train[batch]).backward()
        optimizer.step()

net.eval()
with torch.no_grad():
    print(f"train accuracy: {(net(x_train).argmax(1) == y_train).float().mean():.4f}")
    print(f"test accuracy: {(net(x_test).argmax(1) == y_test).float().mean():.4f}")
torch.onnx.export(net, (torch.randn(1, 10),), "model.onnx")
