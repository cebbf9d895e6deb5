"""Options of the shipped benchmarks are registered here; the plugin's own are in pytest_rltask.suite.options."""

import pytest

from benchmarks.imbalance import options


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the task imbalance."""
    options.add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Refuse values that cannot be used, before anything is collected."""
    options.check_options(config)
