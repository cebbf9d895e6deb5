"""Removes a sandbox's folder, whatever was done in it, and tells whose it is: a folder outlives a killed pytest.

A folder's owner holds a lock on a file in it for as long as it lives. The watcher, which sees its pytest die, removes
the folder as the last thing it does; where none was running, the next pytest does (``remove_orphans``). Standard
library only, since the watcher imports it.
"""

from __future__ import annotations

import fcntl
import os
import stat

TYPE_CHECKING = False  # as type checkers know it; to import the module typing would cost the watcher 5 ms
if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LOCK = "owner"


def claim(base: str | os.PathLike[str]) -> int:
    """Mark a folder as this process's; return the descriptor that holds the lock, until it is closed or we die."""
    draft = os.path.join(base, f".{_LOCK}")
    fd = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.rename(draft, os.path.join(base, _LOCK))  # never to be seen without its lock
    return fd


def is_orphaned(base: str | os.PathLike[str]) -> bool:
    """Return whether a folder was claimed by a process of our user that is dead."""
    try:
        fd = os.open(os.path.join(base, _LOCK), os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        if os.fstat(fd).st_uid != os.geteuid():
            return False
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False  # its owner lives
    finally:
        os.close(fd)
    return True


def remove_orphans(parent: str, prefix: str) -> None:
    """Remove the folders that killed processes of our user have left in ``parent``; what resists stays."""
    for name in _names(parent):
        base = os.path.join(parent, name)
        if name.startswith(prefix) and not os.path.islink(base) and is_orphaned(base):
            remove_tree(base)


def remove_tree(base: str | os.PathLike[str]) -> list[OSError]:
    """Delete a folder in which no process works any more, and return what went wrong.

    ``shutil.rmtree`` recurses and needs readable folders. Here each subfolder is opened up, and its own subfolders
    are moved to the top, until there are none: any depth takes two descriptors and short names.
    """
    try:
        top = os.open(base, FOLDER)
    except OSError as error:
        return [error]
    try:
        problems = _empty(top)
    finally:
        os.close(top)
    if not problems:
        try:
            os.rmdir(base)
        except OSError as error:
            problems.append(error)
    return problems


def snapshot(folder: str | os.PathLike[str]) -> Mapping[tuple[int, int], int]:
    """Return what lies below a folder: the time of the last change of each file and folder, by device and inode."""
    found: dict[tuple[int, int], int] = {}
    for _, folders, files, fd in os.fwalk(folder, follow_symlinks=False):
        for name in (*folders, *files):
            try:
                status = os.stat(name, dir_fd=fd, follow_symlinks=False)
            except OSError:
                continue  # without isolation others may work here
            found[status.st_dev, status.st_ino] = status.st_ctime_ns
    return found


def remove_since(folder: str | os.PathLike[str], before: Mapping[tuple[int, int], int]) -> None:
    """Remove the files below a folder that are new or changed since a snapshot, and the new folders."""
    try:
        top = os.open(folder, FOLDER)
    except OSError:
        return
    try:
        _remove_since(top, before)
    finally:
        os.close(top)


def kind_of(name: str, folder: int) -> str | None:
    """Say what an entry of an open folder is, None if it does not exist."""
    try:
        mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "folder"
    return "link" if stat.S_ISLNK(mode) else "special file"


def _remove_since(folder: int, before: Mapping[tuple[int, int], int]) -> None:
    """Do so; folders that are not new lie no deeper than their limit."""
    for name in os.listdir(folder):
        try:
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            known = before.get((status.st_dev, status.st_ino))
            if not stat.S_ISDIR(status.st_mode):
                if known != status.st_ctime_ns:
                    os.unlink(name, dir_fd=folder)
                continue
            below = _opened(name, folder)
            try:
                if known is None:
                    _empty(below)
                else:
                    _remove_since(below, before)
            finally:
                os.close(below)
            if known is None:
                os.rmdir(name, dir_fd=folder)
        except OSError:
            continue  # the next run is stopped again, and says so


def _empty(top: int) -> list[OSError]:
    problems: list[OSError] = []
    done: set[str] = set()
    while names := set(os.listdir(top)) - done:
        for name in names:
            try:
                _remove(name, top)
            except OSError as error:
                problems.append(error)
                done.add(name)  # once is enough
    return problems


def _remove(name: str, top: int) -> None:
    """Remove one entry of ``top``; the folders in it become entries of ``top``."""
    if kind_of(name, top) != "folder":
        os.unlink(name, dir_fd=top)
        return
    folder = _opened(name, top)
    try:
        for entry in os.listdir(folder):
            if kind_of(entry, folder) == "folder":
                os.chmod(entry, 0o700, dir_fd=folder)  # to move a folder, one must be allowed to write in it
                os.rename(entry, os.urandom(8).hex(), src_dir_fd=folder, dst_dir_fd=top)
            else:
                os.unlink(entry, dir_fd=folder)
    finally:
        os.close(folder)
    os.rmdir(name, dir_fd=top)


def _opened(name: str, folder: int) -> int:
    os.chmod(name, 0o700, dir_fd=folder)
    return os.open(name, FOLDER, dir_fd=folder)


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []
