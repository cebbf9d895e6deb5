"""What a node takes over from the driver: no key goes to a server that it was not set beside."""

from __future__ import annotations

import os

import pytest

from pytest_rltask.engines.ray_place import take_environment

NODE = {"ANTHROPIC_API_KEY": "of-the-node", "ANTHROPIC_CUSTOM_HEADERS": "X-Gateway: token"}
THERE = "http://gpu:8080"


NAMES = (*NODE, "ANTHROPIC_BASE_URL", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_PROFILE", "SECRET_OF_TASK")


@pytest.fixture(autouse=True)
def node(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this process one of a node, with a key of Anthropic's own API."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)  # which restores what is set meanwhile, too
    for name, value in NODE.items():
        monkeypatch.setenv(name, value)


def has() -> dict[str, str]:
    return {name: os.environ[name] for name in NAMES if name in os.environ}


@pytest.mark.parametrize(
    "driver",
    [
        {"ANTHROPIC_BASE_URL": THERE},
        {"ANTHROPIC_BASE_URL": THERE, "ANTHROPIC_API_KEY": "of-the-driver"},
        {"ANTHROPIC_BASE_URL": THERE, "ANTHROPIC_AUTH_TOKEN": "of-the-driver"},
    ],
)
def test_another_server_gets_nothing_of_the_nodes(driver: dict[str, str]):
    take_environment(driver)

    assert has() == driver
    take_environment(driver)  # of the next trial
    assert has() == driver


def test_the_same_server_gets_the_nodes_own_key_with_its_headers():
    take_environment({"ANTHROPIC_API_KEY": "of-the-driver", "SECRET_OF_TASK": "1"})

    assert has() == {**NODE, "SECRET_OF_TASK": "1"}


def test_a_task_s_own_variables_change_no_key():
    take_environment({"SECRET_OF_TASK": "1"})

    assert has() == {**NODE, "SECRET_OF_TASK": "1"}
