"""What file system a container has: this machine's, as the agent may see it, or an image of the author's.

Of this machine the container's own image has nothing but links and the watcher's program; the system, this interpreter
and its packages are mounted into it read-only, at their own paths. An image of the author's is taken as it is; our
interpreter (``carried``) is mounted into it, and the watcher's program.
"""

from __future__ import annotations

import functools
import hashlib
import io
import os
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from pytest_rltask.sandbox.backends import container
from pytest_rltask.sandbox.backends.carried import FOLDER, MODULES, carried
from pytest_rltask.sandbox.backends.client import docker
from pytest_rltask.sandbox.backends.images import Image
from pytest_rltask.sandbox.backends.mounts import TAKEN, empty, of_view
from pytest_rltask.sandbox.backends.view import View
from pytest_rltask.sandbox.result import SandboxError
from pytest_rltask.sandbox.watcher import launcher

REPOSITORY = "pytest-rltask-sandbox"
"""What is ours in the daemon begins with this."""
_PACKAGES = ("pytest_rltask", "pytest_rltask.sandbox", container.__package__, launcher.__package__)
"""What a container has of us: these are empty but for the container's program, and the folder of the watcher's."""
_OURS = "ours"


def contain(socket: str) -> str:
    """Return the program that a container's first process runs (``container``)."""
    return f"import sys; sys.path.insert(0, {FOLDER!r})\nfrom {container.__name__} import contain\ncontain({socket!r})"


class Root(Protocol):
    """The file system of one sandbox's container."""

    @property
    def image(self) -> str:
        """What ``docker run`` is told."""

    @property
    def start(self) -> Sequence[str]:
        """The words that start the interpreter of our programs."""

    @property
    def imports(self) -> Sequence[str]:
        """What these import before they give up the right to read it."""

    @property
    def env(self) -> Mapping[str, str]:
        """Variables for the agent."""

    @property
    def users(self) -> str:
        """Lines of the user database."""

    def prepare(self, base: Path) -> None:
        """Make ready what is to be mounted of a sandbox's folder."""

    def options(self, base: Path) -> Sequence[str]:
        """Return the options that build it."""


def root_of(view: View) -> Root:
    """Return the file system for what an agent sees.

    Raises:
        SandboxError: there is no Docker, or none that could isolate.
    """
    check_daemon()
    return _OfImage(view.image) if view.image else _OfMachine(view)


class _OfMachine:
    """This machine's, with this interpreter or one that the author has made."""

    imports: Sequence[str] = ()
    users = ""

    def __init__(self, view: View) -> None:
        self.image, self.start, self._view = _image(view), (view.python,), view
        self.env: Mapping[str, str] = {}

    def prepare(self, base: Path) -> None:
        """Do nothing."""

    def options(self, base: Path) -> Sequence[str]:
        """Mount what the agent may read."""
        return list(of_view(self._view))


class _OfImage:
    """An image's."""

    imports = MODULES

    def __init__(self, image: Image) -> None:
        self.image, self.env, self.users, self._image = image.id, dict(image.env), image.passwd, image
        self.start = carried().command()

    def prepare(self, base: Path) -> None:
        """Write the watcher's program."""
        for path, source in _programs().items():
            place = base / _OURS / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(source)

    def options(self, base: Path) -> Sequence[str]:
        """Mount what is ours, and nothing on its volumes: they would be written to without being counted."""
        volumes = {os.path.normpath(path) for path in self._image.volumes} - {*TAKEN, FOLDER}
        return [*carried().options(base / _OURS, self.env), *(word for path in sorted(volumes) for word in empty(path))]


@functools.cache
def check_daemon() -> None:
    """Refuse a daemon that cannot isolate.

    Raises:
        SandboxError: there is no Docker, or none that could.
    """
    said = docker("info", "--format", "{{.OSType}} {{.SecurityOptions}}")
    system = said.partition(" ")[0]
    if system != "linux":
        raise SandboxError(f"its daemon says {system!r} when asked for its system, not 'linux'")
    if "name=rootless" in said or "name=userns" in said:
        raise SandboxError("its daemon maps users (rootless or userns-remap), and the agent could not own its files")


@functools.cache
def _image(view: View) -> str:
    """Return the name of our image, made if it is not there: the name says what it holds."""
    content = _content(view)
    name = f"{REPOSITORY}:{hashlib.sha256(content).hexdigest()[:12]}"
    if not docker("images", "--quiet", name):
        docker("import", "-", name, given=content)
    return name


def _content(view: View) -> bytes:
    """Return the image's files as a tar archive, the same bytes for the same files."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for path, real in view.aliases:
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.type, entry.linkname = tarfile.SYMTYPE, real
            tar.addfile(entry)
        temporary = tarfile.TarInfo("tmp")  # else it would have the mode that Docker gives a mount's missing folder
        temporary.type, temporary.mode = tarfile.DIRTYPE, 0o1777
        tar.addfile(temporary)
        for path in ("", *(package.replace(".", "/") for package in _PACKAGES)):
            entry = tarfile.TarInfo(f"{FOLDER}/{path}".strip("/"))
            entry.type, entry.mode = tarfile.DIRTYPE, 0o700
            tar.addfile(entry)
        for path, source in _programs().items():
            entry = tarfile.TarInfo(f"{FOLDER}/{path}".lstrip("/"))
            entry.mode, entry.size = 0o600, len(source)
            tar.addfile(entry, io.BytesIO(source))
    return archive.getvalue()


def _programs() -> dict[str, bytes]:
    """Return the sources of the container's program and of the watcher, by their paths below FOLDER."""
    sources = [Path(container.__file__), *sorted(Path(launcher.__file__).parent.glob("[!_]*.py"))]
    ours = Path(container.__file__).parents[3]
    empty = {f"{package.replace('.', '/')}/__init__.py": b"" for package in _PACKAGES}
    return {str(path.relative_to(ours)): path.read_bytes() for path in sources} | empty
