"""``--engine ray``: the cluster that a run's trials are played on, joined before anything is played.

What is wrong with it is a usage error. `engines` knows the cluster; this knows pytest, its options and its items.
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from pytest_rltask.models.named import missing_key
from pytest_rltask.run.bulletin import Bulletin
from pytest_rltask.suite.chosen import prices_of
from pytest_rltask.suite.options import Options
from pytest_rltask.suite.plan import Plan

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_rltask.engines.local import LocalPlayer
    from pytest_rltask.engines.player import Player
    from pytest_rltask.engines.ray_cluster import Cluster
    from pytest_rltask.engines.ray_place import Settings

__all__ = ["Remote", "check_engine"]

LOCAL = "local"


def check_engine(config: pytest.Config, options: Options) -> None:
    """Refuse another engine where workers of pytest-xdist play.

    Raises:
        pytest.UsageError: they would.
    """
    is_shared = hasattr(config, "workerinput") or getattr(config.option, "dist", "no") != "no"
    if options.engine != LOCAL and is_shared and not (options.plan or options.audit):
        raise pytest.UsageError(
            f"--engine {options.engine} has the cluster's nodes play, from one process; leave out -n, and say with "
            "--concurrency how many trials are in flight"
        )


class Remote:
    """A cluster, as a run uses it.

    Args:
        config: pytest's configuration.
        options: of the run.
        plan: of the run.

    Raises:
        pytest.UsageError: it cannot be joined, or cannot play the plan.
    """

    def __init__(self, config: pytest.Config, options: Options, plan: Plan) -> None:
        from pytest_rltask.engines.ray_cluster import ClusterError

        self._options = options
        try:
            self.cluster, self.settings = _joined(config, options, plan)
        except ClusterError as error:
            raise pytest.UsageError(f"--engine {options.engine}: {error}") from None
        config.add_cleanup(self.cluster.leave)

    def player(self, run_dir: Path, since: str, *, most: Callable[[str], int], here: LocalPlayer) -> Player:
        """Return what plays a run's trials.

        Args:
            run_dir: where their artifacts are kept.
            since: when the invocation began.
            most: of a model's name: how many of its trials are in flight at once.
            here: plays what has to be played in this process.
        """
        from pytest_rltask.engines.ray import RayPlayer
        from pytest_rltask.run.artifacts import keep_artifacts

        return RayPlayer(
            self.cluster,
            self.settings,
            keep=partial(keep_artifacts, run_dir),
            most=most,
            news=lambda host: Bulletin(run_dir, f"{os.getpid()}-{host}", since),
            here=here,
        )

    @property
    def headline(self) -> str:
        """What is told of the cluster before anything is played."""
        cluster = self.cluster
        nodes = f"{len(cluster.nodes)} node{'s' * (len(cluster.nodes) != 1)}"
        line = f"rltask: engine {self._options.engine}: {nodes}, {cluster.cores} CPUs"
        return f"{line}; isolated by {cluster.mixed}" if cluster.mixed else line


def _joined(config: pytest.Config, options: Options, plan: Plan) -> tuple[Cluster, Settings]:
    from pytest_rltask.engines.ray_cluster import check_room, join, looked_at, submitted_folder
    from pytest_rltask.engines.ray_place import Settings
    from pytest_rltask.engines.travel import described, packed

    root, folder = config.rootpath, os.getcwd()
    cluster = join(options.engine, root=root, excludes=[*config.getini("rltask_ray_excludes"), *_logs(config, options)])
    tasks: dict[str, Any] = {entry.trial.task: entry.param.task for entry in plan.entries.values()}
    try:
        for line in check_room(cluster, {name: task.resources for name, task in tasks.items()}):
            raise pytest.UsageError(f"--engine {options.engine}: {line}")
        top = submitted_folder()
        inside = os.path.relpath(root, top) if top else ""
        settings = Settings(
            described(root, folder, inside=inside),
            options.reply_timeout,
            prices_of(options),
            allows_none=bool(config.getini("rltask_sandbox_allow_none")),
            wanted=options.sandbox,
        )
        isolates = any(entry.trial.sandbox for entry in plan.entries.values())
        cluster = looked_at(cluster, settings, [packed(task) for task in tasks.values()], isolates=isolates)
        _check_keys(cluster, plan)
    except BaseException:
        cluster.leave()
        raise
    return cluster, settings


def _check_keys(cluster: Cluster, plan: Plan) -> None:
    """Make sure that who plays a model of an API has a key: the nodes each, or else this process.

    Raises:
        pytest.UsageError: neither has.
    """
    for param in (entry.param for entry in plan.entries.values()):
        if (needed := missing_key(param.model, os.environ, param.task.policies)) and not cluster.has_keys:
            raise pytest.UsageError(f"{needed}; no key is set on all nodes either")


def _logs(config: pytest.Config, options: Options) -> list[str]:
    """Return the folder of runs as what does not travel, if it lies in the project."""
    path = os.path.relpath(os.path.join(config.invocation_params.dir, options.log_dir), config.rootpath)
    return [] if path.startswith("..") else [f"/{path}"]
