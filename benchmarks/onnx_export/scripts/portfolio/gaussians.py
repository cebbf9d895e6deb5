# ruff: noqa: D100, D101, D102, D103, F821
# mypy: ignore-errors
# A mixture of Gaussians for each class, exported as a network; how many Gaussians is a matter of taste, BIC or folds.
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import StratifiedKFold

if CONFIG["whiten"]:
    spectrum = np.linalg.svd(x - x.mean(0), compute_uv=False)
    basis = PCA(int((spectrum > 1e-5 * spectrum[0]).sum()), whiten=True).fit(x)
    project = basis.transform(np.eye(10)) - basis.transform(np.zeros((1, 10)))
else:
    project = np.diag(1 / x.std(0))
z = (x - x.mean(0)) @ project


def fit(rows, components, starts, covariance):
    settings = {"reg_covar": CONFIG["ridge"], "n_init": starts, "random_state": CONFIG["seed"]}
    return GaussianMixture(components, covariance_type=covariance, **settings).fit(rows)


def cross_validated(plan):
    right, (covariance, components) = 0, plan
    for kept, left_out in StratifiedKFold(3, shuffle=True, random_state=CONFIG["seed"]).split(z, y):
        zero, one = (fit(z[kept][y[kept] == label], components, 1, covariance) for label in (0, 1))
        right += np.sum((one.score_samples(z[left_out]) > zero.score_samples(z[left_out])) == y[left_out])
    return right


def chosen(label):
    if CONFIG["choose"] == "bic":
        return min(CONFIG["components"], key=lambda k: fit(z[y == label], k, 1, covariance).bic(z[y == label]))
    return CONFIG["components"][0]


covariance = CONFIG["covariances"][0]
if CONFIG["choose"] == "folds":
    plans = itertools.product(CONFIG["covariances"], CONFIG["components"])
    covariance, count = max(plans, key=cross_validated)
    counts = [count] * 2
else:
    counts = [chosen(label) for label in (0, 1)]
mixtures = [fit(z[y == label], counts[label], CONFIG["starts"], covariance) for label in (0, 1)]


class Gaussians(nn.Module):
    def __init__(self):
        super().__init__()
        size = z.shape[1]
        factors, means, offsets = [], [], []
        for mixture, count in zip(mixtures, counts, strict=True):
            factor = mixture.precisions_cholesky_
            if covariance == "diag":
                factor = np.stack([np.diag(row) for row in factor])
            elif covariance == "tied":
                factor = np.stack([factor] * count)
            factors += list(factor)
            means += list(mixture.means_)
            logs = np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(1)
            offsets += list(np.log(mixture.weights_) + logs)
        self.size = size
        self.register_buffer("mean", mean)
        self.register_buffer("matrix", torch.tensor(np.concatenate([project @ f for f in factors], 1)).float())
        shifts = [m @ f for m, f in zip(means, factors, strict=True)]
        self.register_buffer("shift", torch.tensor(np.concatenate(shifts)).float())
        self.register_buffer("offset", torch.tensor(np.array(offsets)).float())

    def forward(self, x):
        distance = ((x - self.mean) @ self.matrix - self.shift).reshape(-1, sum(counts), self.size).square().sum(-1)
        logs = self.offset - distance / 2
        return torch.stack([logs[:, : counts[0]].logsumexp(1), logs[:, counts[0] :].logsumexp(1)], 1)


net = Gaussians()
