"""The names that ``--model`` takes, what is wrong with one, and the model behind one."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints
from urllib.parse import quote

from pytest_rltask.models.model import Model
from pytest_rltask.models.model_settings import (
    REMOTE,
    Settings,
    differences,
    misfit,
    ordered,
    parse_settings,
    request_fields,
    split_name,
    written,
)
from pytest_rltask.models.settings import BASE_URL, KEY_VARIABLES, unusable

if TYPE_CHECKING:
    from pytest_rltask.models.contact import News
    from pytest_rltask.models.limiter import Places
    from pytest_rltask.models.prices import Prices

__all__ = [
    "ModelName",
    "changed_settings",
    "is_paid",
    "label_of",
    "make_model",
    "missing_key",
    "parse_model",
    "quoted",
    "settings_of",
]


SERVED: Mapping[str, Literal["api", "bedrock", "vertex"]] = {"api": "api", "bedrock": "bedrock", "vertex": "vertex"}
"""What stands before the colon of a name that its server knows as it is."""
SAMPLING = ("temperature", "top_p", "top_k")
"""Settings that the API has taken back."""
LONGEST_LABEL = 120
"""Characters of a model's name in a node id, which is part of a file's name."""


@dataclass(frozen=True)
class ModelName:
    """A parsed ``--model``: who plays, and with which settings."""

    name: str
    """In full, settings included: what records, plans and bands know it by."""
    kind: Literal["claude", "api", "bedrock", "vertex", "policy", "replay", "human"]
    argument: str
    """The model as a server calls it, the policy's name, or the run directory; empty for a person."""
    settings: Settings = ()
    """What is set of it, by key, in one order and one spelling."""

    @property
    def base(self) -> str:
        """The name without settings."""
        return self.name.removesuffix(written(self.settings))

    @property
    def label(self) -> str:
        """A form that can stand in a node id."""
        if self.kind == "replay":
            return f"replay:{Path(self.argument).name}"
        return quoted(self.name) if self.is_remote else self.name

    @property
    def is_remote(self) -> bool:
        """Whether it is a model of an API."""
        return self.kind in ("claude", *SERVED)

    @property
    def reply_tokens(self) -> int | None:
        """Tokens that one reply of it may have; None: as many as the task says."""
        text = dict(self.settings).get("reply_tokens")
        return None if text is None else int(text)

    @property
    def fields(self) -> dict[str, Any]:
        """What its settings add to each request."""
        return request_fields(self.settings)


def parse_model(name: str, settings: Settings = ()) -> ModelName:
    """Parse a model's name.

    Args:
        name: ``claude-...`` or ``api:NAME``, either with settings behind an ``@``, or one of those that have none.
        settings: what is set of every model of an API that does not set it itself.

    Raises:
        ValueError: it names none; the message says what can be named.

    Example:
        >>> parse_model("claude-opus-5@thinking=2048,effort=high").name
        'claude-opus-5@effort=high,thinking=2048'
        >>> parse_model("api:qwen/qwen3-8b:free").argument
        'qwen/qwen3-8b:free'
    """
    base, own = split_name(name)
    kind, _, argument = base.partition(":")
    if name.startswith("claude-") or (kind in SERVED and argument):
        if (odd := next((one for one in name if not one.isprintable()), "")) or base != base.strip():
            what = repr(odd) if odd else "white space at its end"
            raise ValueError(f"the name {name!r} holds {what}, which no model's does; write it without")
        front, at, behind = base.rpartition("@")
        if at and kind not in SERVED and not behind.isdigit():  # as none of Anthropic's names has it, but for a date
            raise ValueError(f"{name}: {behind!r} is no setting; write {front}@effort=high")
        try:
            merged = ordered(dict(settings) | dict(parse_settings(own) if own else ()))
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        if wrong := misfit(merged):
            raise ValueError(f"{name}: {wrong}")
        served = SERVED.get(kind)
        return ModelName(base + written(merged), served or "claude", argument if served else base, merged)
    kind, _, argument = name.partition(":")
    if own and (kind == "policy" or base == "human" or (kind == "replay" and not Path(argument).expanduser().exists())):
        raise ValueError(f"{base} takes no settings, which are for models of an API; write --model {base}")
    if kind == "policy" and argument:
        return ModelName(name, "policy", argument)
    if kind == "replay" and argument:
        return ModelName(name, "replay", argument)
    if name == "human":
        return ModelName(name, "human", "")
    raise ValueError(
        f"unknown model {name!r}; write claude-..., api:NAME, policy:NAME, replay:RUN_DIR or human "
        "(or bedrock:NAME, vertex:NAME)"
    )


def quoted(name: str) -> str:
    """Return a name as it can stand in a node id: what is no plain character as ``%XX``, and a long one cut.

    Example:
        >>> quoted("api:qwen 3::b[1]"), quoted("api:qwen/qwen3-8b:free@top_p=0.9")
        ('api:qwen%203:%3Ab%5B1%5D', 'api:qwen/qwen3-8b:free@top_p=0.9')
    """
    safe = quote(name, safe="-_.:/@=,+~()").replace("::", ":%3A")
    if len(safe) <= LONGEST_LABEL:
        return safe
    return f"{safe[: LONGEST_LABEL - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def label_of(name: str) -> str:
    """Return the form of a model's name that can stand in a node id, be it one that none knows today."""
    return quoted(name) if is_paid(name) else name


