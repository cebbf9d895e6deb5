# ruff: noqa: D100, D101, D102, T201
# mypy: ignore-errors
# Sees how the data were made: in some of the columns each class is a mixture of equally many Gaussians of equal weight,
# whose means are corners of one cube. Fits them by EM with priors that say so, and exports them as a network
# (linear, square, sum, log-sum-exp).
import numpy as np
import pandas as pd
import torch
from torch import nn

CONFIG = {
    "seed": 0,
    "slip": "",  # unprinted, renamed or whitened: a demand of the prompt that is overlooked
}
GEOMETRIES = {(10, 0): 16, (8, 2): 24, (8, 0): 24, (7, 0): 20}  # informative and redundant columns: Gaussians per class
STARTS, FINISHED = 30, 5
WEIGHT, SPREAD, CORNERS = 4.0, 0.1, 20.0  # of the priors: rows that a covariance and a mean count for, and which one

rng = np.random.default_rng(CONFIG["seed"])
train, test = pd.read_csv("train.csv"), pd.read_csv("test.csv")
x, y = train.drop(columns="label").values, train["label"].values
x_test, y_test = test.drop(columns="label").values, test["label"].values


def informative():
    """Return the columns of the cube, none of unit noise nor sums of others with coefficients up to 1; and the sums."""
    spread = [i for i in np.argsort(x.var(0)) if x[:, i].var() > 1.5]
    spectrum = np.linalg.svd(x[:, spread], compute_uv=False)
    rank = int((spectrum > 1e-5 * spectrum[0]).sum())
    kept, sums = spread[:rank], spread[rank:]
    while sums:
        share = np.linalg.lstsq(x[:, kept], x[:, sums], rcond=None)[0]
        place, which = np.unravel_index(np.abs(share).argmax(), share.shape)
        if abs(share[place, which]) <= 1.001:
            break
        kept[place], sums[which] = sums[which], kept[place]
    return kept, sums


columns, sums = informative()
size = len(columns)
CLUSTERS = GEOMETRIES.get((size, len(sums)), 16)
corner = max(x[:, columns].var(0).mean() - size / 3, 0.1) ** 0.5  # the Gaussians themselves have a variance of size / 3


def logs(z, means, factors):
    """Return the log density of each row and Gaussian, and its distance in the Gaussian's own measure."""
    away = np.linalg.solve(factors, (z[None] - means[:, None]).transpose(0, 2, 1))
    return (-np.log(np.diagonal(factors, axis1=1, axis2=2)).sum(1)[:, None] - (away**2).sum(1) / 2).T


def step(z, shares, pull):
    """Return the Gaussians for shares of the rows, the shares for these Gaussians, and how well they fit."""
    counts = shares.sum(0) + 1e-9
    means = shares.T @ z / counts[:, None]
    trust = (counts / (counts + pull))[:, None]
    means = trust * means + (1 - trust) * np.sign(means) * corner
    away = z[None] - means[:, None]
    scatter = (shares.T[:, :, None] * away).transpose(0, 2, 1) @ away + WEIGHT * SPREAD * np.eye(size)
    covariances = scatter / (counts + WEIGHT)[:, None, None]
    factors = np.linalg.cholesky(covariances)
    density = logs(z, means, factors)
    top = density.max(1, keepdims=True)
    total = top + np.log(np.exp(density - top).sum(1, keepdims=True))
    determinants = np.log(np.diagonal(factors, axis1=1, axis2=2)).sum()
    prior = -WEIGHT * (SPREAD * np.trace(np.linalg.inv(covariances), axis1=1, axis2=2).sum() / 2 + determinants)
    return np.exp(density - total), total.sum() + prior, (means, factors)


def fit(z):
    """Return the best of many starts at corners with many rows around; only the promising ones are finished."""
    corners, rows = np.unique(np.sign(z), axis=0, return_counts=True)
    likely = rows**2.0
    begun = []
    for _ in range(STARTS):
        centres = corner * corners[rng.choice(len(corners), CLUSTERS, replace=False, p=likely / likely.sum())]
        nearest = ((z[:, None] - centres) ** 2).sum(-1).argmin(1)
        shares = 0.8 * np.eye(CLUSTERS)[nearest] + 0.2 / CLUSTERS
        for _ in range(15):
            shares, fits, _ = step(z, shares, CORNERS)
        begun.append((fits, shares))
    finished = []
    for _, shares in sorted(begun, key=lambda start: -start[0])[:FINISHED]:
        for _ in range(60):
            shares, fits, gaussians = step(z, shares, CORNERS)
        finished.append((fits, gaussians))
    return max(finished, key=lambda end: end[0])[1]


mixtures = [fit(x[y == label][:, columns]) for label in (0, 1)]
project = np.eye(10)[:, columns]
if CONFIG["slip"] == "whitened":  # outside the network, whose input then are other columns than the file's
    x, x_test, project = x[:, columns], x_test[:, columns], np.eye(size)


class MixtureNet(nn.Module):
    def __init__(self):
        super().__init__()
        means = np.concatenate([means for means, _ in mixtures])
        inverses = np.linalg.inv(np.concatenate([factors for _, factors in mixtures]))
        self.linear = nn.Linear(x.shape[1], 2 * CLUSTERS * size)
        self.linear.weight.data = torch.tensor(np.concatenate([inverse @ project.T for inverse in inverses])).float()
        self.linear.bias.data = torch.tensor(-(inverses @ means[:, :, None]).ravel()).float()
        offsets = np.log(np.diagonal(inverses, axis1=1, axis2=2)).sum(1)
        self.register_buffer("offsets", torch.tensor(offsets).float())

    def forward(self, x):
        distance = self.linear(x).reshape(-1, 2 * CLUSTERS, size).square().sum(-1)
        return (self.offsets - distance / 2).reshape(-1, 2, CLUSTERS).logsumexp(-1)


net = MixtureNet().eval()
with torch.no_grad():
    for name, rows, truth in (("train", x, y), ("test", x_test, y_test)):
        reached = (net(torch.tensor(rows).float()).argmax(1).numpy() == truth).mean()
        print(f"{name} accuracy: {reached:.4f}" if CONFIG["slip"] != "unprinted" else f"{name}: done")
path = "network.onnx" if CONFIG["slip"] == "renamed" else "model.onnx"
torch.onnx.export(net, (torch.randn(2, x.shape[1]),), path, dynamic_shapes={"x": {0: torch.export.Dim("batch")}})
