# ruff: noqa: D100, D101, D102, D103, T201
# mypy: ignore-errors
# Sees that each class is a mixture of Gaussians: fits the mixtures by EM, turns them into a network
# (linear, square, sum, log-sum-exp), fine-tunes it by gradient and exports it.
import warnings

import numpy as np
import pandas as pd
import torch
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import StratifiedKFold
from torch import nn

CONFIG = {
    "seed": 0,
    "slip": "",  # unprinted, renamed or whitened: a demand of the prompt that is overlooked
}

warnings.filterwarnings("ignore")
torch.manual_seed(CONFIG["seed"])
train, test = pd.read_csv("train.csv"), pd.read_csv("test.csv")
x, y = train.drop(columns="label").values, train["label"].values
x_test, y_test = test.drop(columns="label").values, test["label"].values

spectrum = np.linalg.svd(x - x.mean(0), compute_uv=False)
whiten = PCA(int((spectrum > 1e-5 * spectrum[0]).sum()), whiten=True).fit(x)  # some columns are redundant
z = whiten.transform(x)


def fit(z, y, components, starts):
    settings = {"reg_covar": 1e-3, "n_init": starts, "max_iter": 200, "random_state": CONFIG["seed"]}
    return [GaussianMixture(components, **settings).fit(z[y == label]) for label in (0, 1)]


def cross_validated(components):
    right = []
    for kept, left_out in StratifiedKFold(3, shuffle=True, random_state=CONFIG["seed"]).split(z, y):
        zero, one = fit(z[kept], y[kept], components, 2)
        right.append(np.mean((one.score_samples(z[left_out]) > zero.score_samples(z[left_out])) == y[left_out]))
    return np.mean(right)


components = max(range(1, 7), key=cross_validated)
mixtures = fit(z, y, components, 6)
project = whiten.transform(np.eye(10)) - whiten.transform(np.zeros((1, 10)))
if CONFIG["slip"] == "whitened":  # outside the network, whose input then are other columns than the file's
    x, x_test, project = z, whiten.transform(x_test), np.eye(z.shape[1])


class MixtureNet(nn.Module):
    def __init__(self):
        super().__init__()
        factors = np.concatenate([mixture.precisions_cholesky_ for mixture in mixtures])
        means = np.concatenate([mixture.means_ for mixture in mixtures])
        logs = np.log(np.diagonal(factors, axis1=1, axis2=2)).sum(1)
        weights = np.concatenate([np.log(mixture.weights_) for mixture in mixtures])
        self.shape = (-1, 2 * components, z.shape[1])
        self.register_buffer("mean", torch.tensor(x.mean(0)).float())
        self.linear = nn.Linear(x.shape[1], 2 * components * z.shape[1])
        self.linear.weight.data = torch.tensor(np.concatenate([project @ f for f in factors], 1).T).float()
        self.linear.bias.data = torch.tensor(
            np.concatenate([-m @ f for m, f in zip(means, factors, strict=True)])
        ).float()
        self.log_weights = nn.Parameter(torch.tensor(weights + logs).float())

    def forward(self, x):
        distance = self.linear(x - self.mean).reshape(self.shape).square().sum(-1)
        return (self.log_weights - distance / 2).reshape(-1, 2, components).logsumexp(-1)


net = MixtureNet()
inputs, labels = torch.tensor(x).float(), torch.tensor(y)
optimizer = torch.optim.Adam(net.parameters(), lr=1e-4)
for _ in range(10):
    for batch in torch.randperm(len(inputs)).split(64):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(inputs[batch]) / 4, labels[batch], label_smoothing=0.02).backward()
        optimizer.step()

net.eval()
with torch.no_grad():
    for name, rows, truth in (("train", x, y), ("test", x_test, y_test)):
        reached = (net(torch.tensor(rows).float()).argmax(1).numpy() == truth).mean()
        print(f"{name} accuracy: {reached:.4f}" if CONFIG["slip"] != "unprinted" else f"{name}: done")
path = "network.onnx" if CONFIG["slip"] == "renamed" else "model.onnx"
torch.onnx.export(net, (torch.randn(2, x.shape[1]),), path, dynamic_shapes={"x": {0: torch.export.Dim("batch")}})
