"""Settings of a model, such as its effort: fields of each request, and so a part of who plays.

They stand behind the last ``@`` of a model's name, ``claude-opus-5@effort=high,thinking=adaptive``, in one spelling and
one order, so that whatever knows models apart by their names (rows, records, bands, a run that is gone on with) knows
those of other settings apart as well. Only what is set is named.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = [
    "OURS",
    "REMOTE",
    "SETTINGS",
    "Setting",
    "Settings",
    "differences",
    "known_words",
    "misfit",
    "ordered",
    "parse_further",
    "parse_settings",
    "request_fields",
    "split_name",
    "unfit_for",
    "written",
]

REMOTE = ("claude-", "api:", "bedrock:", "vertex:")
"""What names of models of an API begin with: these have settings, and may cost something."""
Settings = tuple[tuple[str, str], ...]
"""Settings by key, each with its value as it is written, in their order."""

EFFORTS = ("low", "medium", "high", "xhigh", "max")
MIN_BUDGET = 1024
"""Tokens of thinking below which the API takes no budget."""
DISPLAYS = ("summarized", "omitted")
REST_TOKENS = 8000
"""Tokens for what is said and called behind the thinking, where one is to be suggested."""
LONGEST = 1000
"""Characters of a value, at most: it stands in each record."""


@dataclass(frozen=True)
class Setting:
    """One setting that is more than a field of the request with its value."""

    key: str
    parse: Callable[[str], str]
    """Returns a value in its one spelling; a ValueError says what can be given."""
    fields: Callable[[str], dict[str, Any]]
    """The fields of the request that a value stands for."""
    example: str
    named: tuple[str, ...]
    """Words by which a server means it in what it says of a request."""

    @property
    def flag(self) -> str:
        """Its option on the command line."""
        return f"--{self.key.replace('_', '-')}"


def _one_of(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(f"one of {', '.join(words)}")
        return text

    return parse


def _number(low: float, high: float) -> Callable[[str], str]:
    def parse(text: str) -> str:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise ValueError(f"a number from {low:g} to {high:g}")
        return repr(value).removesuffix(".0")

    return parse


def _count(text: str) -> str:
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) < 1:
        raise ValueError("a whole number of at least 1")
    return str(int(text))


def _thinking(text: str) -> str:
    if text in ("adaptive", "off", "between_tools"):
        return text
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) < MIN_BUDGET:
        raise ValueError(f"a budget of at least {MIN_BUDGET} tokens, adaptive, off or between_tools")
    return str(int(text))


def _thinking_fields(text: str) -> dict[str, Any]:
    if text.isdigit():
        return {"thinking": {"type": "enabled", "budget_tokens": int(text)}}
    return {"thinking": {"type": "disabled" if text == "off" else text}}


def _json(key: str) -> Callable[[str], dict[str, Any]]:
    return lambda text: {key: json.loads(text)}


SETTINGS: Mapping[str, Setting] = {
    setting.key: setting
    for setting in (
        Setting(
            "effort",
            _one_of(*EFFORTS),
            lambda text: {"output_config": {"effort": text}},
            "high",
            ("effort", "output_config"),
        ),
        Setting("thinking", _thinking, _thinking_fields, "adaptive", ("thinking", "budget_tokens")),
        Setting(
            "thinking_display",
            _one_of(*DISPLAYS),
            lambda text: {"thinking": {"display": text}},
            "summarized",
            ("display",),
        ),
        Setting("temperature", _number(0, 2), _json("temperature"), "0.7", ("temperature",)),
        Setting("top_p", _number(0, 1), _json("top_p"), "0.95", ("top_p",)),
        Setting("top_k", _count, _json("top_k"), "40", ("top_k",)),
        Setting("reply_tokens", _count, lambda text: {}, "4000", ("max_tokens",)),  # a limit of the trial
    )
}
"""What has an option of its own, in the order in which it is written."""

OURS = ("max_tokens", "messages", "model", "stream", "system", "tools")
"""Fields of the request that the trial fills in."""
INSTEAD = {
    "max_tokens": "reply_tokens=N",
    "output_config": "effort=high",
    "budget_tokens": "thinking=BUDGET",
    "system": "what the task's prompt says",
    "tools": "methods of the episode with @tool",
    "model": "--model NAME",
}
"""What to write in place of a field that nobody can set by its name."""
FURTHER = (
    *("service_tier", "speed", "inference_geo", "stop_sequences", "tool_choice", "metadata", "cache_control"),
    *("seed", "min_p", "chat_template_kwargs"),  # of local servers
)
"""Fields likely meant by a word that is much like one of them; any other is sent as it is."""
KEY = r"[A-Za-z_][A-Za-z0-9_]*"


def split_name(name: str) -> tuple[str, str]:
    """Split a model's name into the model's own and its settings: what follows the last ``@`` with ``key=`` behind it.

    Example:
        >>> split_name("claude-opus-5@effort=high"), split_name("claude-opus-4@20250514")
        (('claude-opus-5', 'effort=high'), ('claude-opus-4@20250514', ''))
    """
    found = None
    for match in re.finditer(rf"@(?=\s*{KEY}\s*=)", name):
        found = match
    return (name[: found.start()], name[found.end() :]) if found and found.start() else (name, "")


def parse_settings(text: str) -> Settings:
    """Parse what stands behind the ``@`` of a model's name.

    Raises:
        ValueError: something there is no setting; the message says what can be.

    Example:
        >>> parse_settings("thinking=2048,effort=high")
        (('effort', 'high'), ('thinking', '2048'))
    """
    found: dict[str, str] = {}
    for key, value in _pairs(text):
        if key in found:
            raise ValueError(f"{key} is given twice; write it once")
        found[key] = _checked(key, value)
    return ordered(found)


def parse_further(text: str) -> tuple[str, str]:
    """Parse a field of the request with its value, ``service_tier = standard_only`` or with JSON.

    Raises:
        ValueError: it is none; the message says what can be written.
    """
    key, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not re.fullmatch(KEY, key) or not value:
        raise ValueError("a field of the request with its value, in JSON if it is no plain word")
    return key, _checked(key, value)


def ordered(settings: Mapping[str, str]) -> Settings:
    """Return settings in their one order."""
    keys = [*SETTINGS, *sorted(settings.keys() - SETTINGS.keys())]
    return tuple((key, settings[key]) for key in keys if key in settings)


def misfit(settings: Settings) -> str:
    """Say which settings do not go together on any server, and what to write; empty if all do."""
    given = dict(settings)
    if "thinking_display" in given and not (given.get("thinking") == "adaptive" or given.get("thinking", "").isdigit()):
        return "thinking_display goes with thinking=adaptive or a budget; write thinking=adaptive beside it"
    budget, tokens = given.get("thinking", ""), given.get("reply_tokens", "")
    return _too_small(int(budget), int(tokens)) if budget.isdigit() and tokens else ""


def unfit_for(settings: Settings, reply_tokens: int) -> str:
    """Say why a reply of a task is too short for what is set, and what to write; empty if it is not."""
    budget = dict(settings).get("thinking", "")
    return _too_small(int(budget), reply_tokens) if budget.isdigit() else ""


def _too_small(budget: int, tokens: int) -> str:
    if budget < tokens:
        return ""
    return (
        f"thinking={budget} is a budget within a reply, which has {tokens} tokens (reply_tokens); "
        f"write a smaller one, or reply_tokens={budget + REST_TOKENS}"
    )


def written(settings: Settings) -> str:
    """Return settings as they stand behind a model's name, ``@`` included; nothing if there are none."""
    return "@" + ",".join(f"{key}={value}" for key, value in settings) if settings else ""


