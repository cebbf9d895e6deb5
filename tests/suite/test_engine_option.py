"""``--engine``: what is refused before anything is played, each in a sentence."""

from __future__ import annotations

import socket

import pytest


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--engine=rya"], "--engine rya is not local, ray, or ray://HOST:PORT"),
        (["--engine=ray://head"], "--engine ray://head is not local, ray, or ray://HOST:PORT"),
        (["--engine=ray", "-n2"], "leave out -n, and say with --concurrency how many trials are in flight"),
    ],
)
def test_it_is_refused_where_it_cannot_be_meant(suite, words: list[str], said: str):
    result = suite.run(*words)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{said}*"])


def test_without_ray_the_extra_is_named(suite, monkeypatch: pytest.MonkeyPatch):
    hidden = suite.pytester.mkdir("hidden")
    (hidden / "ray.py").write_text("raise ImportError('there is none')")
    monkeypatch.setenv("PYTHONPATH", str(hidden))

    result = suite.pytester.runpytest_subprocess("--model=policy:baseline", "--engine=ray")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(['*--engine ray: it needs Ray (there is none); pip install "pytest-rltask?ray?"*'])


@pytest.mark.parametrize("way", ["RAY_ADDRESS", "ray://"])
def test_an_address_where_nobody_listens_is_told_at_once(suite, monkeypatch: pytest.MonkeyPatch, way: str):
    pytest.importorskip("ray")
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    monkeypatch.setenv("RAY_ADDRESS", address)

    result = suite.run(f"--engine={'ray' if way == 'RAY_ADDRESS' else way + address}")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{address}: Connection refused; start one with `ray start --head`*"])
