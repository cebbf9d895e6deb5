"""What a run may use, as the watcher is told, and as the system's own limits have it."""

from __future__ import annotations

import os

from pytest_rltask.sandbox.watcher.proc import LINUX, tasks_of_user


class Limits:
    """What a run may use, as written in the command line: the numbers of ``SandboxLimits`` of these names."""

    NAMES = ("cpu_s", "memory_bytes", "file_bytes", "processes", "open_files", "disk_bytes", "disk_files")

    def __init__(self, text: str, *, bound_tasks: bool) -> None:
        self._bound_tasks = bound_tasks
        numbers = map(int, text.split(","))
        self.cpu_s, self.memory_bytes, self.file_bytes = next(numbers), next(numbers), next(numbers)
        self.processes, self.open_files = next(numbers), next(numbers)
        self.disk_bytes, self.disk_files = next(numbers), next(numbers)

    def of_the_interpreter(self) -> dict[str, list[int]]:
        """Return the system's limits that a preloaded interpreter hands down to its runs."""
        limits = {"RLIMIT_CORE": [0, 0], "RLIMIT_FSIZE": [self.file_bytes] * 2, "RLIMIT_NOFILE": [self.open_files] * 2}
        if LINUX:  # macOS enforces neither
            # Not AS alone: threads and CUDA reserve address space that they never touch. It bounds shared memory.
            limits |= {"RLIMIT_DATA": [self.memory_bytes] * 2, "RLIMIT_AS": [self.memory_bytes + 16 * 2**30] * 2}
        return limits

    def of_a_run(self) -> dict[str, list[int]]:
        """Return the system's limits that each run gets anew."""
        limits = {"RLIMIT_CPU": [self.cpu_s, self.cpu_s + 1]}
        if LINUX and self._bound_tasks:
            # It counts all tasks of the user, other runs included: a backstop for what happens between two polls. Root
            # is exempt, but the user that a backend changes to has none yet.
            limits["RLIMIT_NPROC"] = [(tasks_of_user() if os.getuid() != 0 else 0) + 4 * self.processes] * 2
        return limits
