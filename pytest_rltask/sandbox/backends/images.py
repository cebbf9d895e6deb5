"""The image of an author's, whose file system an agent is to see: that it is there, and what it has.

It is looked for and never pulled: that takes minutes of a trial's time, and what was not there yesterday may be another
image. Its tag is resolved to an id once in a process, so that all sandboxes have the same. What it has is asked by our
own interpreter (``carried``) as an ordinary user, in a container without network.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_rltask.sandbox.backends.carried import carried
from pytest_rltask.sandbox.backends.client import BARE, docker
from pytest_rltask.sandbox.result import SandboxError
from pytest_rltask.sandbox.watcher.removal import remove_tree
from pytest_rltask.tools import DefinitionError

OLDEST = (3, 10)
"""The Python that our programs need which run by the image's own."""
_NAME = re.compile(r"[a-z0-9A-Z][a-zA-Z0-9._/:@-]*")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_OURS = frozenset(("HOME", "USER", "TMPDIR", "PWD", "HOSTNAME"))
"""Variables that say where and who the agent is, whatever the image says."""
_CAPABILITIES = ("SETUID", "SETGID", "DAC_READ_SEARCH")
_NOBODY = 65534
_ASK_S = 60.0
_TOLD = "rltask-image: "
_OF_PYTHON = """
import sys
try:
    import __future__, builtins, collections.abc, ctypes, fcntl, gc, importlib.machinery, itertools, json, operator
    import os, resource, select, socket, subprocess, time, types, typing
except ImportError as error:
    print(*sys.version_info[:2], error.name)
else:
    print(*sys.version_info[:2])
"""
"""What programs of ours import that run by the image's own Python: distributions leave parts out."""
_ASK = f"""
import json, os, subprocess, sys
os.setgroups([])
os.setresgid(*[{_NOBODY}] * 3)
os.setresuid(*[{_NOBODY}] * 3)
told = {{"programs": {{}}, "said": {{}}, "passwd": ""}}
asks = {{"sh": ["-c", "echo yes"], "bash": ["-c", "echo yes"], "env": []}}
asks["python3"] = ["-I", "-S", "-c", {_OF_PYTHON!r}]
for name, words in asks.items():
    for folder in os.environ["PATH"].split(":"):
        path = os.path.join(folder or ".", name)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            break
    else:
        continue
    try:
        ran = subprocess.run([path, *words], cwd="/", stdin=subprocess.DEVNULL, capture_output=True, timeout=20)
        told["said"][name] = (ran.stdout if ran.returncode == 0 else ran.stderr).decode("utf-8", "replace")[-300:]
        if ran.returncode == 0:
            told["programs"][name] = path
    except (OSError, subprocess.SubprocessError) as error:
        told["said"][name] = getattr(error, "strerror", None) or type(error).__name__
try:
    with open("/etc/passwd", encoding="utf-8", errors="replace") as file:
        told["passwd"] = file.read(65536)
except OSError:
    pass
print({_TOLD!r} + json.dumps(told))
"""


@dataclass(frozen=True)
class Image:
    """An image that is there and can be worked in."""

    name: str
    """As the author wrote it."""
    id: str
    """What it was when it was looked for: the digest of its configuration, which names what it holds."""
    env: tuple[tuple[str, str], ...]
    """Its own variables, PATH among them."""
    volumes: tuple[str, ...]
    """Where it declares volumes."""
    programs: tuple[tuple[str, str], ...]
    """The paths of some programs by their names."""
    version: tuple[int, int]
    """Of its ``python3``; (0, 0) if it has none."""
    lacks: str
    """A module of Python's own that this has not, and programs of ours need; empty if there is none."""
    passwd: str
    """The lines of its user database."""

    def program(self, name: str) -> str:
        """Return the path of ``sh``, ``bash``, ``env`` or ``python3``; empty if it has none."""
        return dict(self.programs).get(name, "")


def image_of(name: str) -> Image:
    """Return the image of a name.

    Raises:
        DefinitionError: that is no name of an image.
        SandboxError: there is no Docker; or no such image here; or it can be no agent's.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise DefinitionError(
            f'Sandbox(image={name!r}): this is no name of an image; write one such as image="python:3.12-slim"'
        )
    with _turn(name):  # many trials begin at once, and one of them need ask
        return _image(name)


@functools.cache
def _turn(name: str) -> threading.Lock:
    return threading.Lock()


@functools.cache
def _image(name: str) -> Image:
    try:
        about = json.loads(docker("image", "inspect", "--format", "{{json .}}", name))
    except SandboxError as error:
        if "no such image" not in str(error).lower():
            raise SandboxError(f"Sandbox(image={name!r}): {error}") from None
        raise SandboxError(
            f"Sandbox(image={name!r}): the image is not on this machine, and is not pulled while trials run; write "
            f"docker pull {name}"
        ) from None
    config: Mapping[str, Any] = about.get("Config") or {}
    env = {one.partition("=")[0]: one.partition("=")[2] for one in config.get("Env") or ()}
    env = {"PATH": _PATH} | {variable: value for variable, value in env.items() if variable not in _OURS}
    try:
        told = _asked(about["Id"], env)
    except SandboxError as error:
        raise SandboxError(
            f"Sandbox(image={name!r}): our interpreter does not run in a container of this image: {error}"
        ) from None
    programs, said = told["programs"], told["said"]
    if "sh" not in programs:
        has = f"a sh that does not run ({said['sh'].strip()})" if "sh" in said else "no sh on its PATH"
        kind, here = f"{about.get('Os')}/{about.get('Architecture')}", f"linux/{os.uname().machine}"
        raise SandboxError(
            f"Sandbox(image={name!r}): the image ({kind}; this machine is {here}) has {has}, which commands need; "
            "take one that has a shell, not a distroless or scratch one"
        )
    major, minor, *lacks = said["python3"].split() if "python3" in programs else ["0", "0"]
    return Image(
        name,
        about["Id"],
        tuple(env.items()),
        tuple(config.get("Volumes") or ()),
        tuple(programs.items()),
        (int(major), int(minor)),
        "".join(lacks),
        told["passwd"],
    )


def _asked(image: str, env: Mapping[str, str]) -> Any:
    """Return what an image tells of itself.

    Raises:
        SandboxError: it does not.
    """
    ours = Path(tempfile.mkdtemp(prefix="rltask-"))
    try:
        command = [*carried().command(), "-I", "-S", "-c", _ASK]
        words = ["--rm", "--pull", "never", "--name", ours.name, *BARE]
        words += [word for name in _CAPABILITIES for word in ("--cap-add", name)]
        words += [*carried().options(ours, env), "--env", f"PATH={env['PATH']}", "--entrypoint", command[0]]
        said = docker("run", *words, image, *command[1:], wait_s=_ASK_S)
    except BaseException:
        with contextlib.suppress(SandboxError):
            docker("rm", "--force", ours.name)  # it may have been made, and hang
        raise
    finally:
        remove_tree(ours)
    line = next((line for line in said.splitlines() if line.startswith(_TOLD)), None)
    if line is None:
        raise SandboxError("it tells nothing of itself")
    return json.loads(line.removeprefix(_TOLD))