def settings_of(name: str) -> dict[str, str]:
    """Return what is set of a model, by its name; nothing of one that has no settings."""
    try:
        return dict(parse_settings(split_name(name)[1])) if is_paid(name) and split_name(name)[1] else {}
    except ValueError:
        return {}


def changed_settings(old: str, new: str) -> list[str]:
    """Say how the settings of one model differ, by its names then and now; nothing if it is another model.

    Example:
        >>> changed_settings("claude-opus-5@effort=high", "claude-opus-5@effort=low")
        ['effort was high, is low']
    """
    if not is_paid(old) or split_name(old)[0] != split_name(new)[0]:
        return []
    return list(differences(tuple(settings_of(old).items()), tuple(settings_of(new).items())))


def is_paid(name: str) -> bool:
    """Say whether a model, by its name, may cost anything: a policy or replay does not."""
    return name.startswith(REMOTE)


def missing_key(name: ModelName, environment: Mapping[str, str], policies: Collection[str]) -> str | None:
    """Say what a model lacks (its key, its server) or that cannot be sent, and what to write; None if nothing.

    Args:
        name: the model.
        environment: where the SDK looks for a key.
        policies: names of those that the task ships, and that could play instead.
    """
    if not name.is_remote:
        return None
    if problem := _unplayable(name, environment):
        return f"--model {name.name}: {problem}"
    if name.kind != "claude" or any(environment.get(variable) for variable in KEY_VARIABLES):
        wrong = unusable(environment)
        return f"--model {name.name}: {wrong}" if wrong else None
    instead = next((policy for policy in ("baseline", *policies) if policy in policies), "NAME")
    return (
        f"--model {name.name} needs an API key: set ANTHROPIC_API_KEY, "
        f"or play a scripted policy without one: --model policy:{instead}"
    )


def _unplayable(name: ModelName, environment: Mapping[str, str]) -> str:
    """Say why no server could play a model as it is set, and what to write; empty if one could."""
    if name.kind in ("bedrock", "vertex"):
        from pytest_rltask.models.clouds import lacking

        return lacking(name.kind, environment)
    if name.kind == "claude" and (wrong := _odd_word(name)):
        return wrong
    if environment.get(BASE_URL):
        return ""
    if name.kind == "api":
        return f"it is played by the server that {BASE_URL} names; write {BASE_URL}=http://127.0.0.1:8080 before pytest"
    sampling = next((key for key in SAMPLING if key in dict(name.settings)), "")
    if not sampling:
        return ""
    from anthropic.types import message_create_params

    if sampling in message_create_params.MessageCreateParamsBase.__annotations__:
        return ""
    return (
        f"Anthropic's API takes no {sampling} any more: the installed SDK has no such field; leave it out "
        f"(effort=low is taken), or play api:NAME at a server that takes it"
    )


def _odd_word(name: ModelName) -> str:
    """Say which further field has a value that is none of those the SDK's types name; empty if none has."""
    further = {
        key: value for key, value in name.fields.items() if isinstance(value, str) and key in dict(name.settings)
    }
    if not further:
        return ""
    from anthropic.types import message_create_params

    types = get_type_hints(message_create_params.MessageCreateParamsNonStreaming)
    for key, value in further.items():
        words = _literals(types.get(key))
        if words and value not in words:
            return f"{key}={value} is none of what the API takes: write {key}={' or '.join(map(str, words))}"
    return ""


def _literals(kind: Any) -> list[Any]:
    """Return the words that a type allows; none if it allows more than words."""
    if get_origin(kind) is Literal:
        return list(get_args(kind))
    parts = [one for one in get_args(kind) if one is not type(None)]
    found = [_literals(one) for one in parts]
    return [word for words in found for word in words] if found and all(found) else []


def make_model(
    name: ModelName,
    *,
    reply_timeout_s: float | None = None,
    news: News | None = None,
    prices: Prices | None = None,
    limiter: Places | None = None,
) -> Model:
    """Build the model behind a name. Claude's library is loaded here and not before.

    Args:
        name: of the model.
        reply_timeout_s: seconds that one reply of an API may take; None: as many as it may by default.
        news: where it is told what keeps the trials waiting.
        limiter: what lets requests to an API start; None: one of the model's own.
        prices: what tokens of models cost that the table lacks; None: none is given.
    """
    if name.kind == "policy":
        from pytest_rltask.models.policy import PolicyModel

        return PolicyModel(name.argument)
    if name.kind == "replay":
        from pytest_rltask.models.replay import ReplayModel, load_replay

        return ReplayModel(load_replay(name.argument))
    if name.kind == "human":
        from pytest_rltask.models.human import HumanModel

        return HumanModel()
    from pytest_rltask.models.claude import REPLY_TIMEOUT_S, ClaudeModel
    from pytest_rltask.models.clouds import BEDROCK, VERTEX
    from pytest_rltask.models.servers import ANTHROPIC, ANY_SERVER

    model = ClaudeModel(
        name.argument,
        reply_timeout_s=reply_timeout_s or REPLY_TIMEOUT_S,
        news=news,
        settings=name.settings,
        server={"api": ANY_SERVER, "bedrock": BEDROCK, "vertex": VERTEX}.get(name.kind, ANTHROPIC),
        prices=prices,
        limiter=limiter,
    )
    model.connect()  # by the environment as it is now: tests may change it later
    return model
