# ruff: noqa: D100, D101, D102, D103, F821
# mypy: ignore-errors
# Gaussian mixtures, a support vector machine and networks, weighed by what they are worth on a split of one's own.
from sklearn.mixture import GaussianMixture
from sklearn.svm import SVC


class Mixtures(nn.Module):
    def __init__(self, z, y, components):
        super().__init__()
        self.components, factors, shifts, offsets = components, [], [], []
        for label in (0, 1):
            mixture = GaussianMixture(components, reg_covar=1e-3, n_init=2, random_state=CONFIG["seed"])
            factor = mixture.fit(z[y == label]).precisions_cholesky_
            factors += list(factor)
            shifts += [m @ f for m, f in zip(mixture.means_, factor, strict=True)]
            offsets += list(np.log(mixture.weights_) + np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(1))
        self.register_buffer("matrix", torch.tensor(np.concatenate(factors, 1)).float())
        self.register_buffer("shift", torch.tensor(np.concatenate(shifts)).float())
        self.register_buffer("offset", torch.tensor(np.array(offsets)).float())

    def forward(self, z):
        distance = (z @ self.matrix - self.shift).reshape(-1, 2 * self.components, 10).square().sum(-1)
        return (self.offset - distance / 2).reshape(-1, 2, self.components).logsumexp(2) / 3


class Machine(nn.Module):
    def __init__(self, z, y, strength):
        super().__init__()
        machine = SVC(C=strength).fit(z, y)
        self.gamma, self.intercept = float(machine._gamma), float(machine.intercept_[0])
        self.register_buffer("centres", torch.tensor(machine.support_vectors_).float())
        self.register_buffer("weights", torch.tensor(machine.dual_coef_.T).float())

    def forward(self, z):
        squares = (z * z).sum(1, keepdim=True) + (self.centres * self.centres).sum(1) - 2 * z @ self.centres.T
        score = torch.exp(-self.gamma * squares) @ self.weights + self.intercept
        return torch.cat([-score, score], 1)


class Networks(nn.Module):
    def __init__(self, z, y, width):
        super().__init__()
        z, y = torch.tensor(z).float(), torch.tensor(y)
        self.members = nn.ModuleList(
            nn.Sequential(nn.Linear(10, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2))
            for _ in range(3)
        )
        optimizer = torch.optim.AdamW(self.parameters(), lr=3e-3, weight_decay=1e-2)
        for _ in range(CONFIG["epochs"]):
            for batch in torch.randperm(len(z)).split(64):
                optimizer.zero_grad()
                losses = (nn.functional.cross_entropy(m(z[batch]), y[batch], label_smoothing=0.1) for m in self.members)
                sum(losses).backward()
                optimizer.step()

    def forward(self, z):
        return sum(member(z) for member in self.members) / 3


class Stack(nn.Module):
    def __init__(self, parts, weights):
        super().__init__()
        self.parts, self.weights = nn.ModuleList(parts), weights
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, x):
        z = (x - self.mean) / self.std
        return sum(weight * part(z).log_softmax(1) for weight, part in zip(self.weights, self.parts, strict=True))


def parts(z, y):
    made = [Mixtures(z, y, components) for components in CONFIG["components"]]
    return [*made, Machine(z, y, CONFIG["C"]), Networks(z, y, CONFIG["width"])]


z = (x - x.mean(0)) / x.std(0)
order = rng.permutation(len(z))
kept, held = order[: int(0.75 * len(z))], order[int(0.75 * len(z)) :]
first = parts(z[kept], y[kept])
count, steps = len(first), (0.0, 0.5, 1.0)
choices = [weights for weights in itertools.product(steps, repeat=count) if max(weights) == 1.0]
best = max(choices, key=lambda weights: (accuracy(Stack(first, weights), rows[held], labels[held]), sum(weights)))
net = Stack(parts(z, y), best)
