# ruff: noqa: D100, D101, D102, F821
# mypy: ignore-errors
# A support vector machine, tuned by cross-validation, whose support vectors become a layer.
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.svm import SVC

whiten = CONFIG["whiten"]
if whiten:
    spectrum = np.linalg.svd(x - x.mean(0), compute_uv=False)
    basis = PCA(int((spectrum > 1e-5 * spectrum[0]).sum()), whiten=True).fit(x)
    project = basis.transform(np.eye(10)) - basis.transform(np.zeros((1, 10)))
else:
    project = np.diag(1 / x.std(0))
z = (x - x.mean(0)) @ project
grid = {"C": CONFIG["C"], "gamma": [factor / (z.shape[1] * z.var()) for factor in CONFIG["gamma"]]}
folds = StratifiedKFold(5, shuffle=True, random_state=CONFIG["seed"])
machine = GridSearchCV(SVC(), grid, cv=folds).fit(z, y).best_estimator_


class Kernel(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("project", torch.tensor(project).float())
        self.register_buffer("centres", torch.tensor(machine.support_vectors_).float())
        self.register_buffer("weights", torch.tensor(machine.dual_coef_.T).float())
        self.gamma, self.intercept = float(machine.gamma), float(machine.intercept_[0])

    def forward(self, x):
        z = (x - self.mean) @ self.project
        squares = (z * z).sum(1, keepdim=True) + (self.centres * self.centres).sum(1) - 2 * z @ self.centres.T
        score = torch.exp(-self.gamma * squares) @ self.weights + self.intercept
        return torch.cat([-score, score], 1)


net = Kernel()
