"""What a defence is, and where the tests and audits stand that notice its removal."""

from __future__ import annotations

from dataclasses import dataclass

BOX, ONNX, IMBALANCE = "pytest_rltask/sandbox/", "benchmarks/onnx_export/", "benchmarks/imbalance/"
ATTACKS, RUNS, CONTAINERS = (f"tests/sandbox/{folder}/test_" for folder in ("attacks", "runs", "containers"))
REACH, KERNEL, USED_UP, OUTLIVING = (
    f"{ATTACKS}probes_{part}.py::" for part in ("reach", "kernel", "limits", "outliving")
)
BACKENDS, CHOICE, SECCOMP, IMPORTS = (
    f"tests/sandbox/backends/test_{part}.py::" for part in ("backends", "choice", "seccomp", "imports")
)
RUN, LIMITED = (f"{RUNS}sandbox_{part}.py::" for part in ("run", "limits"))
DISK, FILES = (f"tests/sandbox/test_sandbox_{part}.py::" for part in ("disk", "files"))
PRELOAD, PRELOADED = (f"tests/sandbox/preload/test_{part}.py::" for part in ("sandbox_preload", "preload_lifetime"))
ALONE = "tests/sandbox/test_threads_alone.py::"
DOCKER, CONTAINER = (f"{CONTAINERS}{part}.py::" for part in ("docker", "docker_lifetime"))
IMAGE = "tests/sandbox/images/test_image.py::"
ONNX_TESTS, IMBALANCE_TESTS = (f"tests/benchmarks/{task}/" for task in ("onnx_export", "imbalance"))
GRADER, HOSTILE, DATA = (f"{ONNX_TESTS}test_onnx_{part}.py::" for part in ("grader", "hostile", "data"))
MODEL, REFUSALS, RESULTS = (
    f"{IMBALANCE_TESTS}session/test_session_{part}.py::" for part in ("model", "refusals", "results")
)
START = f"{IMBALANCE_TESTS}task/test_imbalance_start.py::"
AUDIT_ONNX = "benchmarks/onnx_export/test_onnx_export.py::test_onnx_export[audit-{}]"
AUDIT_IMBALANCE = "benchmarks/imbalance/test_imbalance.py::test_imbalance[audit-{}]"

Edit = tuple[str, str, str]
"""A file, a text that it holds exactly once, and what takes its place."""


@dataclass(frozen=True)
class Defence:
    """Something that stops an attack."""

    name: str
    edits: tuple[Edit, ...]
    """What removes it."""
    selection: tuple[str, ...]
    """Tests, or else audits, of which at least one must go red."""
    note: str = ""


NO_SOCKET_RULES: Edit = (
    f"{BOX}backends/seccomp.py",
    'code += _sockets(column, reachable="sockets" in gaps)',
    "code += []",
)
