# ruff: noqa: D100, D101, D102, D103, F821
# mypy: ignore-errors
# A linear classifier on fixed features, random cosines or monomials, with its settings by cross-validation.
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import StratifiedKFold, cross_val_score

scaled = ((rows - mean) / std).float()


class Cosines(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.register_buffer("frequencies", torch.randn(10, CONFIG["count"]) / width)
        self.register_buffer("phases", torch.rand(CONFIG["count"]) * 2 * np.pi)

    def forward(self, z):
        return torch.cos(z @ self.frequencies + self.phases)


class Monomials(nn.Module):
    def __init__(self, degree):
        super().__init__()
        self.degree = degree
        a, b = np.triu_indices(10)
        self.register_buffer("first", torch.tensor(a))
        self.register_buffer("second", torch.tensor(b))
        c, d = np.triu_indices(55)
        self.register_buffer("third", torch.tensor(c))
        self.register_buffer("fourth", torch.tensor(d))

    def forward(self, z):
        products = z[:, self.first] * z[:, self.second]
        parts = [z, products]
        if self.degree >= 3:
            parts.append((products[:, :, None] * z[:, None, :]).flatten(1))
        if self.degree >= 4:
            parts.append(products[:, self.third] * products[:, self.fourth])
        return torch.cat(parts, 1)


def linear(strength):
    if CONFIG["kind"] == "cosines":
        return RidgeClassifier(alpha=1 / strength)
    return LogisticRegression(C=strength, max_iter=300, tol=1e-3)


folds = StratifiedKFold(4, shuffle=True, random_state=CONFIG["seed"])
best = (-1.0,)
for shape in CONFIG["shapes"]:
    layer = (Cosines if CONFIG["kind"] == "cosines" else Monomials)(shape)
    made = layer(scaled).numpy().astype(float)
    centre, scale = made.mean(0), made.std(0) + 1e-9
    for strength in CONFIG["strengths"]:
        score = cross_val_score(linear(strength), (made - centre) / scale, y, cv=folds).mean()
        if score > best[0]:
            best = (score, layer, made, centre, scale, strength)
_, layer, made, centre, scale, strength = best
model = linear(strength).fit((made - centre) / scale, y)


class Linear(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = layer
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        self.register_buffer("centre", torch.tensor(centre).float())
        self.register_buffer("scale", torch.tensor(scale).float())
        self.register_buffer("weights", torch.tensor(model.coef_.reshape(-1, 1)).float())
        self.intercept = float(np.ravel(model.intercept_)[0])

    def forward(self, x):
        score = (self.layer((x - self.mean) / self.std) - self.centre) / self.scale @ self.weights + self.intercept
        return torch.cat([-score, score], 1)


net = Linear()