def request_fields(settings: Settings) -> dict[str, Any]:
    """Return the fields that settings add to each request.

    Example:
        >>> request_fields((("effort", "high"), ("speed", "fast")))
        {'output_config': {'effort': 'high'}, 'speed': 'fast'}
    """
    fields: dict[str, Any] = {}
    for key, text in settings:
        setting = SETTINGS.get(key)
        for name, value in (setting.fields(text) if setting else {key: _value(text)}).items():
            old = fields.get(name)
            fields[name] = {**old, **value} if isinstance(old, dict) and isinstance(value, dict) else value
    return fields


def differences(old: Settings, new: Settings) -> Iterator[str]:
    """Yield in words how settings differ.

    Example:
        >>> list(differences((("effort", "high"),), (("effort", "low"), ("top_k", "5"))))
        ['effort was high, is low', 'top_k was not set, is 5']
    """
    was, now = dict(old), dict(new)
    for key, _ in ordered(was | now):
        if was.get(key) != now.get(key):
            yield f"{key} was {was.get(key, 'not set')}, is {now.get(key, 'not set')}"


def _checked(key: str, value: str) -> str:
    if len(value) > LONGEST:
        raise ValueError(f"the value of {key} has {len(value)} characters, of at most {LONGEST}")
    if setting := SETTINGS.get(key):
        try:
            return setting.parse(value)
        except ValueError as error:
            raise ValueError(f"{key}={value!r} is not {error}; write {key}={setting.example}") from None
    if key in OURS or key in INSTEAD:
        instead = f"; write {INSTEAD[key]}" if key in INSTEAD else ""
        raise ValueError(f"{key} is filled in by the trial{instead}")
    if (close := difflib.get_close_matches(key, [*SETTINGS, *FURTHER], 1, cutoff=0.75)) and close[0] != key:
        raise ValueError(f"{key} is no setting; write {close[0]}={value}")
    if value[0] in '{["':
        _check_json(key, value)
    return _spelled(_value(value))


