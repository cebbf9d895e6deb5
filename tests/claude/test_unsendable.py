"""What the environment says that no request can be sent with: told before the first trial, and never retried."""

from __future__ import annotations

import pytest

from pytest_rltask.models.hopeless import why_hopeless
from pytest_rltask.models.settings import unusable
from tests.claude.desk import KEY, MODEL
from tests.conftest import Suite
from tests.plugin.test_usage_errors import assert_usage_error
from tests.support.messages_api import raw, reply, status, tool_use
from tests.support.serving import Serve

KEYS = [
    ("{key}\n", "ends with a line end, which no request can carry: write it without"),
    ("{key}\r\n", "ends with a line end"),
    ("\n{key}", "holds a line end (character 1 of"),
    ("a b{key}", "holds a space (character 2 of"),
    ("{key}\t", "holds a tab (character"),
    ("{key} ", "holds a space (character"),
    ("{key}\x07", "holds a control character U+0007 (character"),
    ("{key}\x7f", "holds a control character U+007F (character"),
    ("ü{key}", "holds LATIN SMALL LETTER U WITH DIAERESIS U+00FC (character 1 of"),
    ("\ufeff{key}", "holds ZERO WIDTH NO-BREAK SPACE U+FEFF (character 1 of"),
    ("{key}\u200b", "holds ZERO WIDTH SPACE U+200B (character"),
    ("\u00a0{key}", "holds NO-BREAK SPACE U+00A0 (character 1 of"),
    (" \n", "holds nothing but white space"),
]


@pytest.mark.parametrize("variable", ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"])
@pytest.mark.parametrize(("written", "said"), KEYS)
def test_a_key_that_cannot_be_sent_is_told_and_not_shown(variable: str, written: str, said: str):
    told = unusable({variable: written.format(key=KEY)}) or ""

    assert told.startswith(f"{variable} {said}")
    assert KEY not in told


def test_a_key_with_a_line_end_is_a_usage_error(any_suite: Suite, serve: Serve, monkeypatch: pytest.MonkeyPatch):
    api = serve([reply(tool_use("submit", {"number": 43}))])
    monkeypatch.setenv("ANTHROPIC_API_KEY", f"{KEY}\n")

    result = any_suite.run(model=MODEL)

    assert_usage_error(result, f"--model {MODEL}: ANTHROPIC_API_KEY ends with a line end", "tr -d '[:space:]'")
    assert KEY not in result.stdout.str() + result.stderr.str()
    assert (api.requests, any_suite.run_dirs) == ([], [])


def test_the_key_that_is_not_sent_may_be_anything(suite: Suite, serve: Serve, monkeypatch: pytest.MonkeyPatch):
    serve([reply(tool_use("submit", {"number": 43}))])
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "a token\n")

    assert suite.run("--runs", "1", "--band", "1,100", model=MODEL).ret == 0


def test_what_a_policy_does_not_need_may_be_anything(suite: Suite, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", f"{KEY}\n")

    assert suite.run().ret == 0


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "ANTHROPIC_BASE_URL='' is empty; write ANTHROPIC_BASE_URL=https://HOST[:PORT], or unset it"),
        ("127.0.0.1:8000", "does not begin with http:// or https://"),
        ("localhost:8000", "does not begin with http:// or https://"),
        ("ftp://localhost", "does not begin with http:// or https://"),
        ("http:/localhost", "does not begin with http:// or https://"),
        ("http://", "names no host"),
        ("https://:8000", "names no host"),
        ("http://[::1", "is no address"),
        ("http://local host", "holds white space"),
        ("http://localhost\n", "holds white space"),
        (" http://localhost", "holds white space"),
        ("http://localhost:abc", "has a port that is no number from 1 to 65535"),
        ("http://localhost:99999", "has a port"),
        ("http://localhost:0", "has a port"),
        ("http://localhost:-1", "has a port"),
        ("http://localhost?key=1", "has something behind its path"),
    ],
)
def test_an_address_that_is_none(url: str, said: str):
    assert said in (unusable({"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": url}) or "")


@pytest.mark.parametrize("url", ["http://127.0.0.1:8", "https://h/v1/", "HTTP://h", "http://[::1]:80", "https://u:p@h"])
def test_an_address_that_is_one(url: str):
    assert unusable({"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": url}) is None


@pytest.mark.parametrize(
    "url", [KEY, f"ftp://{KEY}", f"ftp://me:{KEY}@host", "sk-other", "ftp://me:secret@host?s=secret"]
)
def test_an_address_is_shown_without_secrets(url: str):
    told = unusable({"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": url}) or ""

    assert told.startswith("ANTHROPIC_BASE_URL=")
    assert not any(secret in told for secret in (KEY, "sk-other", "secret"))


