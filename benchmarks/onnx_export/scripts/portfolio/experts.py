# ruff: noqa: D100, D101, D102, F821
# mypy: ignore-errors
# Learned features other than ReLUs: a gated mixture of small networks, maxout units, or learned quadratic forms.
class Experts(nn.Module):
    """A gate weighs the opinions of experts."""

    def __init__(self, count, width):
        super().__init__()
        self.count = count
        self.gate = nn.Sequential(nn.Linear(10, width), nn.ReLU(), nn.Linear(width, count))
        self.first = nn.Linear(10, count * width)
        self.second = nn.Parameter(torch.randn(count, width, 2) / width**0.5)
        self.dropout = nn.Dropout(CONFIG["dropout"])

    def forward(self, z):
        hidden = self.dropout(torch.relu(self.first(z))).reshape(z.shape[0], self.count, -1)
        opinions = torch.einsum("nkw,kwc->nkc", hidden, self.second)
        return (self.gate(z).softmax(1)[:, :, None] * opinions).sum(1)


class Maxout(nn.Module):
    """Units that take the largest of several linear functions."""

    def __init__(self, count, width):
        super().__init__()
        self.count = count
        self.first, self.second = nn.Linear(10, width * count), nn.Linear(width, width * count)
        self.last, self.dropout = nn.Linear(width, 2), nn.Dropout(CONFIG["dropout"])

    def forward(self, z):
        z = self.dropout(self.first(z).reshape(z.shape[0], -1, self.count).amax(2))
        z = self.dropout(self.second(z).reshape(z.shape[0], -1, self.count).amax(2))
        return self.last(z)


class Forms(nn.Module):
    """Quadratic forms, each a sum of squares of learned directions, and a small network on top."""

    def __init__(self, count, width):
        super().__init__()
        self.count = count
        self.directions = nn.Linear(10, count * width)
        self.top = nn.Sequential(nn.LayerNorm(count + 10), nn.Linear(count + 10, 64), nn.ReLU(), nn.Linear(64, 2))
        self.dropout = nn.Dropout(CONFIG["dropout"])

    def forward(self, z):
        squares = self.directions(z).square().reshape(z.shape[0], self.count, -1).mean(2)
        return self.top(self.dropout(torch.cat([torch.log(squares + 0.1), z], 1)))


class Scaled(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, x):
        return self.inner((x - self.mean) / self.std)


kind = {"experts": Experts, "maxout": Maxout, "forms": Forms}[CONFIG["kind"]]
net = Scaled(kind(CONFIG["count"], CONFIG["width"]))
held = torch.tensor(rng.permutation(len(rows))[: int(0.15 * len(rows)) if CONFIG["stop"] else 0])
kept = torch.tensor(np.setdiff1d(np.arange(len(rows)), held.numpy()))
optimizer = torch.optim.AdamW(net.parameters(), lr=CONFIG["lr"], weight_decay=CONFIG["weight_decay"])
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, CONFIG["epochs"])
best, state = -1.0, None
for _ in range(CONFIG["epochs"]):
    net.train()
    for places in torch.randperm(len(kept)).split(CONFIG["batch"]):
        batch = kept[places]
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(rows[batch]), labels[batch], label_smoothing=CONFIG["smoothing"]).backward()
        optimizer.step()
    schedule.step()
    if CONFIG["stop"] and (reached := accuracy(net, rows[held], labels[held])) >= best:
        best, state = reached, copy.deepcopy(net.state_dict())
if state:
    net.load_state_dict(state)
