"""Joins a Ray cluster, or starts one on this machine, and finds out whether its nodes can play what is planned.

All that can be wrong is told here, in a sentence and within a bounded time, before anything is played.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_rltask import __version__
from pytest_rltask.engines.ray_place import OF_API, About, Settings, look
from pytest_rltask.engines.travel import code_digest
from pytest_rltask.models.settings import BASE_URL
from pytest_rltask.task import Resources

__all__ = [
    "Cluster",
    "ClusterError",
    "check_room",
    "join",
    "keys_of",
    "looked_at",
    "nodes_of",
    "submitted_folder",
    "wanted_of",
]

REACH_S = 5.0
"""Seconds within which somebody must listen at the address of a cluster."""
JOIN_S = 60.0
"""Seconds that joining a cluster, or starting one, may take."""
LEAVE_S = 5.0
"""Seconds that leaving it may take."""
LOOK_S = 120.0
"""Seconds within which each node must have started a process that plays: it fetches the project first."""
MOST_LOOKED_AT = 32
"""Nodes that are looked at before anything is played; others are likely to be like them."""
OBJECT_STORE_BYTES = 256 * 2**20
"""What a cluster that is started here sets aside for large results: artifacts, and little else."""
_USAGE = "RAY_USAGE_STATS_ENABLED"
JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Where ``ray job submit`` tells what it was given."""
EXCLUDES = (
    *(".git", ".hg", ".venv", "venv", ".tox", ".nox", "node_modules", "__pycache__", "*.pyc", "*.egg-info"),
    *(".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis", ".ipynb_checkpoints", ".coverage", "htmlcov"),
    *(".env", ".env.*", ".envrc", ".netrc", ".pypirc", ".aws", ".ssh", ".gnupg", ".kaggle"),
    *("*.pem", "*.key", "*.p12", "id_rsa*"),
)
"""What does not travel with a project, besides what its .gitignore names and the folder of runs. What usually holds
keys is among it."""


class ClusterError(Exception):
    """The cluster cannot be used; says why, and what to do, in a sentence."""


@dataclass
class Cluster:
    """A cluster that this process has joined."""

    address: str
    """As the user named it."""
    nodes: tuple[Mapping[str, Any], ...]
    """Its nodes on which anything may run, as Ray describes them."""
    abouts: tuple[About, ...] = ()
    """What was found on those that were looked at."""

    @property
    def cores(self) -> int:
        """How many CPUs it offers now."""
        return max(1, int(sum(node["Resources"].get("CPU", 0) for node in self.nodes)))

    @property
    def isolation(self) -> str:
        """What isolates agents' code on its nodes: one word, or one for each kind of node."""
        return ", ".join(sorted({about.sandbox for about in self.abouts} - {""}))

    @property
    def mixed(self) -> str:
        """What isolates on which node, where that differs; empty if it does not."""
        kinds = sorted({about.sandbox for about in self.abouts})
        told = (f"{kind} on {', '.join(sorted({a.name for a in self.abouts if a.sandbox == kind}))}" for kind in kinds)
        return "; ".join(told) if len(kinds) > 1 else ""

    @property
    def has_keys(self) -> bool:
        """Whether each node that was looked at has a key of its own, for the server that this process names."""
        server, has_none = os.environ.get(BASE_URL, ""), not keys_of(os.environ)
        return all(about.has_key and (has_none or about.server == server) for about in self.abouts)

    leave: Callable[[], None] = lambda: None
    """Leaves it, so that nothing of this run goes on there."""


def submitted_folder() -> str:
    """Return the folder that ``ray job submit --working-dir`` has sent, in which this process runs; empty if none."""
    try:
        given = json.loads(os.environ.get(JOB, "{}")).get("runtime_env", {})
    except (ValueError, AttributeError):
        return ""
    here = Path.cwd()
    copies = (path for path in (here, *here.parents) if path.parent.name == "working_dir_files")
    return str(next(copies, here)) if given.get("working_dir") else ""


def join(address: str, *, root: Path, excludes: Sequence[str]) -> Cluster:
    """Join a cluster, or start one on this machine.

    Args:
        address: ``ray``: the one that RAY_ADDRESS names, else the one of this machine, else a new one; or
            ``ray://HOST:PORT``, by Ray's client.
        root: of the project that travels.
        excludes: what of it does not, as patterns of a .gitignore.

    Raises:
        ClusterError: it cannot be joined.
    """
    try:
        import ray
    except ImportError as error:
        raise ClusterError(f'it needs Ray ({error}); pip install "pytest-rltask[ray]"') from None
    if ray.is_initialized():
        raise ClusterError("this process has joined a Ray cluster already; leave that to pytest")
    where = address if address.startswith("ray://") else os.environ.get("RAY_ADDRESS", "")
    _check_reachable(where)
    options = _options(where, root, excludes)
    membership = _Membership(lambda: ray.init(**options))
    try:
        with _quiet():
            membership.join(where, root)
            nodes = nodes_of(ray)
    except KeyboardInterrupt:
        membership.leave()
        raise
    cluster = Cluster(address, nodes, leave=membership.leave)
    if not nodes:
        cluster.leave()
        raise ClusterError(f"{where or 'the cluster'} has no node with a CPU to run on")
    return cluster


