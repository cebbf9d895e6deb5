"""Two runs side by side: what is paired with what, what is said of it, and what CI fails on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_rltask.analysis.compare import Compared, Comparison, compare
from pytest_rltask.analysis.compare_text import comparison_lines, comparison_markdown
from pytest_rltask.analysis.paired import Pairs
from pytest_rltask.run.load import Run
from pytest_rltask.run.planned import PlannedTrial
from pytest_rltask.run.record import Outcome, Record
from tests.analysis.judged_runs import ended, run_of, trials_of

MIXED = ended("pppppppp" + "m" * 12)
Trials = list[tuple[PlannedTrial, Record]]


def one(a: Trials, b: Trials) -> Compared:
    """Compare two runs of one row each."""
    (row,) = compare(run_of(a), run_of(b, name="run_b")).rows
    return row


def text_of(found: Comparison) -> str:
    return "\n".join(comparison_lines(found))


def test_trials_are_paired_by_seed_whatever_their_order() -> None:
    a = trials_of(ended("ppmmpm"))
    b = trials_of(ended("pmpmpm"))

    found = one(a, b[::-1])

    assert found.pairs == Pairs(both=2, only_a=1, only_b=1, none=2)
    assert (found.unpaired, found.alone, found.difference, found.p) == ("", (0, 0), 0.0, 1.0)
    assert found.word == "not told apart"


def test_errored_trials_are_left_out_and_counted_and_their_partners_too() -> None:
    found = one(trials_of(ended("pemmmm")), trials_of(ended("ppmmee")))

    assert found.pairs == Pairs(both=1, only_a=0, only_b=0, none=2)
    assert (found.a.errored, found.b.errored, found.alone) == (1, 2, (2, 1))
    told = text_of(compare(run_of(trials_of(ended("pemmmm"))), run_of(trials_of(ended("ppmmee")))))
    assert "2 without a grade left out" in told
    assert "without a pair, and left out: 2 of A, 1 of B" in told


def test_a_cheat_counts_as_missed() -> None:
    found = one(trials_of(ended("ppp")), trials_of(ended("ccp")))
    assert found.pairs == Pairs(both=1, only_a=2, only_b=0, none=0)
    assert found.b.cheated == 2
    assert found.b.scores == (1.0, 1.0, 1.0, 1.0, 1.0), "what cheats scored says nothing of skill"


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"task_digest": "other"}, "task changed"),
        ({"prompt_digest": "other"}, "prompt changed (20 of 20 seeds)"),
    ],
)
def test_what_is_another_task_is_unpaired_with_the_reason(changed: dict[str, str], why: str) -> None:
    found = one(trials_of(MIXED), trials_of(ended("p" * 2 + "m" * 18), **changed))

    assert (found.pairs, found.unpaired, found.alone) == (None, why, (0, 0))
    assert found.difference == pytest.approx(-6 / 20)
    assert found.p == pytest.approx(0.0648, abs=1e-4)  # scipy.stats.fisher_exact([[8, 12], [2, 18]])
    assert found.interval is not None
    assert found.interval[0] < found.difference < found.interval[1]  # type: ignore[operator]
    assert found.is_changed


def test_prompts_and_tools_that_changed_are_named() -> None:
    tools = [{"name": "run"}, {"name": "look"}]
    found = one(
        trials_of(MIXED, tools=tools[:1]), trials_of(MIXED, tools=tools, tools_digest="ab" * 8, prompt_digest="x")
    )
    assert [str(change) for change in found.changes] == [
        "prompt one text -> another for 20 of 20 seeds",
        "tools run (tools) -> run, look (abababab)",
    ]


def test_other_seeds_are_unpaired_and_a_longer_run_is_not() -> None:
    a = trials_of(MIXED)
    assert one(a, trials_of(MIXED, seed=55)).unpaired == "seeds differ (7 of 20 in both)"
    assert one(a, trials_of(MIXED, seed=52)).unpaired == ""  # half of them is enough
    longer = one(a, trials_of([*MIXED, *ended("pp")]))
    assert longer.pairs is not None
    assert (longer.pairs.total, longer.alone) == (20, (0, 2))


def test_worse_and_better_are_said_where_the_exact_test_shows_them() -> None:
    good, bad = ended("p" * 10 + "m" * 10), ended("m" * 20)
    found = one(trials_of(good), trials_of(bad))
    assert (found.word, found.difference) == ("worse", -0.5)
    assert one(trials_of(bad), trials_of(good)).word == "better"
    assert one(trials_of(ended("pppppm")), trials_of(ended("mmmmmm"))).word == "not told apart"  # p = 1/16


def test_many_tasks_raise_no_more_alarms_than_one() -> None:
    one_task = trials_of(ended("pppppp" + "m" * 14)), trials_of(ended("m" * 20))  # p = 1/32
    assert one(*one_task).word == "worse"

    rows = [[trials_of(ended("m" * 20), task=f"t{n}") for n in range(4)] for _ in range(2)]
    found = compare(run_of(one_task[0], *rows[0]), run_of(one_task[1], *rows[1]))

    assert [row.word for row in found.rows] == ["not told apart"] * 5
    assert (found.rows[0].p, found.rows[0].p_all) == (1 / 32, 5 / 32)


def test_one_model_each_is_paired_across_models() -> None:
    found = one(trials_of(MIXED, model="claude-a"), trials_of(MIXED, model="claude-b"))
    assert found.pairs is not None
    assert [str(change) for change in found.changes] == ["model claude-a -> claude-b"]
    told = text_of(compare(run_of(trials_of(MIXED, model="x")), run_of(trials_of(MIXED, model="y"))))
    assert "sum by x (A) and y (B), across models: not told apart" in told


def test_of_several_models_each_is_paired_with_itself_and_the_rest_is_named() -> None:
    a = [trials_of(MIXED, model=name) for name in ("x", "y")] + [trials_of(MIXED, task="old")]
    b = [trials_of(MIXED, model=name) for name in ("z", "y")]

    found = compare(run_of(*a), run_of(*b))

    assert [(row.a.model, row.b.model) for row in found.rows] == [("y", "y")]
    assert found.only_a == ["sum by x", "old by claude-haiku-4-5-20251001"]
    assert found.only_b == ["sum by z"]
    assert "only in A   sum by x" in text_of(found)


def test_a_test_that_moved_is_found_by_its_task() -> None:
    moved = trials_of(MIXED)
    for index, (plan, record) in enumerate(moved):
        record.trial_id = plan.trial_id.replace("test_sum.py", "math/test_sum.py")
        moved[index] = replace(plan, test="math/test_sum.py::test_sum", trial_id=record.trial_id), record
    assert one(trials_of(MIXED), moved).pairs is not None


def test_what_other_code_graded_than_the_plan_says_is_no_part_of_it() -> None:
    b = trials_of(MIXED, planned={"grader": "new"}, grader="new")
    b[0][1].grader = "old"
    assert one(trials_of(MIXED), b).b.judged == 19


def test_a_run_without_a_judged_trial_is_nothing_to_compare() -> None:
    found = one(trials_of(MIXED), trials_of(ended("e" * 20)))
    assert (found.word, found.unpaired, found.p) == ("nothing to compare", "no judged trial in B", None)
    assert found.alone == (0, 0)
    assert not found.is_changed


def test_a_trial_that_was_cut_off_is_left_out_and_counted() -> None:
    cut = run_of(trials_of(MIXED), name="run_b")
    gone = cut.plan[0].trial_id
    del cut.records[gone]
    cut.starts[gone] = ["2026-01-01T00:00:00+00:00"]
    (found,) = compare(run_of(trials_of(MIXED)), cut).rows
    assert (found.b.judged, found.b.errored, found.alone) == (19, 1, (1, 0))


def test_what_changed_is_named() -> None:
    a = trials_of(MIXED, planned={"limits": {"turns": 10}}, sandbox="bwrap")
    b = trials_of(MIXED, planned={"limits": {"turns": 12}}, sandbox="none")
    header = {"packages": {"numpy": "2.5.0", "scipy": "1.0"}, "git_commit": "beef+"}
    found = compare(run_of(a), run_of(b, command="pytest suite --runs=20 --seed 43 -x --log-dir=new", **header))

    assert [str(change) for change in found.changes] == [
        "option --seed 42 -> 43",
        "option --gate point, only in A",
        "option -x -, only in B",
        "commit c0ffee -> beef+",
        "package numpy 2.4.6 -> 2.5.0",
        "package scipy 1.0, only in B",
    ]
    assert [str(change) for change in found.rows[0].changes] == ["limit turns 10 -> 12", "sandbox bwrap -> none"]


@pytest.mark.parametrize(
    ("fail_on", "b", "reasons"),
    [
        (None, "m" * 20, []),
        ("worse", "p" * 8 + "m" * 12, []),
        ("worse", "m" * 20, ["sum by claude-haiku-4-5-20251001 is worse"]),
        ("worse", "p" * 20, []),
        ("changed", "p" * 8 + "m" * 12, []),
        ("changed", "p" * 20, ["sum by claude-haiku-4-5-20251001 is better"]),
    ],
)
def test_ci_fails_on_what_it_was_asked_to_fail_on(fail_on: str | None, b: str, reasons: list[str]) -> None:
    assert compare(run_of(trials_of(MIXED)), run_of(trials_of(ended(b)))).fails(fail_on) == reasons


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"task_digest": "x"}, "is another: the task"),
        ({"prompt_digest": "x"}, "is another: its prompts"),
        ({"grader": "x"}, "is another: its grader"),
    ],
)
def test_what_is_another_fails_changed_and_not_worse(fields: dict[str, str], reason: str) -> None:
    found = compare(run_of(trials_of(MIXED, grader="a")), run_of(trials_of(MIXED, **{"grader": "a", **fields})))
    assert found.fails("worse") == []
    assert [told.partition(" by ")[2].partition(" ")[2] for told in found.fails("changed")] == [reason]


def test_a_task_that_is_gone_fails_changed() -> None:
    both = compare(run_of(trials_of(MIXED), trials_of(MIXED, task="old")), run_of(trials_of(MIXED)))
    assert both.fails("changed") == ["old by claude-haiku-4-5-20251001 is only in A"]


HOSTILE: list[Outcome] = ended("pm")


def hostile() -> Run:
    row = trials_of(HOSTILE, model="m|\x1b[31m\n<b>@all`", sandbox="\x1b]0;x\x07| a |")
    return run_of(
        row, name="run_<b>", command="pytest --model '\x1b[2J'", packages={"<i>": "|`x`|"}, git_commit="a\r\nb"
    )


def test_what_a_run_says_is_text_in_a_terminal_and_in_markdown() -> None:
    found = compare(run_of(trials_of(HOSTILE)), hostile())

    told, markdown = text_of(found), comparison_markdown(found)

    assert not [char for char in told.replace("\n", "") if not char.isprintable()]
    assert not [char for char in markdown.replace("\n", "") if not char.isprintable()]
    assert "<" not in markdown.replace("&lt;", "")
    assert "@" not in markdown
    rows = [line for line in markdown.splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in rows} == {12}
