"""``rltask doctor`` as typed."""

from __future__ import annotations

import json

import pytest

from pytest_rltask import sandbox
from pytest_rltask.cli import main


def test_it_tries_the_sandboxes_of_this_machine_and_prints_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["doctor", "--json"])

    found = json.loads(capsys.readouterr().out)
    works = [name for name, why in found["sandbox"]["backends"].items() if why is None]
    assert (status == 0) == bool(found["sandbox"]["auto"])
    assert found["sandbox"]["auto"] in ([name for name in works if name != "docker"] or [""])


def test_where_no_sandbox_works_a_script_can_tell(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def none_works(wanted: str) -> str:
        raise sandbox.SandboxError("none")

    monkeypatch.setattr(sandbox, "resolve_backend", none_works)
    monkeypatch.setattr(sandbox, "problem_of", lambda name: "a reason")

    assert main(["doctor"]) == 1
    assert "bwrap    does not work: a reason" in capsys.readouterr().out
