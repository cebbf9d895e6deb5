"""As root: a user id of its own for each sandbox, which no other process and no file of the machine belongs to.

So nothing of root's can be read or signalled whatever the backend forgets, sandboxes cannot reach each other, and
the kernel's limit on a user's processes, which root is exempt from, counts those of the one sandbox.
"""

from __future__ import annotations

import contextlib
import os
import random
from pathlib import Path

from pytest_rltask.sandbox.backends.backend import SCRATCH, WORK

PASSWD = "passwd"
"""A file in the sandbox's folder."""
_TOP, _SPAN, _SPARE = 2_000_000_000, 100_000_000, 10_000
"""Ids just below two thousand million: above those of people, of systemd and of other containers."""


def fresh_user() -> int | None:
    """Return an id that no process has; None if we are not root, and so cannot become another user."""
    if os.geteuid() != 0:
        return None
    first, last = _range()
    taken = _users_of_processes()
    while (uid := random.SystemRandom().randrange(first, last)) in taken:
        pass
    return uid


def hand_over(base: Path, owner: int | None) -> None:
    """Give a sandbox's folders to the user that its agent runs as, if that is not our own."""
    if owner is not None:
        for folder in (WORK, SCRATCH):
            os.chown(base / folder, owner, owner)


def write_passwd(base: Path, uid: int, others: str = "") -> None:
    """Write a user database that knows the agent, and others by their lines."""
    path = base / PASSWD
    path.write_text(f"agent:x:{uid}:{uid}::{base / WORK}:/bin/sh\n{others}")
    path.chmod(0o644)


def _range() -> tuple[int, int]:
    """Return the first and the last id to choose from: in a container, those it has may be only 65536."""
    with open("/proc/self/uid_map") as file:
        extents = [tuple(map(int, line.split())) for line in file]
    first, _, size = max(extents, key=lambda extent: extent[2])
    top = min(first + size, _TOP)
    return max(first + 1, top - _SPAN, top // 2), top - min(_SPARE, top // 4)


def _users_of_processes() -> set[int]:
    users = set()
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):  # it ended
                users.add(os.stat(f"/proc/{name}").st_uid)
    return users
