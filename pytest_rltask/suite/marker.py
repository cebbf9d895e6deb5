"""What the marker ``rltask`` says of a test: at its module, class, function and parameters, the closest at last.

`pytest.mark.rltask(task=...)` may stand at a class, `pytest.mark.rltask(name=...)` at one of its methods, and
``pytest.param(3, marks=pytest.mark.rltask(band=(0.05, 0.2)))`` at one value of a parameter: each adds to the others,
and has the last word on what it names.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from pytest_rltask.models.model_settings import parse_settings, split_name
from pytest_rltask.models.named import ModelName
from pytest_rltask.suite.options import DEFAULT_MODEL, MARKER
from pytest_rltask.task import Band
from pytest_rltask.tools import DefinitionError

__all__ = ["EXAMPLE", "band_of", "marked", "marked_bands", "marked_name", "marked_runs"]

EXAMPLE = "@pytest.mark.rltask(task=MyTask())"
TAKES = ("task", "runs", "band", "name")


def marked(test: Iterable[pytest.Mark], parameters: Iterable[pytest.Mark], where: str) -> dict[str, Any]:
    """Return what markers say together.

    Args:
        test: marks of the test and of what it stands in, the closest first.
        parameters: marks of its parameters' values, in their order.
        where: the test's node id.

    Raises:
        DefinitionError: they name no task, or what the marker does not take.
    """
    said: dict[str, Any] = {}
    for mark in (*reversed([one for one in test if one.name == MARKER]), *parameters):
        if mark.name != MARKER:
            continue
        if mark.args:
            raise DefinitionError(f"{where}: the marker {MARKER} takes keywords and needs a task; write {EXAMPLE}")
        if unknown := mark.kwargs.keys() - set(TAKES):
            raise DefinitionError(
                f"{where}: the marker {MARKER} knows no {', '.join(sorted(unknown))}; "
                "it takes task, runs, band and name"
            )
        said |= mark.kwargs
    if "task" not in said:
        raise DefinitionError(f"{where}: the marker {MARKER} takes keywords and needs a task; write {EXAMPLE}")
    return said


def marked_name(said: Mapping[str, Any], default: str, where: str) -> str:
    """Return the task's name in reports."""
    name = said.get("name") or default
    if not isinstance(name, str):
        raise DefinitionError(f'{where}: name={name!r} in the marker is no string; write name="another"')
    return name


def marked_runs(said: Mapping[str, Any], where: str) -> int | None:
    """Return how many runs a marker asks for; None if it says nothing of them."""
    runs = said.get("runs")
    if runs is None or (type(runs) is int and runs >= 1):
        return runs
    raise DefinitionError(f"{where}: runs={runs!r} in the marker is not a whole number of at least 1; write runs=10")


def marked_bands(said: Mapping[str, Any], where: str) -> dict[str, Band]:
    """Return the marker's bands by model: by its name, or by a pattern of names as of files."""
    band = said.get("band")
    if band is None:
        return {}
    if not isinstance(band, Mapping):
        return {"*": _marked_band(band, f"{where}: band={band!r} in the marker", "band=(0.10, 0.40)")}
    example = f'band={{"{DEFAULT_MODEL}": (0.10, 0.40), "claude-opus-*": (0.30, 0.70)}}'
    if not band or not all(isinstance(model, str) and model for model in band):
        raise DefinitionError(
            f"{where}: band={band!r} in the marker does not give bands by models' names; write {example}"
        )
    for model in band:
        try:
            parse_settings(behind) if (behind := split_name(model)[1]) else ()
        except ValueError as error:
            raise DefinitionError(f"{where}: band={band!r} in the marker: {error}") from None
    return {
        model: _marked_band(one, f"{where}: band={one!r} of {model!r} in the marker", example)
        for model, one in band.items()
    }


def _marked_band(band: Any, what: str, example: str) -> Band:
    if isinstance(band, Band):
        return band
    try:
        low, high = band
        return Band(float(low), float(high))
    except (TypeError, ValueError):
        raise DefinitionError(f"{what} is not a pair of shares with low below high; write {example}") from None


def band_of(model: ModelName, bands: Mapping[str, Band]) -> Band | None:
    """Return the band of a model: by its full name, else by its own or a pattern of it; None if none fits.

    What says more of settings goes first, then a name before a pattern, then what stands first.

    Example:
        >>> from pytest_rltask.models.named import parse_model
        >>> bands = {"claude-opus-*": Band(0.1, 0.4), "claude-opus-*@effort=xhigh": Band(0.3, 0.7)}
        >>> str(band_of(parse_model("claude-opus-5@effort=xhigh,top_k=5"), bands))
        '30-70 %'
        >>> str(band_of(parse_model("claude-opus-5@effort=low"), bands))
        '10-40 %'
    """
    if model.name in bands:
        return bands[model.name]
    found = []
    for place, pattern in enumerate(bands):
        base, behind = split_name(pattern)
        settings = parse_settings(behind) if behind else ()
        if fnmatch.fnmatchcase(model.base, base) and set(settings) <= set(model.settings):
            found.append((-len(settings), base != model.base, place, pattern))
    return bands[min(found)[-1]] if found else None
