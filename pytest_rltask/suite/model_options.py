"""The options that set something of the models which play: of each model of an API that does not set it itself."""

from __future__ import annotations

from collections.abc import Callable

from pytest_rltask.suite.option import Option

__all__ = ["KEYS", "MODEL_OPTIONS"]


def _parser(key: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        from pytest_rltask.models.model_settings import SETTINGS

        return SETTINGS[key].parse(text)

    return parse


def _setting(key: str, metavar: str, example: str, said: str) -> Option:
    return Option(
        f"--{key.replace('_', '-')}", metavar, None, example, f"{said}, or @{key}=... behind its name", _parser(key)
    )


KEYS = ("effort", "thinking", "thinking_display", "temperature", "top_p", "top_k", "reply_tokens")
"""What has an option of its own, as it stands behind a model's name."""
MODEL_OPTIONS = (
    _setting("effort", "LEVEL", "high", "how much effort each model of an API makes: low, medium, high, xhigh or max"),
    _setting(
        "thinking",
        "HOW",
        "adaptive",
        "how each model of an API thinks: adaptive, off, between_tools, or a budget of tokens for each reply",
    ),
    _setting(
        "thinking_display",
        "HOW",
        "summarized",
        "what each model of an API shows of its thinking: summarized or omitted",
    ),
    _setting("temperature", "T", "0.7", "how freely each model of an API samples, where its server takes that"),
    _setting("top_p", "P", "0.95", "the share of likely tokens that each model of an API samples from, where it may"),
    _setting("top_k", "K", "40", "the number of likely tokens that each model of an API samples from, where it may"),
    _setting("reply_tokens", "N", "4000", "tokens that one reply of each model of an API may have, thinking included"),
    Option(
        "--judge",
        "NAME",
        None,
        "policy:scripted",
        "who answers for tasks' judges: a model of an API, policy:scripted (no key), or JUDGE=MODEL; may be repeated",
        str,
        repeatable=True,
    ),
    Option(
        "--request",
        "FIELD=JSON",
        None,
        "service_tier=standard_only",
        "any further field of each request to a model of an API; may be repeated",
        str,
        repeatable=True,
        is_lines=True,
    ),
    Option(
        "--prices",
        "NAME=IN/OUT",
        None,
        "api:qwen3=0.1/0.4",
        "US dollars a million tokens that a model reads and writes, where they are not known; may be repeated",
        str,
        repeatable=True,
        is_lines=True,
    ),
)
