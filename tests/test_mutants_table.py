"""That what `make mutants` is told of is there: modules, their tests, and the lines of what nobody can notice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.mutants_table import EQUAL, MODULES, Module

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.path)
def test_a_module_and_each_pattern_of_its_tests_name_files(module: Module):
    assert (ROOT / module.path).is_file()
    assert [pattern for pattern in module.tests if not list(ROOT.glob(pattern))] == []


def test_a_mutant_that_nobody_can_notice_is_of_a_line_that_is_there():
    listed = {module.path for module in MODULES}
    assert set(EQUAL) <= listed
    for path, mutants in EQUAL.items():
        lines = {line.strip() for line in (ROOT / path).read_text(encoding="utf-8").splitlines()}
        for (old, new), reason in mutants.items():
            assert old in lines, f"{path}: {old}"
            assert new != old
            assert reason
