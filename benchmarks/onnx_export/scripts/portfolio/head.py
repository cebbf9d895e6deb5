# ruff: noqa: D100, F401
# mypy: ignore-errors
# Begins each script of the portfolio: the data, and a scaler.
import copy
import itertools
import warnings

import numpy as np
import pandas as pd
import torch
from torch import nn

CONFIG = {"seed": 0}

warnings.filterwarnings("ignore")
torch.manual_seed(CONFIG["seed"])
rng = np.random.default_rng(CONFIG["seed"])
train, test = pd.read_csv("train.csv"), pd.read_csv("test.csv")
x, y = train.drop(columns="label").to_numpy(), train["label"].to_numpy()
x_test, y_test = test.drop(columns="label").to_numpy(), test["label"].to_numpy()
mean, std = torch.tensor(x.mean(0)).float(), torch.tensor(x.std(0)).float()
rows, labels = torch.tensor(x).float(), torch.tensor(y)
test_rows, test_labels = torch.tensor(x_test).float(), torch.tensor(y_test)


def accuracy(net, rows, labels):
    """Return the share of rows that a network with two scores classifies correctly."""
    net.eval()
    with torch.no_grad():
        return (net(rows).argmax(1) == labels).float().mean().item()
