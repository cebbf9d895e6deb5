"""File operations in a folder where untrusted code has worked: nothing outside is ever reached, no link followed.

A path is walked folder by folder through directory descriptors with O_NOFOLLOW, so that a link put in the way is
refused even when it appears in the middle of the call. What the model can mend is a ToolError that says how.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from pytest_rltask.sandbox.result import SandboxError
from pytest_rltask.sandbox.watcher.disk import DEPTH
from pytest_rltask.sandbox.watcher.removal import FOLDER
from pytest_rltask.sandbox.watcher.removal import kind_of as _kind
from pytest_rltask.tools import ToolError

_NAME_BYTES, _PATH_BYTES = 255, 1024
_CHUNK_BYTES = 2**20
_OUR_FAULT = {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO}


def write_file(root: Path, name: str, data: bytes, *, owner: int | None = None, executable: bool = False) -> Path:
    """Create or replace a file below ``root``, all at once, with the folders it needs; for a user, or for our own."""
    with _draft(root, name, owner=owner, executable=executable) as fd, open(fd, "wb", closefd=False) as file:
        file.write(data)
    return root.joinpath(*_parts(name))


def copy_file(root: Path, name: str, into: Path, *, room: int, owner: int | None = None) -> int:
    """Copy a plain file from below one folder to below another; return the bytes that it takes there.

    Holes stay holes: of a file that says it has 64 MB, no more is read and written than it holds.

    Raises:
        NoRoom: it takes more than ``room``.
    """
    with open_file(root, name) as source:
        status = os.fstat(source)
        with _draft(into, name, owner=owner, executable=bool(status.st_mode & 0o100)) as fd:
            os.ftruncate(fd, status.st_size)
            taken = 0
            for start, end in _extents(source, status.st_size):
                while start < end and (chunk := os.pread(source, min(end - start, _CHUNK_BYTES), start)):
                    taken += len(chunk)
                    if taken > room:
                        raise NoRoom
                    written = 0
                    while written < len(chunk):
                        written += os.pwrite(fd, chunk[written:], start + written)
                    start += len(chunk)
            return max(taken, os.fstat(fd).st_blocks * 512)


class NoRoom(Exception):
    """What is to be copied takes more than it may."""


def read_file(root: Path, name: str, *, max_bytes: int) -> bytes:
    """Return the content of a plain file below ``root``."""
    with open_file(root, name) as fd:
        size = os.fstat(fd).st_size
        if size > max_bytes:
            raise ToolError(f"{name!r} has {size} bytes; at most {max_bytes} are read")
        with open(fd, "rb", closefd=False) as file:
            return file.read(max_bytes)


def growth(root: Path, name: str, size: int) -> tuple[int, int]:
    """Return how much ``write_file`` would add: bytes of disk space, and files and folders.

    Counted like ``disk.usage`` does: in whole blocks, and with the folders it makes.
    """
    parts, missing, replaced = _parts(name), 0, None
    with _blaming(name):
        try:
            folder = open_root(root)
        except FileNotFoundError:
            return 0, 0  # without isolation an agent may delete it; to write will tell
        try:
            block = os.fstatvfs(folder).f_frsize
            for depth, part in enumerate(parts[:-1]):
                if _kind(part, folder) != "folder":
                    missing = len(parts) - 1 - depth
                    break
                above, folder = folder, os.open(part, FOLDER, dir_fd=folder)
                os.close(above)
            if not missing and _kind(parts[-1], folder) == "file":
                replaced = os.stat(parts[-1], dir_fd=folder, follow_symlinks=False).st_blocks * 512
        finally:
            os.close(folder)
    added = -(-size // block) * block + missing * block
    return added - (replaced or 0), missing + (replaced is None)


@contextlib.contextmanager
def open_file(root: Path, name: str) -> Iterator[int]:
    """Open a plain file below ``root`` for reading: no link of either sort, and nothing that could block us.

    Raises:
        FileNotFoundError: there is no such file.
        ToolError: the name is bad, or what it names is no plain file.
    """
    parts = _parts(name)
    with _blaming(name), _folder(root, parts[:-1], create=False) as folder:
        kind = _kind(parts[-1], folder)
        if kind not in (None, "file"):
            raise ToolError(f"{name!r} is a {kind}, not a file")
        fd = os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise ToolError(f"{name!r} is not a file")
        if status.st_nlink != 1:
            raise ToolError(f"{name!r} has hard links; only files with a single name are read")
        yield fd
    finally:
        os.close(fd)


def list_files(root: Path) -> list[str]:
    """Return the names of the files directly in ``root``, sorted; links, folders and the like are left out."""
    try:
        with _blaming("."), _folder(root, [], create=False) as folder, os.scandir(folder) as entries:
            names = [os.fsencode(entry.name) for entry in entries if entry.is_file(follow_symlinks=False)]
    except FileNotFoundError:
        return []  # the agent deleted its own working directory
    return sorted(name.decode("utf-8", "replace") for name in names)


def list_tree(root: Path) -> list[str]:
    """Return the paths of all files below ``root``, sorted; links are neither named nor followed.

    Folders that cannot be looked into, or lie too deep, are left out.
    """
    found: list[str] = []
    todo: list[tuple[str, ...]] = [()]
    while todo:
        above = todo.pop()
        try:
            with _folder(root, list(above), create=False) as folder, os.scandir(folder) as entries:
                for entry in entries:
                    path = (*above, entry.name)
                    if entry.is_file(follow_symlinks=False):
                        found.append("/".join(path))
                    elif entry.is_dir(follow_symlinks=False) and len(path) <= DEPTH:
                        todo.append(path)
        except (OSError, ToolError):
            continue  # the agent deleted it, or put something else in its place
    return sorted(os.fsencode(name).decode("utf-8", "replace") for name in found)


def write_link(root: Path, name: str, target: str, *, owner: int | None = None) -> None:
    """Make a link below ``root``, which does not exist yet, with the folders it needs."""
    parts = _parts(name)
    with _blaming(name), _folder(root, parts[:-1], create=True, owner=owner) as folder:
        os.symlink(target, parts[-1], dir_fd=folder)
        if owner is not None:
            os.chown(parts[-1], owner, owner, dir_fd=folder, follow_symlinks=False)


def plain_name(name: str) -> str:
    """Return a name below the working directory without empty and ``.`` parts."""
    return "/".join(_parts(name))


def _parts(name: str) -> list[str]:
    """Split a relative path into its names, or say why it is none."""
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        raise ToolError("the file name is not valid Unicode text") from None
    if not name or "\0" in name:
        raise ToolError("the file name is empty or contains a NUL character; give one such as 'train.py'")
    if name.startswith("/"):
        raise ToolError(f"{name[:80]!r} is absolute; give a path relative to the working directory, such as 'train.py'")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise ToolError(f"{name[:80]!r} contains '..'; give a path inside the working directory, such as 'train.py'")
    if not parts or name.endswith(("/", "/.")):
        raise ToolError(f"{name[:80]!r} names a folder; give the path of a file, such as 'train.py'")
    if len(encoded) > _PATH_BYTES or max(len(part.encode()) for part in parts) > _NAME_BYTES:
        raise ToolError(
            f"the file name is too long; a part may have {_NAME_BYTES} bytes and the whole path {_PATH_BYTES}"
        )
    if len(parts) > DEPTH + 1:
        raise ToolError(f"{name[:80]!r} lies below {len(parts) - 1} folders; {DEPTH} are the most")
    return parts


@contextlib.contextmanager
def _draft(root: Path, name: str, *, owner: int | None, executable: bool) -> Iterator[int]:
    """Open what becomes a file below ``root`` once it is written."""
    parts = _parts(name)
    with _blaming(name), _folder(root, parts[:-1], create=True, owner=owner) as folder:
        kind = _kind(parts[-1], folder)
        if kind not in (None, "file"):
            raise ToolError(f"{name!r} is a {kind}; choose another name")
        draft = f".{secrets.token_hex(8)}.tmp"
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder)
        try:
            try:
                yield fd
                if executable or (kind and os.stat(parts[-1], dir_fd=folder, follow_symlinks=False).st_mode & 0o100):
                    os.fchmod(fd, 0o700)  # whoever writes to a program leaves it one
                if owner is not None:
                    os.fchown(fd, owner, owner)
            finally:
                os.close(fd)
            os.rename(draft, parts[-1], src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(draft, dir_fd=folder)
            raise


def _extents(fd: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield where a file holds something, as far as its file system knows."""
    end = 0
    while end < size:
        try:
            start = os.lseek(fd, end, os.SEEK_DATA)
            end = min(os.lseek(fd, start, os.SEEK_HOLE), size)
        except OSError as error:
            if error.errno == errno.EINVAL:  # a file system without holes
                yield end, size
            return  # behind the last of it
        yield start, end


