"""A stand-in for the ``docker`` client where no daemon runs: the commands that ``_docker`` uses, by bubblewrap.

As root only. It knows the options that matter to what runs in the container (mounts, capabilities, no network), and
none of the limits that stand behind the watcher's.
"""

from __future__ import annotations

import csv
import io
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

STATE = Path(__file__).parent / "state"
WITH_VALUE = ("--network", "--ipc", "--hostname", "--user", "--cap-drop", "--cap-add", "--security-opt", "--pids-limit")
WITH_VALUE += ("--memory", "--memory-swap", "--shm-size", "--tmpfs", "--mount", "--label", "--pull", "--name", "--dns")


def main(command: str, *words: str) -> None:
    STATE.mkdir(exist_ok=True)
    if command == "info":
        say("linux [name=seccomp,profile=default]")
    elif command == "images":
        say("1234" if image(words[-1]).exists() else "")
    elif command == "import":
        with tarfile.open(fileobj=io.BytesIO(sys.stdin.buffer.read())) as tar:
            tar.extractall(image(words[-1]), filter="tar")
    elif command == "run":
        say(str(start(words)))
    elif command == "inspect":
        say("true" if Path("/proc", container(words[-1]).read_text()).exists() else "false")
    elif command == "rm":
        pid = container(words[-1]).read_text()
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            os.kill(int(child), signal.SIGKILL)
    else:
        sys.exit(f"no stand-in for docker {command}")


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def image(name: str) -> Path:
    return STATE / name


def container(name: str) -> Path:
    """Return the file that holds the process of a container."""
    return STATE / f"{name}.pid"


def start(words: Sequence[str]) -> int:
    """Start a container, and return its process."""
    options, rest = [], list(words)
    while rest[0].startswith("--"):
        name = rest.pop(0)
        options.append((name, rest.pop(0) if name in WITH_VALUE else ""))
    root, command = image(rest[0]), rest[1:]
    capabilities = [word for name, value in options if name == "--cap-add" for word in (name, f"CAP_{value}")]
    mounts = [dict(mount(value)) for name, value in options if name == "--mount"]
    arguments = [
        *("--unshare-pid", "--as-pid-1", "--unshare-ipc", "--unshare-uts", "--clearenv"),
        *(["--unshare-net"] if ("--network", "none") in options else []),
        *("--cap-drop", "ALL", *capabilities, "--proc", "/proc", "--dev", "/dev", "--ro-bind", "/sys", "/sys"),
        *(word for path in ("/tmp", "/dev/shm") for word in ("--perms", "1777", "--tmpfs", path)),
        *(word for path in sorted(root.rglob("*")) if path.is_symlink() for word in link(path, root)),
        *(*folders("/rltask"), "--ro-bind", str(root / "rltask"), "/rltask"),
        *(word for option in sorted(mounts, key=lambda option: option["target"]) for word in bound(option)),
        *("--remount-ro", "/", "--chdir", "/"),
    ]
    bwrap = subprocess.Popen(
        ["bwrap", *arguments, "--", *command],
        **dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL),  # type: ignore[call-overload]
        start_new_session=True,
    )
    container(dict(options)["--name"]).write_text(str(bwrap.pid))
    return int(bwrap.pid)


def mount(value: str) -> Iterator[tuple[str, str]]:
    for field in next(csv.reader([value])):
        name, _, setting = field.partition("=")
        yield name, setting


def bound(option: dict[str, str]) -> Iterator[str]:
    yield from folders(os.path.dirname(option["target"]))
    if option["type"] == "tmpfs":
        yield from ("--perms", option["tmpfs-mode"], "--tmpfs", option["target"])
    else:
        yield from ("--ro-bind" if "readonly" in option else "--bind", option["source"], option["target"])


def link(path: Path, root: Path) -> Iterator[str]:
    target = f"/{path.relative_to(root)}"
    yield from folders(os.path.dirname(target))
    yield from ("--symlink", str(path.readlink()), target)


def folders(path: str) -> Iterator[str]:
    """Make folders that anybody may enter."""
    for folder in (*list(map(str, Path(path).parents))[::-1][1:], path):
        if folder not in ("/", "/tmp"):
            yield from ("--perms", "0755", "--dir", folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
