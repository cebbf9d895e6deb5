"""A stand-in for the ``docker`` client where no daemon runs: the commands that ``_docker`` uses, by bubblewrap.

As root only. It knows the options that matter to what runs in the container (mounts, capabilities, no network), and
none of the limits that stand behind the watcher's.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

STATE = Path(__file__).parent / "state"
WITH_VALUE = ("--network", "--ipc", "--hostname", "--user", "--cap-drop", "--cap-add", "--security-opt", "--pids-limit")
WITH_VALUE += ("--memory", "--memory-swap", "--shm-size", "--tmpfs", "--mount", "--label", "--pull", "--name", "--dns")
WITH_VALUE += ("--entrypoint", "--env", "--workdir")


def main(command: str, *words: str) -> None:
    STATE.mkdir(exist_ok=True)
    if command == "info":
        say("linux [name=seccomp,profile=default]")
    elif command == "images":
        say("1234" if tag(words[-1]).exists() else "")
    elif command == "import":
        load(words, sys.stdin.buffer.read())
    elif command == "image" and words[0] == "inspect":
        say((image(words[-1]) / "about.json").read_text())
    elif command == "run":
        run(words)
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


def tag(name: str) -> Path:
    """Return the file that holds the id of an image of this name."""
    return STATE / f"{name.replace('/', '%')}.tag"


def image(name: str) -> Path:
    """Return the folder of an image, by its name or id."""
    known = tag(name).read_text() if tag(name).exists() else name
    if not (STATE / known).is_dir():
        sys.exit(f"Error: No such image: {name}")
    return STATE / known


def container(name: str) -> Path:
    """Return the file that holds the process of a container."""
    return STATE / f"{name}.pid"


def load(words: Sequence[str], content: bytes) -> None:
    """Make an image of a tar archive, with what ``--change`` says of it."""
    changes = [words[place + 1].split(" ", 1) for place, word in enumerate(words) if word == "--change"]
    config = {
        "Env": [value for what, value in changes if what == "ENV"],
        "Volumes": {value: {} for what, value in changes if what == "VOLUME"},
    }
    identity = "sha256:" + hashlib.sha256(content + json.dumps(config).encode()).hexdigest()
    root = STATE / identity / "root"
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        tar.extractall(root, filter="fully_trusted")  # the others close what anybody may write to
    about = {"Id": identity, "Os": "linux", "Architecture": os.uname().machine, "Config": config}
    (STATE / identity / "about.json").write_text(json.dumps(about))
    tag(words[-1]).write_text(identity)


def run(words: Sequence[str]) -> None:
    """Run a container: in the background if it is to be detached, else until it ends."""
    options, rest = [], list(words)
    while rest[0].startswith("--"):
        name = rest.pop(0)
        options.append((name, rest.pop(0) if name in WITH_VALUE else ""))
    root, command = image(rest[0]) / "root", [*(value for name, value in options if name == "--entrypoint"), *rest[1:]]
    capabilities = [word for name, value in options if name == "--cap-add" for word in (name, f"CAP_{value}")]
    mounts = [dict(mount(value)) for name, value in options if name == "--mount"]
    about = json.loads((root.parent / "about.json").read_text())
    volumes = about["Config"]["Volumes"].keys() - {one["target"] for one in mounts}
    read_only = [one["target"] for one in mounts if one["type"] == "tmpfs" and "readonly" in one]
    variables = [value.partition("=") for name, value in options if name == "--env"]
    arguments = [
        *("--unshare-pid", "--as-pid-1", "--unshare-ipc", "--unshare-uts", "--clearenv"),
        *(word for name, _, value in variables for word in ("--setenv", name, value)),
        *(["--unshare-net"] if ("--network", "none") in options else []),
        *("--cap-drop", "ALL", *capabilities, "--ro-bind", str(root), "/"),
        *("--proc", places(root, "/proc"), "--dev", places(root, "/dev"), "--ro-bind", "/sys", places(root, "/sys")),
        *(word for path in ("/tmp", "/dev/shm") for word in ("--perms", "1777", "--tmpfs", places(root, path))),
        *(word for option in sorted(mounts, key=lambda option: option["target"]) for word in bound(option, root)),
        *(word for path in volumes for word in ("--bind", volume(root, path), path)),
        *(word for path in read_only for word in ("--remount-ro", path)),
        *("--remount-ro", "/", "--chdir", "/"),
    ]
    if ("--detach", "") not in options:
        sys.exit(
            subprocess.run(["bwrap", *arguments, "--", *command], stdin=subprocess.DEVNULL, check=False).returncode
        )
    bwrap = subprocess.Popen(
        ["bwrap", *arguments, "--", *command],
        **dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL),  # type: ignore[call-overload]
        start_new_session=True,
    )
    container(dict(options)["--name"]).write_text(str(bwrap.pid))
    say(str(bwrap.pid))


def mount(value: str) -> Iterator[tuple[str, str]]:
    for field in next(csv.reader([value])):
        name, _, setting = field.partition("=")
        yield name, setting


def bound(option: dict[str, str], root: Path) -> Iterator[str]:
    target = option["target"]
    if option["type"] == "tmpfs":
        covered = root / target.lstrip("/")  # runc gives it the mode of that
        mode = f"{covered.stat().st_mode & 0o7777:o}" if covered.is_dir() else option["tmpfs-mode"]
        yield from ("--perms", mode, "--tmpfs", places(root, target))
    else:
        is_folder = Path(option["source"]).is_dir()
        for folder in list(map(str, Path(target).parents))[::-1]:
            if folder.startswith("/tmp/"):  # which anybody may enter; bwrap would make it for its own user
                yield from ("--perms", "0755", "--dir", folder)
        yield from ("--ro-bind" if "readonly" in option else "--bind", option["source"])
        yield places(root, target, is_folder=is_folder)


def volume(root: Path, target: str) -> str:
    """Make a volume that an image declares, as open as what it covers; return where it is."""
    covered, folder = root / places(root, target).lstrip("/"), Path(tempfile.mkdtemp(dir=STATE))
    folder.chmod(covered.stat().st_mode & 0o7777)
    return str(folder)


def places(root: Path, target: str, *, is_folder: bool = True) -> str:
    """Make what is mounted on, as Docker does, where no other mount has it; return its path."""
    place = root / target.lstrip("/")
    if not target.startswith(("/tmp/", "/dev/", "/proc/", "/rltask/")) and not place.exists():
        (place if is_folder else place.parent).mkdir(parents=True, exist_ok=True)
        if not is_folder:
            place.touch()
    return target


if __name__ == "__main__":
    main(*sys.argv[1:])