def nodes_of(ray: Any) -> tuple[Mapping[str, Any], ...]:
    """Return the nodes that live and on which anything may run: a head often has no CPU."""
    return tuple(node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) > 0)


def _options(where: str, root: Path, excludes: Sequence[str]) -> dict[str, Any]:
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if not submitted_folder():
        options["runtime_env"] = {"working_dir": str(root), "excludes": [*EXCLUDES, *excludes]}
    if where.startswith("ray://"):
        return options | {"address": where}
    if where in ("", "local"):
        options |= {"object_store_memory": OBJECT_STORE_BYTES, "include_dashboard": False} if where else {}
        return options | ({"address": "local"} if where else {})
    return options | {"address": where}


def _check_reachable(where: str) -> None:
    """Make sure that somebody listens at an address: Ray itself would try for minutes."""
    host, colon, port = where.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        if where.startswith("ray://"):
            raise ClusterError(f"{where} names no port; write ray://HOST:10001, where Ray's client server listens")
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=REACH_S).close()
    except OSError as error:
        said = error.strerror or str(error) or "no answer"
        kind = "a client server of Ray's" if where.startswith("ray://") else "a Ray cluster (RAY_ADDRESS)"
        raise ClusterError(f"there is no {kind[2:]} at {where}: {said}; start one with `ray start --head`") from None


class _Membership:
    """Has Ray start in a thread, and live in it: there Ray leaves the process's signal handlers as they are.

    What Ray starts on this machine dies with the thread that started it, as the kernel has it.
    """

    def __init__(self, begin: Callable[[], Any]) -> None:
        self._begin = begin
        self._ended: list[BaseException | None] = []
        self._is_left = threading.Event()
        self._thread = threading.Thread(target=self._live, name="rltask-ray", daemon=True)

    def join(self, where: str, root: Path) -> None:
        """Join the cluster.

        Raises:
            ClusterError: it did not come about.
        """
        self._thread.start()
        until = time.monotonic() + JOIN_S
        while not self._ended and time.monotonic() < until:
            self._thread.join(0.05)  # an interrupt is heard in between
        if not self._ended:
            raise ClusterError(f"{where or 'Ray'} did not let this process in within {JOIN_S:g} s")
        if (error := self._ended[0]) is not None:
            raise ClusterError(_why(error, root)) from error

    def leave(self) -> None:
        """Leave it; a cluster that was started here ends."""
        self._is_left.set()
        self._thread.join(LEAVE_S)

    def _live(self) -> None:
        try:
            self._begin()
        except BaseException as error:
            self._ended.append(error)
            return
        self._ended.append(None)
        self._is_left.wait()
        import ray

        with contextlib.suppress(Exception), _quiet():
            ray.shutdown()


def _why(error: BaseException, root: Path) -> str:
    said = " ".join(str(error).split())
    if "exceed" in said and "size" in said:
        largest = ", ".join(f"{name} ({size / 2**20:,.0f} MB)" for name, size in _largest(root))
        return (
            f"{root} is too large to travel: {said[:200]}; its largest are {largest}; leave some out with the ini "
            "setting rltask_ray_excludes = PATTERN ..., or a .gitignore"
        )
    if "ersion mismatch" in said or "versions differ" in said:
        return f"{said[:400]}; install the same versions of Python and Ray here and on the nodes"
    return f"{type(error).__name__}: {said[:500]}"


