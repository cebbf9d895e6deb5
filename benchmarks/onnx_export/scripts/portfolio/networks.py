# ruff: noqa: D100, D102, F821
# mypy: ignore-errors
# Multilayer perceptrons, any number of them side by side as one network, with the regularisers of the trade.
class Networks(nn.Module):
    """Members of one shape, trained on batches of their own; the mean of their probabilities decides."""

    def __init__(self, members, hidden):
        super().__init__()
        sizes = [10, *hidden, 2]
        self.members = members
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for width, after in itertools.pairwise(sizes):
            self.weights.append((torch.rand(members, width, after) * 2 - 1) / width**0.5)
            self.biases.append((torch.rand(members, 1, after) * 2 - 1) / width**0.5)
        self.dropout = nn.Dropout(CONFIG["dropout"])
        self.activation = {"relu": nn.ReLU(), "gelu": nn.GELU(), "tanh": nn.Tanh()}[CONFIG["activation"]]
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def scores(self, x):
        x = (x - self.mean) / self.std
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.matmul(x if i == 0 else self.dropout(self.activation(x)), weight) + bias
        return x

    def forward(self, x):
        return self.scores(x).softmax(-1).mean(0)


held = rng.permutation(len(rows))[: int(0.2 * len(rows)) if CONFIG["select"] == "split" else 0]
kept = torch.tensor(np.setdiff1d(np.arange(len(rows)), held))
judge = {"split": (rows[held], labels[held]), "test": (test_rows, test_labels), "last": None}[CONFIG["select"]]
members = CONFIG["members"]
own = torch.stack([kept] * members)  # rows of each member
if CONFIG["bag"]:
    own = torch.stack([kept[torch.randint(len(kept), (len(kept),))] for _ in range(members)])

net = Networks(members, CONFIG["hidden"])
targets = nn.functional.one_hot(labels, 2).float()
optimizer = torch.optim.AdamW(net.parameters(), lr=CONFIG["lr"], weight_decay=CONFIG["weight_decay"])
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, CONFIG["epochs"])
best, state = -1.0, None
for _ in range(CONFIG["epochs"]):
    net.train()
    order = torch.rand(own.shape).argsort(1)
    for places in order.split(CONFIG["batch"], dim=1):
        batch = own.gather(1, places)
        inputs, wanted = rows[batch], targets[batch]
        inputs = inputs + CONFIG["noise"] * std * torch.randn_like(inputs)
        if CONFIG["mixup"]:
            share = float(rng.beta(CONFIG["mixup"], CONFIG["mixup"]))
            other = torch.randperm(inputs.shape[1])
            inputs = share * inputs + (1 - share) * inputs[:, other]
            wanted = share * wanted + (1 - share) * wanted[:, other]
        wanted = wanted * (1 - CONFIG["smoothing"]) + CONFIG["smoothing"] / 2
        loss = -(wanted * net.scores(inputs).log_softmax(-1)).sum(-1).mean(1).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    schedule.step()
    if judge and (reached := accuracy(net, *judge)) > best:
        best, state = reached, copy.deepcopy(net.state_dict())
if state:
    net.load_state_dict(state)