@contextlib.contextmanager
def _folder(root: Path, parts: list[str], *, create: bool, owner: int | None = None) -> Iterator[int]:
    """Open the folder that ``parts`` lead to from ``root``, without following a link."""
    folder = open_root(root)
    try:
        for part in parts:
            if create:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, 0o700, dir_fd=folder)
                    if owner is not None:
                        os.chown(part, owner, owner, dir_fd=folder, follow_symlinks=False)
            kind = _kind(part, folder)
            if kind not in (None, "folder"):
                raise ToolError(f"{part!r} is a {kind}, not a folder")
            above, folder = folder, os.open(part, FOLDER, dir_fd=folder)
            os.close(above)
        yield folder
    finally:
        os.close(folder)


def open_root(root: Path) -> int:
    """Open the working directory, for us and for its user, who may have closed it: no later run could start there."""
    try:
        folder = os.open(root, FOLDER)
    except PermissionError:
        os.chmod(root, 0o700)  # no link: what is above it is ours, but for an agent with our own rights
        folder = os.open(root, FOLDER)
    if stat.S_IMODE(os.fstat(folder).st_mode) & 0o700 != 0o700:
        os.fchmod(folder, 0o700)
    return folder


@contextlib.contextmanager
def _blaming(name: str) -> Iterator[None]:
    """Turn what the system refuses into the fault of whoever can mend it."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno in _OUR_FAULT:
            raise SandboxError(f"cannot access {name!r} in the sandbox: {error.strerror}") from error
        raise ToolError(f"cannot access {name!r}: {error.strerror}") from None
