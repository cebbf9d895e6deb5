"""Commands as models type them do in a sandbox, by `run` and in a shell, what they do outside of one."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_rltask import Sandbox, SandboxLimits
from pytest_rltask.sandbox import SandboxError, resolve_backend
from pytest_rltask.sandbox.backends.view import view_of_python
from pytest_rltask.sandbox.environment import environment

COMMANDS = {
    "pipes": "seq 20 | grep 1 | sort -r | head -n 3 | tr 1 x | wc -l",
    "a here document": "cat > a.txt <<'EOF'\none $HOME\ntwo\nEOF\ncat a.txt; wc -c < a.txt",
    "find and xargs": "mkdir -p a/b; touch a/1 a/b/2; find . -type f | sort | xargs -n 1 basename; rm -r a; ls",
    "sed and awk": "printf 'a 1\\nb 2\\n' > t; sed -i s/a/c/ t; awk '{s += $2} END {print s}' t; cat t",
    "tar": "mkdir d; echo x > d/f; tar czf d.tgz d; rm -r d; tar xzf d.tgz; cat d/f",
    "a temporary file": "f=$(mktemp); echo x > $f; cat $f; rm $f; test -e $f; echo $?",
    "a script of its own": "printf '#!/bin/sh\\necho ran $1' > s; chmod 755 s; ./s it; sh s twice",
    "python": "python - <<'EOF'\nimport sys, json\nprint(json.dumps(sys.argv), len(sys.path) > 1)\nEOF",
    "python -c that fails": "python -c 'raise SystemExit(7)'; echo $?",
    "a loop with jobs": "for i in 1 2 3; do (echo $i > f$i) & done; wait; cat f1 f2 f3; jobs",
    "substitutions": "diff <(echo a) <(echo b); echo $?; cat <(echo c)",
    "signals": "sleep 60 & kill $!; wait $!; echo $?; trap 'echo bye' EXIT; true",
    "nothing to read": "read x; echo $?; cat; echo end",
    "git": "git init -q . && git config user.email a@b.c && git config user.name a && echo x > f && git add f && "
    "git commit -qm one && git log --format=%s && git status --short && echo y > f && git diff --stat | tail -n 1",
    "an error": "cat missing 2>&1; ls -d nothing* 2>/dev/null; echo $?; false",
    "limits and dates": "ulimit -c; date -d @0 -u +%Y; printf '%05.1f\\n' 3.14159; echo $((2**40))",
}


@pytest.fixture(scope="module", params=["bwrap", "landlock", "docker", "none"])
def backend(request: pytest.FixtureRequest) -> str:
    try:
        return resolve_backend(request.param)
    except SandboxError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def opened(backend: str) -> Iterator[Sandbox]:
    with Sandbox(SandboxLimits(wall_s=60), backend=backend) as sandbox:
        yield sandbox


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_does_what_it_does_outside(name: str, opened: Sandbox, tmp_path: Path) -> None:
    if name == "git" and not shutil.which("git"):
        pytest.skip("git is not installed")
    command = COMMANDS[name]
    if "chmod" in command and opened.backend == "landlock" and os.geteuid() != 0:
        pytest.skip("there chmod is accepted without effect: docs/security.md")
    for folder in ("work", "tmp"):
        (tmp_path / folder).mkdir()
    env = environment(tmp_path / "tmp", view_of_python(), {})
    bare = subprocess.run(
        ["bash", "-c", f"ulimit -c 0; {command}"],
        cwd=tmp_path / "work",
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )

    clean = "find . -mindepth 1 -delete"
    opened.run(clean)
    run = opened.run(["bash", "-c", command])
    opened.run(clean)
    with opened.shell() as shell:
        typed = shell.run(command)

    assert (run.exit_code, run.stdout) == (bare.returncode, bare.stdout), run.stderr
    if "EXIT" not in command:  # what waits for the shell's end waits for more than the command's
        assert (typed.exit_code, typed.stdout) == (bare.returncode, bare.stdout), typed.stderr
