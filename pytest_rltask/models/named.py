"""The names that ``--model`` takes, what is wrong with one, and the model behind one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pytest_rltask.models.model import Model
from pytest_rltask.models.settings import KEY_VARIABLES, unusable
from pytest_rltask.run.record import Usage

if TYPE_CHECKING:
    from pytest_rltask.models.contact import News

__all__ = [
    "ModelName",
    "is_paid",
    "make_model",
    "missing_key",
    "parse_model",
    "price_text",
    "token_price",
]


@dataclass(frozen=True)
class ModelName:
    """A parsed ``--model``."""

    name: str
    """As the user wrote it."""
    kind: Literal["claude", "policy", "replay", "human"]
    argument: str
    """The API's name of the model, the policy's name, or the run directory; empty for a person."""

    @property
    def label(self) -> str:
        """A form that can stand in a node id."""
        return f"replay:{Path(self.argument).name}" if self.kind == "replay" else self.name


def parse_model(name: str) -> ModelName:
    """Parse a model's name.

    Raises:
        ValueError: it names none; the message says what can be named.
    """
    kind, _, argument = name.partition(":")
    if name.startswith("claude-"):
        return ModelName(name, "claude", name)
    if kind == "policy" and argument:
        return ModelName(name, "policy", argument)
    if kind == "replay" and argument:
        return ModelName(name, "replay", argument)
    if name == "human":
        return ModelName(name, "human", "")
    raise ValueError(f"unknown model {name!r}; write claude-..., policy:NAME, replay:RUN_DIR or human")


def is_paid(name: str) -> bool:
    """Say whether a model, by its name, costs anything: a policy or replay does not."""
    return name.startswith("claude-")


def missing_key(name: ModelName, environment: Mapping[str, str], policies: Collection[str]) -> str | None:
    """Say which key is missing and both ways out, or cannot be sent, or None if the model has what it needs.

    Args:
        name: the model.
        environment: where the SDK looks for a key.
        policies: names of those that the task ships, and that could play instead.
    """
    if name.kind != "claude":
        return None
    if any(environment.get(variable) for variable in KEY_VARIABLES):
        wrong = unusable(environment)
        return f"--model {name.name}: {wrong}" if wrong else None
    instead = next((policy for policy in ("baseline", *policies) if policy in policies), "NAME")
    return (
        f"--model {name.name} needs an API key: set ANTHROPIC_API_KEY, "
        f"or play a scripted policy without one: --model policy:{instead}"
    )


def price_text(name: str) -> str | None:
    """Return the price of a model of the API in words; None if it is not known."""
    from genai_prices import Usage, calc_price

    try:
        price = calc_price(Usage(input_tokens=1), model_ref=name, provider_id="anthropic").model_price
    except LookupError:
        return None
    return ", ".join(str(price).split(", ")[:2])  # of what is read and written; those of caches follow


def token_price(name: str, usage: Usage) -> float | None:
    """Return what tokens of a model of the API cost today in US dollars; None if its price is not known."""
    from genai_prices import Usage as Tokens
    from genai_prices import calc_price

    tokens = Tokens(
        input_tokens=usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        output_tokens=usage.output_tokens,
    )
    try:
        return float(calc_price(tokens, model_ref=name, provider_id="anthropic").total_price)
    except (LookupError, ValueError):
        return None


def make_model(name: ModelName, *, reply_timeout_s: float | None = None, news: News | None = None) -> Model:
    """Build the model behind a name. Claude's library is loaded here and not before.

    Args:
        name: of the model.
        reply_timeout_s: seconds that one reply of an API may take; None: as many as it may by default.
        news: where it is told what keeps the trials waiting.
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

    model = ClaudeModel(name.argument, reply_timeout_s=reply_timeout_s or REPLY_TIMEOUT_S, news=news)
    model.connect()  # by the environment as it is now: tests may change it later
    return model
