"""The gate in the results of allure-pytest, which listens to items alone: a gate is none, so it is written here."""

from __future__ import annotations

import hashlib
import uuid

import pytest

from pytest_rltask.clock import utc
from pytest_rltask.report.summary import Row
from pytest_rltask.report.table import gate_line

__all__ = ["report_to_allure"]


def report_to_allure(config: pytest.Config, row: Row, nodeid: str, properties: list[tuple[str, object]]) -> None:
    """Write the result of a gate among those of the tests; nothing without ``--alluredir``.

    Args:
        config: pytest's configuration.
        row: whose gate it is.
        nodeid: by which reports know it.
        properties: what is told of it.
    """
    if not config.pluginmanager.hasplugin("allure_listener"):
        return
    # The interface that Allure has for other producers of results.
    from allure_commons import plugin_manager  # type: ignore[import-not-found, unused-ignore]
    from allure_commons.model2 import Label, Parameter, Status, StatusDetails, TestResult  # type: ignore[import-not-found, unused-ignore]

    path, _, name = nodeid.partition("::")
    now_ms = round(utc().timestamp() * 1000)
    known = hashlib.md5(nodeid.encode(errors="replace"), usedforsecurity=False).hexdigest()
    result = TestResult(
        uuid=str(uuid.uuid4()),
        historyId=known,
        testCaseId=known,
        fullName=f"{path}:{row.line}#{name}",
        name=name,
        status=Status.PASSED if row.verdict.holds else Status.FAILED,
        statusDetails=StatusDetails(message=gate_line(row)),
        stage="finished",
        parameters=[Parameter(name=one, value=repr(value)) for one, value in properties],
        labels=[Label(name="suite", value=path), Label(name="framework", value="pytest")],
        start=now_ms,
        stop=now_ms,
    )
    plugin_manager.hook.report_result(result=result)