def _largest(root: Path) -> list[tuple[str, int]]:
    sizes: dict[str, int] = {}
    for folder, names, files in os.walk(root):
        names[:] = [name for name in names if name not in EXCLUDES]
        for file in files:
            path = os.path.join(folder, file)
            with contextlib.suppress(OSError):
                sizes[os.path.relpath(path, root)] = os.path.getsize(path)
    return sorted(sizes.items(), key=lambda entry: -entry[1])[:5]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Ray's own lines out of pytest's terminal."""
    logger = logging.getLogger("ray")
    level, logger.level = logger.level, logging.CRITICAL
    is_decided = _USAGE in os.environ
    os.environ.setdefault(_USAGE, "0")  # nothing is sent anywhere that nobody asked for
    try:
        yield
    finally:
        logger.level = level
        if not is_decided:
            os.environ.pop(_USAGE, None)


def looked_at(cluster: Cluster, settings: Settings, tasks: Iterable[bytes], *, isolates: bool) -> Cluster:
    """Look at the nodes of a cluster, and make sure that each can play; one that dies meanwhile is none of them.

    Raises:
        ClusterError: one cannot, or none is left.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    remote = ray.remote(look)
    packed = list(tasks)
    refs = {
        remote.options(
            num_cpus=0.01,
            max_retries=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False),
        ).remote(settings, packed, isolates=isolates): node
        for node in cluster.nodes[:MOST_LOOKED_AT]
    }
    done, late = ray.wait(list(refs), num_returns=len(refs), timeout=LOOK_S)
    if not done:
        names = ", ".join(refs[ref]["NodeManagerAddress"] for ref in late)
        raise ClusterError(f"no process was started within {LOOK_S:g} s on {names}")
    abouts = []
    for ref in done:
        try:
            about = ray.get(ref)
        except Exception as error:
            cluster.nodes = nodes_of(ray)
            if refs[ref]["NodeID"] not in [node["NodeID"] for node in cluster.nodes]:
                continue
            raise ClusterError(_why_no_look(error, refs[ref]["NodeManagerAddress"])) from None
        _check(about, settings)
        abouts.append(about)
    if not abouts:
        raise ClusterError("all nodes of the cluster died as they were looked at")
    cluster.abouts = tuple(abouts)
    return cluster


def _why_no_look(error: Exception, node: str) -> str:
    said = " ".join(str(error).split())
    if "No module named 'pytest_rltask" in said:
        return f'node {node} has no pytest-rltask; pip install "pytest-rltask[ray]=={__version__}" there'
    missing = said.rpartition("ModuleNotFoundError: ")[2][:200] if "ModuleNotFoundError" in said else said[-300:]
    return f"node {node} cannot play: {missing}"


def _check(about: About, settings: Settings) -> None:
    if (about.version, about.digest) != (__version__, code_digest()):
        raise ClusterError(
            f"node {about.name} has pytest-rltask {about.version} ({about.digest}), and here is {__version__} "
            f"({code_digest()}); install the same on all nodes"
        )
    if about.unknown:
        raise ClusterError(
            f"node {about.name} cannot load a task: {about.unknown[0]}; what travels is the folder of pytest's rootdir "
            f"without what .gitignore and rltask_ray_excludes name; anything else has to be installed on the nodes"
        )
    if about.no_sandbox:
        raise ClusterError(f"--sandbox {settings.wanted} on node {about.name}: {about.no_sandbox}")


def check_room(cluster: Cluster, named: Mapping[str, Resources]) -> list[str]:
    """Return what no node has room for now, a sentence for each task; empty if all have their place."""
    told = []
    for task, needs in named.items():
        wanted = wanted_of(needs)
        if not any(all(node["Resources"].get(n, 0) >= v for n, v in wanted.items()) for node in cluster.nodes):
            has = "; ".join(sorted({_written(node["Resources"], wanted) for node in cluster.nodes}))
            told.append(
                f"task {task} needs a node with Resources({_written(wanted, wanted)}), and no one of the cluster has "
                f"that: its {len(cluster.nodes)} have {has}; add one, or write less in Task.resources"
            )
    return told


def _written(amounts: Mapping[str, float], names: Iterable[str]) -> str:
    """Return amounts of what is named as an author writes them."""
    own = {"CPU": "cpus", "GPU": "gpus", "memory": "memory_mb"}
    given = {name: amounts.get(name, 0) / (2**20 if name == "memory" else 1) for name in names}
    words = [
        f"{own[name]}={int(value) if name == 'memory' else f'{value:g}'}"
        for name, value in given.items()
        if name in own
    ]
    custom = ", ".join(f"{name!r}: {value:g}" for name, value in given.items() if name not in own)
    return ", ".join([*words, f"custom={{{custom}}}"] if custom else words)


def wanted_of(needs: Resources) -> dict[str, float]:
    """Return what a trial needs, by the names that Ray gives it."""
    wanted = {"CPU": needs.cpus, "GPU": needs.gpus, "memory": (needs.memory_mb or 0) * 2**20, **needs.custom}
    return {name: value for name, value in wanted.items() if value}


def keys_of(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that say who plays a model of an API, and by what key."""
    return {name: value for name, value in environment.items() if name.startswith(OF_API)}
