"""Who plays, as the options say: the models with their settings, and what their tokens cost."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from pytest_rltask.models.judges import parse_judges
from pytest_rltask.models.model_settings import Settings, ordered, parse_further
from pytest_rltask.models.named import ModelName, parse_model
from pytest_rltask.models.prices import Prices, parse_prices
from pytest_rltask.suite.model_options import KEYS
from pytest_rltask.suite.options import Options

__all__ = ["judges_chosen", "models_of", "prices_of"]


def models_of(options: Options) -> list[ModelName]:
    """Return the models that play, each with its settings: its own, else those of all.

    Raises:
        pytest.UsageError: a name names none, a setting cannot be used, or there is nobody whom it could be of.
    """
    everywhere = _of_all(options)
    try:
        models = [parse_model(name, everywhere) for name in options.model]
    except ValueError as error:
        raise pytest.UsageError(f"--model: {error}") from None
    typed = [f"--{name.replace('_', '-')}" for name in (*KEYS, "request") if name in options.given]
    if typed and not any(model.is_remote for model in models):
        names = ", ".join(model.name for model in models)
        raise pytest.UsageError(f"{typed[0]} is for models of an API, and {names} is none; leave it out")
    return list(dict.fromkeys(models))


def _of_all(options: Options) -> Settings:
    found = {key: value for key in KEYS if (value := getattr(options, key)) is not None}
    for text in options.request:
        where = "--request" if "request" in options.given else "ini setting rltask_request:"
        try:
            key, value = parse_further(text)
        except ValueError as error:
            raise pytest.UsageError(f"{where} {text!r}: {error}; write service_tier=standard_only") from None
        if key in KEYS:
            raise pytest.UsageError(f"{where} {key} has an option of its own; write --{key.replace('_', '-')} {value}")
        found[key] = value
    return ordered(found)


def judges_chosen(options: Options) -> Mapping[str, str]:
    """Return who is to answer for judges, by judge.

    Raises:
        pytest.UsageError: one cannot.
    """
    where = "--judge" if "judge" in options.given else "ini setting rltask_judge"
    try:
        return parse_judges(options.judge)
    except ValueError as error:
        raise pytest.UsageError(f"{where}: {error}") from None


def prices_of(options: Options) -> Prices:
    """Return the prices that the user gives.

    Raises:
        pytest.UsageError: one is none.
    """
    where = "--prices" if "prices" in options.given else "ini setting rltask_prices:"
    try:
        return parse_prices(options.prices)
    except ValueError as error:
        raise pytest.UsageError(f"{where} {error}") from None
