"""One request to Claude in virtual time: which faults are tried again, after how long, how often, and what is kept."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import anthropic
import httpx2
import pytest

from pytest_rltask.models import ModelFault, Reply, Request
from pytest_rltask.models import limiter as limiter_module
from pytest_rltask.models.claude import ClaudeModel
from tests.claude import virtual_time

MODEL = "claude-haiku-4-5-20251001"
KEY = "sk-ant-a-secret-key"


@pytest.fixture(autouse=True)
def _no_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limiter_module._JITTER, "uniform", lambda low, high: high)


def message(text: str = "Hm.", *, tokens: int = 100, **fields: Any) -> dict[str, Any]:
    """Make a reply of the API."""
    usage = {"input_tokens": tokens, "output_tokens": 0}
    content = [{"type": "text", "text": text}]
    known = {"type": "message", "role": "assistant", "model": MODEL, "content": content, "usage": usage}
    return {**known, "stop_reason": "end_turn", **fields}


def status(code: int, said: str = "said", *, kind: str | None = None, **headers: str) -> anthropic.APIStatusError:
    """Make a fault that the API tells by a status."""
    headers = {name.replace("_", "-"): value for name, value in headers.items()} | {"request-id": f"req-{code}"}
    response = httpx2.Response(code, headers=headers, request=httpx2.Request("POST", "https://api.test"))
    details = {"details": {"error_code": kind}} if kind else {}
    body = {"type": "error", "error": {"type": "api_error", "message": said, **details}}
    return anthropic.APIStatusError(said, response=response, body=body)


class Api:
    """Answers requests in their order, each after some seconds; the last answer again and again."""

    def __init__(self, *answers: Any, takes_s: float = 0.0) -> None:
        self.answers: Sequence[Any] = answers
        self.takes_s = takes_s
        self.asked_at: list[float] = []
        self.sent: list[dict[str, Any]] = []
        self.messages = SimpleNamespace(with_raw_response=SimpleNamespace(create=self._create))
        self.api_key, self.auth_token, self.base_url = KEY, None, "https://api.test"

    async def _create(self, **arguments: Any) -> Any:
        number = len(self.asked_at)
        self.asked_at.append(asyncio.get_running_loop().time())
        self.sent.append(arguments)
        await asyncio.sleep(self.takes_s)
        answer = self.answers[min(number, len(self.answers) - 1)]
        if isinstance(answer, BaseException):
            raise answer
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        return SimpleNamespace(http_response=SimpleNamespace(content=body), request_id=f"req-{number}", headers={})


def request(deadline: float = 10_000.0, *, extends: bool = False, **fields: Any) -> Request:
    known: dict[str, Any] = {"system": "", "tools": [], "messages": [{"role": "user", "content": "Hm?"}]}
    return Request(**{**known, **fields}, max_tokens=77, deadline=deadline, extends=extends)


def asks(api: Api, *requests: Request, name: str = MODEL) -> list[Reply | ModelFault]:
    """Send requests one after the other, and return what came of each."""

    async def asked() -> list[Reply | ModelFault]:
        model, came = ClaudeModel(name, client=api), list[Reply | ModelFault]()  # type: ignore[arg-type]
        for one in requests or (request(),):
            try:
                came.append(await model.reply(one))
            except ModelFault as fault:
                came.append(fault)
        return came

    return virtual_time.run(asked())


def replied(api: Api, *requests: Request) -> Reply:
    *_, reply = asks(api, *requests)
    assert isinstance(reply, Reply), reply
    return reply


def failed(api: Api, *requests: Request) -> ModelFault:
    *_, fault = asks(api, *requests)
    assert isinstance(fault, ModelFault)
    return fault


# ---- how often, and when ----


def test_a_fault_is_tried_eight_times_each_after_twice_the_time():
    api = Api(status(500))

    fault = failed(api)

    assert api.asked_at == [0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5, 61.5]
    assert str(fault) == "HTTP 500: said (8 attempts)"
    assert (fault.kind, fault.fatal, fault.request_id, fault.billed) == ("api", False, "req-500", None)


def test_the_eighth_attempt_may_succeed_and_what_was_lost_is_told():
    reply = replied(Api(*[status(500)] * 7, message(), takes_s=1.0))

    assert reply.latency_s == 61.5 + 8
    assert reply.lost_s == 61.5 + 7
    assert reply.faults == ("HTTP 500: said",) * 7


def test_refusals_count_as_no_attempts_and_are_waited_for_as_long_as_they_ask():
    api = Api(*[status(429, retry_after="40")] * 12, message())

    assert replied(api).lost_s == 12 * 40
    assert api.asked_at == [40 * number for number in range(13)]


def test_a_fault_that_asks_for_more_than_the_usual_wait_is_given_it():
    assert replied(Api(status(500, retry_after="7"), message())).lost_s == 7
    assert replied(Api(status(500, retry_after="0.1"), message())).lost_s == 0.5


@pytest.mark.parametrize("code", [408, 409, 500, 501, 503, 599])
def test_what_may_pass_is_tried_again(code: int):
    assert replied(Api(status(code), message())).faults == (f"HTTP {code}: said",)


@pytest.mark.parametrize("code", [400, 410, 422, 451])
def test_what_is_refused_for_what_it_is_is_tried_once(code: int):
    api = Api(status(code), message())

    assert (str(failed(api)), len(api.asked_at)) == (f"HTTP {code}: said", 1)


@pytest.mark.parametrize(
    ("code", "says", "attempts"), [(500, "false", 1), (400, "true", 2), (500, "maybe", 2), (400, "", 1)]
)
def test_the_api_may_say_whether_to_try_again(code: int, says: str, attempts: int):
    api = Api(status(code, x_should_retry=says), message())

    asks(api)

    assert len(api.asked_at) == attempts


ASKED = httpx2.Request("POST", "https://api.test")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (anthropic.APIConnectionError(request=ASKED), "connection failed (NoneType)"),
        (anthropic.APITimeoutError(request=ASKED), "no reply within 600 s (--reply-timeout)"),
        (anthropic.AnthropicError("odd"), "AnthropicError: odd"),
        (httpx2.ReadError("broken off"), "ReadError: broken off"),
    ],
)
def test_what_goes_wrong_on_the_way_is_tried_again(error: Exception, said: str):
    assert replied(Api(error, message())).faults == (said,)


# ---- the end of the time ----


@pytest.mark.parametrize(("left_s", "attempts"), [(0.4, 1), (0.5, 1), (0.6, 2), (1.5, 2), (1.6, 3)])
def test_no_attempt_is_begun_for_which_there_is_no_time(left_s: float, attempts: int):
    api = Api(status(500))

    fault = failed(api, request(left_s))

    assert len(api.asked_at) == attempts
    assert str(fault) == "HTTP 500: said; no time is left in the trial for another attempt (--trial-timeout)"


@pytest.mark.parametrize("code", [500, 529])
def test_a_wait_that_the_trial_has_no_time_for_is_told(code: int):
    api = Api(status(code, retry_after="3600"), takes_s=1.0)

    assert str(failed(api, request(101))) == (
        f"HTTP {code}: said; it asks to wait 3,600 s, and the trial has 100 s left (--trial-timeout)"
    )
    assert len(api.asked_at) == 1


def test_an_attempt_without_an_answer_ends_after_ten_minutes_and_at_the_deadline():
    api = Api(message(), takes_s=1e6)

    fault = failed(api, request(1000))

    assert api.asked_at == [0, 600.5]
    assert str(fault).startswith("no reply in time")


def test_who_gets_no_place_in_time_is_told_the_last_fault_too():
    async def asked() -> tuple[str, str]:
        model, api = ClaudeModel(MODEL, client=Api(status(429, retry_after="50"))), "api"  # type: ignore[arg-type]
        refused = asyncio.create_task(model.reply(request(1000)))
        await asyncio.sleep(1)
        with pytest.raises(ModelFault) as late:
            await model.reply(request(20))
        refused.cancel()
        return str(late.value), api

    said, _ = virtual_time.run(asked())

    assert said == "requests wait for another 49 s, and the trial has 19 s left (--trial-timeout)"


# ---- whose fault ----


@pytest.mark.parametrize("code", [401, 402, 403, 404])
def test_what_no_request_could_escape_ends_all_without_asking_again(code: int):
    api = Api(status(code), message())

    first, second = asks(api, request(), request())

    assert isinstance(first, ModelFault)
    assert isinstance(second, ModelFault)
    assert (first.fatal, second.fatal, str(second), len(api.asked_at)) == (True, True, str(first), 1)


def test_a_spend_limit_is_fatal_though_it_comes_as_a_refusal():
    fault = failed(Api(status(429, kind="spend_limit_reached", retry_after="1")))

    assert fault.fatal
    assert str(fault).startswith("HTTP 429, spend_limit_reached: said; add credit or raise the limit of the account")


def test_a_passing_fault_ends_no_other_request():
    api = Api(*[status(500)] * 8, message())

    first, second = asks(api, request(), request())

    assert isinstance(first, ModelFault)
    assert isinstance(second, Reply)


@pytest.mark.parametrize(
    ("code", "extends", "kind", "begins"),
    [
        (422, True, "harness", "the API takes the conversation no further: HTTP 422"),
        (400, True, "harness", "the API takes the conversation no further: HTTP 400"),
        (499, True, "harness", "the API takes the conversation no further: HTTP 499"),
        (422, False, "api", "HTTP 422"),
        (401, True, "api", "HTTP 401"),
        (408, True, "api", "HTTP 408"),
        (409, True, "api", "HTTP 409"),
        (500, True, "api", "HTTP 500"),
        (399, True, "api", "HTTP 399"),
    ],
)
def test_a_conversation_that_is_refused_for_what_it_became_is_not_the_apis_fault(
    code: int, extends: bool, kind: str, begins: str
):
    fault = failed(Api(status(code)), request(100, extends=extends))

    assert (fault.kind, str(fault)[: len(begins)]) == (kind, begins)


TOO_LONG = "prompt is too long: 250000 tokens > 200000 maximum"


def test_a_conversation_that_became_too_long_ends_and_one_that_began_so_is_the_tasks():
    reply = replied(Api(status(400, TOO_LONG)), request(extends=True))
    fault = failed(Api(status(400, TOO_LONG)), request())

    assert (reply.stop_reason, reply.content, reply.model) == ("model_context_window_exceeded", [], MODEL)
    assert (reply.request_id, reply.faults, reply.cost_usd) == ("req-400", (f"HTTP 400: {TOO_LONG}",), 0)
    assert (fault.kind, str(fault)) == (
        "task",
        f"the task's prompt and tools are too long for the model, or for its server: HTTP 400: {TOO_LONG}",
    )
