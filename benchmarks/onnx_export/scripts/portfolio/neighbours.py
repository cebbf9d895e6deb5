# ruff: noqa: D100, D101, D102, F821
# mypy: ignore-errors
# Votes of all training rows, weighted by their distance in a metric that is learned by leaving each row out.
class Votes(nn.Module):
    def __init__(self):
        super().__init__()
        start = np.linalg.inv(np.cov(x.T) + 1e-2 * np.eye(10) * x.var()) if CONFIG["whiten"] else np.diag(1 / x.var(0))
        self.metric = nn.Parameter(torch.tensor(np.linalg.cholesky(start)).float() * CONFIG["sharpness"])
        self.register_buffer("mean", mean)
        self.register_buffer("centres", rows - mean)
        self.register_buffer("votes", nn.functional.one_hot(labels, 2).float())

    def logs(self, x):
        a, b = (x - self.mean) @ self.metric, self.centres @ self.metric
        return -((a * a).sum(1, keepdim=True) + (b * b).sum(1) - 2 * a @ b.T) / 2

    def forward(self, x):
        return self.logs(x).softmax(1) @ self.votes


net = Votes()
optimizer = torch.optim.Adam(net.parameters(), lr=CONFIG["lr"])
itself = torch.eye(len(rows)) * 1e4
for _ in range(CONFIG["steps"]):
    drop = (torch.rand(len(rows)) < CONFIG["dropout"]).float() * 1e4  # centres that do not vote this time
    share = (net.logs(rows) - itself - drop).softmax(1) @ net.votes
    loss = nn.functional.nll_loss((share + 1e-4).log(), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