def _check_json(key: str, value: str) -> None:
    """Raise a ValueError if a value begins like JSON and is none: it would be sent as a text."""
    try:
        json.loads(value)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the value of {key} begins like JSON and is none ({error}): {value[:60]}") from None


def _value(text: str) -> Any:
    """Return what a further field's value means: JSON, or a plain word."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _spelled(value: Any) -> str:
    """Return a value in its one spelling, such that :func:`_value` gives it again."""
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9_.:/+-]+", value) and isinstance(_value(value), str):
        return value
    try:
        said = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except ValueError:
        raise ValueError("a number in a setting is not finite") from None
    return said.replace("@", r"\u0040").replace(
        "\x7f", r"\u007f"
    )  # no `@`, which begins settings, and none unprintable


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    """Yield the settings of a text; a comma within JSON separates none."""
    rest = text
    while True:
        key, equals, rest = rest.partition("=")
        key, rest = key.strip(), rest.lstrip()
        if not equals or not re.fullmatch(KEY, key):
            raise ValueError(f"{key[:60]!r} is no setting; write key=value, as in effort={SETTINGS['effort'].example}")
        if rest[:1] in ('"', "{", "["):
            try:
                _, end = json.JSONDecoder().raw_decode(rest)
            except (ValueError, RecursionError):
                raise ValueError(f"the value of {key} begins like JSON and is none") from None
            value, rest = rest[:end], rest[end:].lstrip()
            if rest and not rest.startswith(","):
                raise ValueError(f"the value of {key} goes on behind its JSON; write a comma between settings")
            rest, more = rest[1:], rest.startswith(",")
        else:
            value, comma, rest = rest.partition(",")
            value, more = value.strip(), bool(comma)
        if not value:
            raise ValueError(f"{key} has no value; write {key}={SETTINGS[key].example if key in SETTINGS else 'VALUE'}")
        yield key, value
        if not more:
            return


def known_words(settings: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield the words by which a server may mean settings, each with the key that it means."""
    for key in settings:
        setting = SETTINGS.get(key)
        for word in setting.named if setting else (key,):
            yield word, key
