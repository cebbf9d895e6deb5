# ruff: noqa: D100, D101, D102, F821
# mypy: ignore-errors
# A residual network with batch normalisation, whose weights are averaged over the last part of the training.
class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        layers = [nn.BatchNorm1d(width), nn.SiLU(), nn.Linear(width, width), nn.BatchNorm1d(width), nn.SiLU()]
        self.layers = nn.Sequential(*layers, nn.Dropout(CONFIG["dropout"]), nn.Linear(width, width))

    def forward(self, x):
        return x + self.layers(x)


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        width = CONFIG["width"]
        blocks = [Block(width) for _ in range(CONFIG["blocks"])]
        self.layers = nn.Sequential(
            nn.Linear(10, width), *blocks, nn.BatchNorm1d(width), nn.SiLU(), nn.Linear(width, 2)
        )
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, x):
        return self.layers((x - self.mean) / self.std)


net = Residual()
optimizer = torch.optim.AdamW(net.parameters(), lr=CONFIG["lr"], weight_decay=CONFIG["weight_decay"])
steps = CONFIG["epochs"] * (len(rows) // 64)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, CONFIG["lr"], total_steps=steps)
average = torch.optim.swa_utils.AveragedModel(net, use_buffers=True)
for epoch in range(CONFIG["epochs"]):
    net.train()
    for batch in torch.randperm(len(rows)).split(64)[: len(rows) // 64]:
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(rows[batch]), labels[batch], label_smoothing=CONFIG["smoothing"]).backward()
        optimizer.step()
        schedule.step()
    if epoch >= 0.8 * CONFIG["epochs"]:
        average.update_parameters(net)
net = average.module
