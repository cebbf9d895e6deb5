"""A reply that holds nothing although the model wrote something: it is asked once, and not graded for a slip."""

from __future__ import annotations

import asyncio

from pytest_rltask.models.replay import ReplayModel, Replays
from pytest_rltask.trial.play import play
from pytest_rltask.trial.turns import EMPTY
from tests.claude.desk import Desk, TrialPlayer, message, spec_of, submit
from tests.support.messages_api import reply, text, tool_use

ECHO = reply(tool_use("echo", {"text": "a"}))


def test_a_model_is_asked_once_after_an_empty_reply(desk: TrialPlayer):
    played = desk([ECHO, reply(), submit()])

    assert (played.record.outcome, played.record.stop, played.record.turns) == ("passed", "done", 3)
    assert played.answers(2) == [{"type": "text", "text": EMPTY}]
    assert [request.empty for request in played.record.requests] == [False, True, False]


def test_two_empty_replies_in_a_row_are_an_end(desk: TrialPlayer):
    blank = message({"type": "text", "text": " \n"}, stop_reason="end_turn")
    record = desk.mocked(
        [message(tool_use("echo", {"text": "a"}, id="a")), blank, message(stop_reason="end_turn")]
    ).record

    assert (record.outcome, record.stop, record.turns) == ("failed", "end_turn", 3)


def test_each_slip_is_asked_about(desk: TrialPlayer):
    record = desk([reply(), ECHO, reply(), submit()]).record

    assert (record.outcome, record.turns) == ("passed", 4)


def test_words_are_an_end_as_ever(desk: TrialPlayer):
    record = desk([reply(text("I am done."))]).record

    assert (record.stop, record.turns) == ("end_turn", 1)


def test_a_trial_that_ended_with_one_when_nobody_asked_is_replayed_to_the_same_grade(desk: TrialPlayer):
    record = desk([ECHO, reply(), reply()]).record
    record.messages.pop()  # as a run had it in which nobody was asked
    record.requests.pop()

    again = asyncio.run(play(spec_of(Desk()), ReplayModel(Replays([("", record)]))))

    assert (again.outcome, again.stop, again.turns) == (record.outcome, "end_turn", record.turns - 1)
    assert again.messages == record.messages


def test_a_trial_in_which_one_was_asked_about_is_replayed_as_it_was(desk: TrialPlayer):
    record = desk([ECHO, reply(), submit()]).record

    again = asyncio.run(play(spec_of(Desk()), ReplayModel(Replays([("", record)]))))

    assert (again.outcome, again.turns, again.messages) == ("passed", 3, record.messages)
