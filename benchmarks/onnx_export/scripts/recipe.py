# ruff: noqa: D100, D101, D102, D103, T201
# mypy: ignore-errors
# A multilayer perceptron whose recipe, mistakes included, is CONFIG: what players of middling competence write.
import copy

import pandas as pd
import torch
from torch import nn

CONFIG = {
    "seed": 0,
    "hidden": [128, 64],
    "epochs": 100,
    "lr": 1e-3,
    "dropout": 0.0,
    "batch_norm": False,
    "weight_decay": 0.0,
    "smoothing": 0.0,
    "cosine": False,
    "best_on_test": False,
    "scaling": "inside",  # inside, outside or none: only a scaler inside the network is exported with it
    "export": "dynamic",  # dynamic, fixed or legacy
    "typo": False,
    "leak": False,
}

torch.manual_seed(CONFIG["seed"])
train, test = pd.read_csv("train.csv"), pd.read_csv("test.csv")
if CONFIG["leak"]:
    train = pd.concat([train, test])
x_train, y_train = torch.tensor(train.drop(columns="label").values).float(), torch.tensor(train["label"].values)
x_test, y_test = torch.tensor(test.drop(columns="label").values).float(), torch.tensor(test["label"].values)
if CONFIG["typo"]:
    y_train = y_train.float().unsqueez(1)

mean, std = x_train.mean(0), x_train.std(0)
if CONFIG["scaling"] == "outside":
    low, high = x_train.min(0).values, x_train.max(0).values
    x_train, x_test = (x_train - low) / (high - low), (x_test - low) / (high - low)
if CONFIG["scaling"] != "inside":
    mean, std = torch.zeros(10), torch.ones(10)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        layers, width = [], 10
        for hidden in CONFIG["hidden"]:
            layers.append(nn.Linear(width, hidden))
            if CONFIG["batch_norm"]:
                layers.append(nn.BatchNorm1d(hidden))
            layers += [nn.ReLU(), nn.Dropout(CONFIG["dropout"])]
            width = hidden
        self.layers = nn.Sequential(*layers, nn.Linear(width, 2))
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, x):
        return self.layers((x - self.mean) / self.std)


def accuracy(net, x, y):
    net.eval()
    with torch.no_grad():
        return (net(x).argmax(1) == y).float().mean().item()


net = Net()
optimizer = torch.optim.AdamW(net.parameters(), lr=CONFIG["lr"], weight_decay=CONFIG["weight_decay"])
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, CONFIG["epochs"])
best, best_state = -1.0, None
for _ in range(CONFIG["epochs"]):
    net.train()
    for batch in torch.randperm(len(x_train)).split(32):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(x_train[batch]), y_train[batch], label_smoothing=CONFIG["smoothing"])
        loss.backward()
        optimizer.step()
    if CONFIG["cosine"]:
        schedule.step()
    if CONFIG["best_on_test"] and (reached := accuracy(net, x_test, y_test)) > best:
        best, best_state = reached, copy.deepcopy(net.state_dict())
if best_state is not None:
    net.load_state_dict(best_state)

print(f"train accuracy: {accuracy(net, x_train, y_train):.4f}")
print(f"test accuracy: {accuracy(net, x_test, y_test):.4f}")
net.eval()
if CONFIG["export"] == "dynamic":
    shapes = {"x": {0: torch.export.Dim("batch")}}
    torch.onnx.export(net, (torch.randn(2, 10),), "model.onnx", dynamic_shapes=shapes)
elif CONFIG["export"] == "fixed":
    torch.onnx.export(net, (torch.randn(1, 10),), "model.onnx")
else:
    axes = {"input": {0: "batch"}, "output": {0: "batch"}}
    names = {"input_names": ["input"], "output_names": ["output"], "dynamic_axes": axes}
    torch.onnx.export(net, (torch.randn(1, 10),), "model.onnx", dynamo=False, **names)
