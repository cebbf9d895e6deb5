# ruff: noqa: D100, D101, D102, F821
# mypy: ignore-errors
# Boosted or random trees, on rotated and multiplied columns too, that a network learns from on many made-up rows.
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier

a, b = np.triu_indices(10)


def widened(rows):
    """Return the columns and their products."""
    scaled = (rows - x.mean(0)) / x.std(0)
    return np.concatenate([scaled, scaled[:, a] * scaled[:, b]], 1)


boosted = HistGradientBoostingClassifier(
    max_iter=CONFIG["rounds"], learning_rate=0.08, max_leaf_nodes=15, l2_regularization=1.0, random_state=CONFIG["seed"]
).fit(widened(x), y)
random = ExtraTreesClassifier(CONFIG["trees"], min_samples_leaf=2, random_state=CONFIG["seed"]).fit(widened(x), y)

first, second = rng.integers(len(x), size=(2, CONFIG["made_up"]))
share = rng.uniform(0, 0.5, size=(CONFIG["made_up"], 1))
made_up = (1 - share) * x[first] + share * x[second] + 0.05 * x.std(0) * rng.normal(size=(CONFIG["made_up"], 10))
taught = (boosted.predict_proba(widened(made_up)) + random.predict_proba(widened(made_up))) / 2
inputs = torch.cat([torch.tensor(made_up).float(), *[rows] * 3])
truth = nn.functional.one_hot(labels, 2).float() * 0.9 + 0.05
wanted = torch.cat([torch.tensor(taught).float(), *[truth] * 3])


class Pupil(nn.Module):
    def __init__(self, width):
        super().__init__()
        layers = [nn.Linear(10, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2)]
        self.layers = nn.Sequential(*layers)
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, x):
        return self.layers((x - self.mean) / self.std)


net = Pupil(CONFIG["width"])
optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=1e-2)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, CONFIG["epochs"])
for _ in range(CONFIG["epochs"]):
    for batch in torch.randperm(len(inputs)).split(128):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(inputs[batch]), wanted[batch]).backward()
        optimizer.step()
    schedule.step()