def test_an_address_that_is_none_is_a_usage_error(suite: Suite, serve: Serve, monkeypatch: pytest.MonkeyPatch):
    serve([])
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "127.0.0.1:8000")

    assert_usage_error(suite.run(model=MODEL), "ANTHROPIC_BASE_URL='127.0.0.1:8000' does not begin with http://")


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ("x-a: 1\nx b: 2", "ANTHROPIC_CUSTOM_HEADERS: line 2 has a header name that no request can carry"),
        (": 1", "ANTHROPIC_CUSTOM_HEADERS: line 1 has a header name"),
        ("x-a: s\x01", "line 1: the value of x-a holds a control character U+0001"),
        ("x-a: sü", "line 1: the value of x-a holds LATIN SMALL LETTER U WITH DIAERESIS U+00FC"),
        ("x-a: s\rx", "line 1: the value of x-a holds a line end"),
    ],
)
def test_a_header_that_cannot_be_sent(headers: str, said: str):
    assert said in (unusable({"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_CUSTOM_HEADERS": headers}) or "")
    assert unusable({"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_CUSTOM_HEADERS": "x-a: b c\r\nnothing\n"}) is None


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"ANTHROPIC_API_KEY": "", "ANTHROPIC_PROFILE": "nobody"}, "no request can be sent: CredentialsError: "),
        ({"ALL_PROXY": "socks5://127.0.0.1:9"}, "no request can be sent: ImportError: Using SOCKS proxy"),
        ({"ALL_PROXY": "gopher://127.0.0.1:9"}, "no request can be sent: ValueError: Unknown scheme for proxy"),
    ],
)
def test_what_only_the_client_finds_wrong_stops_the_run_at_once(
    suite: Suite, serve: Serve, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], said: str
):
    api = serve([])
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    result = suite.run(model=MODEL)

    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines([f"*no trial can be played by {MODEL}: {said}*"])
    assert len(suite.last_run().records) == 1
    assert api.requests == []


BROKE = "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade."


@pytest.mark.parametrize(
    ("step", "what"),
    [
        (status(400, message=BROKE), f"HTTP 400: {BROKE}; add credit or raise the limit of the account"),
        (
            status(
                400, message="You have reached your specified workspace API usage limits. You will regain access on 1"
            ),
            "HTTP 400: You have reached your specified workspace API usage limits",
        ),
        (status(400, message="This organization has been disabled."), "HTTP 400: This organization has been disabled."),
        (status(400, error_type="billing_error"), "HTTP 400: scripted billing_error; add credit"),
        (status(402), "HTTP 402: scripted billing_error; add credit"),
        (status(403), "HTTP 403: scripted permission_error; check what the key's account may do"),
        (status(401), "HTTP 401: scripted authentication_error; check ANTHROPIC_API_KEY"),
        (status(404, message=f"model: {MODEL}"), f"HTTP 404: model: {MODEL}; check --model, or --judge if"),
        (status(429, message="x", details={"error_code": "insufficient_quota"}), "HTTP 429, insufficient_quota: x"),
        (raw(400, "application/json", b'{"error": "model foo-1 not found"}'), "HTTP 400: "),
    ],
)
def test_what_no_trial_can_escape_stops_the_run_after_one_request(suite: Suite, serve: Serve, step: object, what: str):
    api = serve([step])

    result = suite.run(model=MODEL)

    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert len(api.requests) == 1
    assert len(suite.last_run().records) == 1
    assert f"no trial can be played by {MODEL}: {what}" in result.stdout.str()


def test_an_account_that_becomes_empty_stops_the_run(suite: Suite, serve: Serve):
    shouts = reply(tool_use("shout", {"text": "a"}))
    api = serve(lambda body, turn: status(400, message=BROKE) if turn else shouts)

    result = suite.run("--concurrency", "1", model=MODEL)

    assert (result.ret, len(api.requests)) == (pytest.ExitCode.INTERRUPTED, 2)
    result.stdout.fnmatch_lines(["*no trial can be played*credit balance is too low*"])


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (400, "messages: roles must alternate"),
        (400, "max_tokens: 1 is too low"),
        (400, "model claude-3 does not support thinking"),
        (429, "This request would exceed your organization's rate limit of 50,000 input tokens per minute"),
        (429, "You have reached your API usage limits, try again in a minute"),
        (429, "You exceeded your current quota, please check your plan and billing details."),
        (500, "credit balance is too low"),
        (529, "Overloaded"),
    ],
)
def test_what_passes_or_is_of_one_trial_is_not_hopeless(code: int, said: str):
    assert why_hopeless(code, {"error": {"type": "invalid_request_error", "message": said}}) == ""
