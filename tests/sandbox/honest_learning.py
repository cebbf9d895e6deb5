"""The honest programs that learn: scikit-learn, torch, ONNX and their helpers, with workers and threads."""

from __future__ import annotations

from tests.sandbox.honest import Program

__all__ = ["LEARNING"]

_SKLEARN = ("sklearn",)
_TORCH = ("torch",)
_ONNX = ("torch", "onnx", "onnxscript", "onnxruntime")

_DATA = """
import warnings; warnings.filterwarnings("ignore")
from sklearn.datasets import make_classification
X, y = make_classification(200, 6, weights=[0.8], random_state=0)
"""
_NET = """
import warnings; warnings.filterwarnings("ignore")
import torch
from torch import nn
torch.manual_seed(0)
x, y = torch.randn(64, 4), torch.arange(64) % 2
net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
"""


def _sklearn(code: str, *more: str) -> Program:
    return Program(f"{_DATA}{code}", needs=(*_SKLEARN, *more))


def _torch(code: str, *more: str, same_files: bool = True) -> Program:
    return Program(f"{_NET}{code}", needs=(*_TORCH, *more), same_files=same_files)


LEARNING = {
    "KMeans": _sklearn("""
from sklearn.cluster import KMeans
print(KMeans(3, n_init=2, random_state=0).fit(X).inertia_)
"""),
    "GaussianMixture": _sklearn("""
from sklearn.mixture import GaussianMixture
print(GaussianMixture(2, random_state=0).fit(X).converged_)
"""),
    "GridSearchCV(n_jobs=2)": _sklearn("""
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
if __name__ == "__main__":
    search = GridSearchCV(LogisticRegression(), {"C": [0.1, 1, 10]}, n_jobs=2, cv=3).fit(X, y)
    print(search.best_params_, round(search.best_score_, 6))
"""),
    "cross_val_score by loky": _sklearn("""
from joblib import parallel_config
from sklearn.neighbors import KNeighborsClassifier
from sklearn.model_selection import cross_val_score
with parallel_config("loky", n_jobs=2): print(cross_val_score(KNeighborsClassifier(), X, y, cv=4))
"""),
    "cross_val_score by threading": _sklearn("""
from joblib import parallel_config
from sklearn.tree import DecisionTreeClassifier
from sklearn.model_selection import cross_val_score
with parallel_config("threading", n_jobs=2):
    print(cross_val_score(DecisionTreeClassifier(random_state=0), X, y, cv=4))
"""),
    "KMeans in workers": _sklearn("""
import multiprocessing as mp, subprocess, sys
from joblib import Parallel, delayed
from sklearn.cluster import KMeans
def inertia(seed): return round(KMeans(2, n_init=1, random_state=seed).fit(X).inertia_, 6)
if __name__ == "__main__":
    with mp.get_context("fork").Pool(2) as pool: print(pool.map(inertia, range(2)))
    print(Parallel(n_jobs=2)(delayed(inertia)(seed) for seed in range(2)))
    command = [sys.executable, "-c", "import script; print(script.inertia(0))"]
    print(subprocess.run(command, capture_output=True, text=True).stdout)
"""),
    "HistGradientBoosting": _sklearn("""
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
print(HistGradientBoostingClassifier(max_iter=10, random_state=0).fit(X, y).score(X, y))
print(RandomForestClassifier(20, n_jobs=2, random_state=0).fit(X, y).score(X, y))
"""),
    "SMOTE": _sklearn(
        """
from imblearn.over_sampling import SMOTE
X2, y2 = SMOTE(random_state=0).fit_resample(X, y)
print(X2.shape, sorted(__import__("collections").Counter(y2.tolist()).items()))
""",
        "imblearn",
    ),
    "a pipeline, saved": _sklearn("""
import joblib, numpy as np
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
model = make_pipeline(StandardScaler(), SVC()).fit(X, y); joblib.dump(model, "model.joblib")
print(joblib.load("model.joblib").score(X, y)); np.savez("data.npz", X=X); print(np.load("data.npz")["X"].shape)
"""),
    "csv by each engine": Program(
        """
        import pandas as pd
        frame = pd.DataFrame({"a": [1, 2], "b": ["x", "ü"], "c": [0.5, None]}); frame.to_csv("a.csv", index=False)
        for engine in ("c", "python"): print(pd.read_csv("a.csv", engine=engine).to_dict("list"))
        try: print(pd.read_csv("a.csv", engine="pyarrow").shape)
        except ImportError: print("no pyarrow")
        print(frame.describe().loc["mean"].to_dict(), pd.to_datetime("2024-01-02").day_name())
        """,
        needs=("pandas",),
    ),
    "matplotlib's Agg": Program(
        """
        import matplotlib
        matplotlib.use("Agg")
        import matplotlib.pyplot as plt, os
        plt.plot([1, 2]); plt.savefig("a.png"); print(os.path.getsize("a.png") > 1000)
        """,
        needs=("matplotlib",),
        same_files=False,
    ),
    "tqdm": Program(
        """
        from tqdm import tqdm
        print(sum(tqdm(range(5), file=open("progress.txt", "w"))))
        """,
        needs=("tqdm",),
        same_files=False,
    ),
    "torch: DataLoader": _torch(
        """
from torch.utils.data import DataLoader, TensorDataset
optimizer = torch.optim.Adam(net.parameters(), 0.01)
for epoch in range(3):
    for bx, by in DataLoader(TensorDataset(x, y), batch_size=16, shuffle=True, num_workers=0):
        optimizer.zero_grad(); loss = nn.functional.cross_entropy(net(bx), by); loss.backward(); optimizer.step()
print(round(loss.item(), 4)); torch.save(net.state_dict(), "net.pt"); print(sorted(torch.load("net.pt"))[0])
""",
        same_files=False,
    ),
    "torch: DataLoader with workers": _torch("""
from torch.utils.data import DataLoader, TensorDataset
if __name__ == "__main__":
    for again in range(2):
        loader = DataLoader(TensorDataset(x, y), batch_size=16, num_workers=2, persistent_workers=bool(again))
        print(sum(bx.sum().item() + by.sum().item() for bx, by in loader), len(loader))
    loader = DataLoader(range(8), batch_size=4, num_workers=1, multiprocessing_context="spawn")
    print([batch.tolist() for batch in loader])
"""),
    "torch: shared tensors": _torch("""
import torch.multiprocessing as mp
def add(shared, queue): shared += 1; queue.put(shared.sum().item())
if __name__ == "__main__":
    net.share_memory(); shared = torch.zeros(3).share_memory_(); print(shared.is_shared(), net(x).shape)
    for method in ("fork", "spawn"):
        queue = mp.get_context(method).Queue()
        worker = mp.get_context(method).Process(target=add, args=(shared, queue)); worker.start()
        print(queue.get()); worker.join(); print(shared.tolist())
"""),
    "torch: threads": _torch("""
torch.set_num_threads(4)
print(torch.get_num_threads(), (torch.ones(300, 300) @ torch.ones(300, 300)).sum().item())
import copy; print(copy.deepcopy(net)(x).shape, torch.jit.trace(net, x)(x).shape)
"""),
    "torch.compile": _torch("""
try:
    print(torch.allclose(torch.compile(net)(x), net(x), atol=1e-5))
except Exception as error:
    print("refused:", type(error).__name__)
"""),
    "torch.onnx.export": _torch(
        """
import contextlib, io, logging, onnx, onnxruntime
logging.disable(logging.WARNING)
with contextlib.redirect_stdout(io.StringIO()):
    torch.onnx.export(net, (x,), "new.onnx", dynamo=True, external_data=True)
torch.onnx.export(net, (x,), "old.onnx", dynamo=False, input_names=["x"], dynamic_axes={"x": {0: "n"}})
for name in ("new.onnx", "old.onnx"):
    onnx.checker.check_model(name)
    options = onnxruntime.SessionOptions(); options.intra_op_num_threads = 3
    session = onnxruntime.InferenceSession(name, options, providers=["CPUExecutionProvider"])
    print(session.run(None, {session.get_inputs()[0].name: x.numpy()})[0].shape)
import os; print(sorted(n for n in os.listdir(".") if "onnx" in n))
""",
        *_ONNX,
        same_files=False,
    ),
}
"""The programs, by name."""
