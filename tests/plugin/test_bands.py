"""Bands: by model in the marker, and what the command line makes of them."""

from __future__ import annotations

import pytest

from tests.conftest import Suite
from tests.plugin.test_usage_errors import assert_usage_error

MODELS = ("--model", "policy:null")
TEST = """
from tasks import *

@pytest.mark.rltask(task=Sum(), band={band})
def test_sum(trial):
    assert trial.score >= 1.0
"""


def bands(suite: Suite) -> dict[str, tuple[float, float]]:
    """Return the band of each model."""
    return {row["model"]: (row["band"]["low"], row["band"]["high"]) for row in suite.report()["rows"]}


def test_each_model_has_its_band_and_its_gate(any_suite: Suite):
    any_suite.write(
        test_sum=TEST.format(band='{"policy:sol*": (0.9, 1), "policy:solver": (0.8, 1), "*:base*": (0, 0.2)}')
    )

    result = any_suite.run(*MODELS, "--model", "policy:solver")

    assert bands(any_suite) == {"policy:solver": (0.8, 1), "policy:baseline": (0, 0.2), "policy:null": (0.1, 0.4)}
    rows = {row["model"]: row["verdict"] for row in any_suite.report()["rows"]}
    assert {model: verdict["holds"] for model, verdict in rows.items()} == {
        "policy:solver": True,
        "policy:baseline": False,
        "policy:null": False,
    }
    result.stdout.fnmatch_lines(["*too easy, not proven: pass rate 3/10 = 30 % of sum by policy:baseline, band 0-20 %"])


def test_a_model_that_is_not_named_takes_the_band_of_the_ini_file(suite: Suite):
    suite.pytester.makeini("[pytest]\nrltask_band = 0,50\n")
    suite.write(test_sum=TEST.format(band='{"policy:null": (0.05, 0.2)}'))

    suite.run(*MODELS)

    assert bands(suite) == {"policy:baseline": (0, 0.5), "policy:null": (0.05, 0.2)}


def test_the_command_line_overrides_the_bands_of_all_models(suite: Suite):
    suite.write(test_sum=TEST.format(band='{"policy:null": (0.05, 0.2)}'))

    suite.run(*MODELS, "--band", "20,60")

    assert bands(suite) == {"policy:baseline": (0.2, 0.6), "policy:null": (0.2, 0.6)}


@pytest.mark.parametrize(
    ("band", "said"),
    [
        ("{}", "does not give bands by models' names"),
        ("{1: (0.1, 0.4)}", "does not give bands by models' names"),
        ("{'claude-*': 0.4}", "band=0.4 of 'claude-*' in the marker is not a pair of shares with low below high"),
        ("{'claude-*': (0.4, 0.1)}", "band=(0.4, 0.1) of 'claude-*' in the marker is not a pair"),
    ],
)
def test_bands_that_cannot_be_used(suite: Suite, band: str, said: str):
    suite.write(test_sum=TEST.format(band=band))

    result = suite.run()

    assert_usage_error(result, said, '"claude-opus-*": (0.30, 0.70)')
