"""A conversation that outgrows what the model or its server takes is graded; a prompt that does is the task's fault."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pytest_rltask.models.too_long import says_too_long
from tests.claude.desk import DeskEpisode, TrialPlayer, submit
from tests.support.messages_api import raw, reply, status, text, tool_use

ECHO = tool_use("echo", {"text": "a"})

SAID = {
    "Anthropic": "prompt is too long: 210000 tokens > 200000 maximum",
    "Anthropic with the reply": "input length and `max_tokens` exceed context limit: 174167 + 64000 > 200000, "
    "decrease input length or `max_tokens` and try again",
    "Bedrock": "Input is too long for requested model.",
    "Bedrock Titan": "400 Bad Request: Too many input tokens. Max input tokens: 8192, request input token count: 9000",
    "LiteLLM": "litellm.ContextWindowExceededError: litellm.BadRequestError: OpenAIException - too much",
    "OpenAI": "This model's maximum context length is 8192 tokens. However, your messages resulted in 8545 tokens. "
    "Please reduce the length of the messages.",
    "Responses": "Your input exceeds the context window of this model. Please adjust your input and try again.",
    "vLLM": "This model's maximum context length is 16384 tokens. However, you requested 122946 tokens (112946 in the "
    "messages, 10000 in the completion).",
    "vLLM's processor": "The decoder prompt (length 5951) is longer than the maximum model length of 4096.",
    "vLLM's older one": "The prompt (total length 25938) is too long to fit into the model (context length 4096).",
    "SGLang": "The input (564686 tokens) is longer than the model's context length (524288 tokens).",
    "TGI": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000 `inputs` tokens",
    "llama.cpp": "the request exceeds the available context size, try increasing it",
    "llama.cpp with numbers": "request (9100 tokens) exceeds the available context size (8192 tokens)",
    "llama.cpp in a reply": "Context size has been exceeded.",
    "Ollama": "prompt too long; exceeded max context length by 100918 tokens",
    "LM Studio": "The number of tokens to keep from the initial prompt is greater than the context length.",
    "Gemini": "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
    "Mistral": "Prompt contains 40000 tokens, too large for model with 32768 maximum context length",
    "Cohere": "too many tokens: total number of tokens in the prompt cannot exceed 4081",
    "Copilot": "prompt token count of 140000 exceeds the limit of 128000",
    "xAI": "This model's maximum prompt length is 131072 but the request contains 537812 tokens.",
    "Moonshot": "Invalid request: Your request exceeded model token limit: 131072",
    "MiniMax": "invalid params, context window exceeds limit",
    "GLM": "Prompt exceeds max length",
    "DashScope": "Range of input length should be [1, 30720]",
}
OTHERWISE = [
    "messages: roles must alternate",
    "messages.3.content.1: `tool_use` ids must be unique",
    "max_tokens: 64000 > 8192, which is the maximum allowed number of output tokens",
    "Too many tokens, please wait before trying again.",
    "Rate limit exceeded: too many tokens per minute",
    "system: text content blocks must be non-empty",
    "tools.0.name: String should have at most 128 characters",
    "thinking blocks cannot be modified",
]
BODIES = {
    "OpenAI's code": {"error": {"message": "No.", "code": "context_length_exceeded"}},
    "llama.cpp's type": {"error": {"code": 400, "message": "No.", "type": "exceed_context_size_error", "n_ctx": 8192}},
    "vLLM's older shape": {"object": "error", "message": SAID["vLLM"], "code": 400},
    "one within another": {"error": {"message": json.dumps({"error": {"message": SAID["Anthropic"]}})}},
    "a list": {"detail": [{"msg": SAID["llama.cpp"], "loc": ["body"]}]},
    "a text": "<h1>400</h1> prompt is too long",
}


@pytest.mark.parametrize("who", SAID)
def test_each_servers_wording_is_known(who: str):
    assert says_too_long(400, {"type": "error", "error": {"type": "invalid_request_error", "message": SAID[who]}})


@pytest.mark.parametrize("shape", BODIES)
def test_it_is_found_in_each_shape_of_an_error(shape: str):
    assert says_too_long(400, BODIES[shape])


@pytest.mark.parametrize("said", OTHERWISE)
def test_other_refusals_are_not_taken_for_it(said: str):
    assert not says_too_long(400, {"error": {"message": said}})


@pytest.mark.parametrize(
    ("code", "body"),
    [
        (429, {"error": {"message": SAID["Anthropic"]}}),
        (401, {"error": {"message": SAID["Anthropic"]}}),
        (400, None),
        (400, {"error": None}),
        (400, {"error": {"message": "field required"}, "input": {"messages": [{"content": SAID["Anthropic"]}]}}),
    ],
)
def test_neither_another_status_nor_a_quoted_request_says_it(code: int, body: object):
    assert not says_too_long(code, body)


def test_an_error_nested_without_end_says_nothing():
    body: Any = "prompt is too long"
    for _ in range(2000):
        body = {"error": body}

    assert not says_too_long(400, body)


@pytest.mark.parametrize(
    "step",
    [
        status(400, message=SAID["Anthropic with the reply"]),
        status(400, message=SAID["Bedrock"], headers={"x-should-retry": "true"}),
        status(500, message=SAID["llama.cpp in a reply"]),
        status(413, error_type="request_too_large"),
        raw(413, "text/html", b"<h1>413 Request Entity Too Large</h1>"),
        raw(400, "application/json", json.dumps(BODIES["OpenAI's code"]).encode()),
    ],
)
def test_a_conversation_that_becomes_too_long_is_graded_and_costs_what_was_billed(desk: TrialPlayer, step: Any):
    played = desk([reply(ECHO), step])

    record = played.record
    assert (record.outcome, record.stop, record.label) == (
        "failed",
        "model_context_window_exceeded",
        "context window full",
    )
    assert record.reason == "not 12 (ended by: context window full)"
    assert record.requests[1].faults[0].startswith("HTTP ")
    assert record.cost_usd == record.requests[0].cost_usd
    assert record.requests[1].request_id
    assert len(played.requests) == 2
    assert played.events == ["echo a", "finish", "grade", "close"]


def test_an_answer_without_content_was_an_answer(desk: TrialPlayer):
    class Patient(DeskEpisode):
        def nudge(self) -> str:
            return "Please submit."

    record = desk([reply(), status(413)], kind=Patient).record

    assert (record.outcome, record.label) == ("failed", "context window full")


@pytest.mark.parametrize("step", [status(400, message=SAID["vLLM"]), status(413), status(500, message=SAID["Ollama"])])
def test_a_first_request_that_is_too_long_is_the_tasks_fault(desk: TrialPlayer, step: Any):
    played = desk([step])

    fault = played.record.fault
    assert fault
    assert (played.record.outcome, fault.kind, fault.fatal, len(played.requests)) == ("errored", "task", False, 1)
    assert fault.message.startswith("the task's prompt and tools are too long for the model, or for its server: HTTP ")


@pytest.mark.parametrize("step", [status(400), status(422), status(400, headers={"x-should-retry": "true"})])
def test_a_conversation_refused_for_another_reason_is_errored_and_not_the_apis_fault(desk: TrialPlayer, step: Any):
    record = desk([reply(text("Hm."), ECHO), step]).record

    assert record.fault
    assert (record.outcome, record.fault.kind) == ("errored", "harness")
    assert record.fault.message.startswith("the API takes the conversation no further: HTTP 4")


def test_a_first_request_refused_for_another_reason_is_the_apis_fault(desk: TrialPlayer):
    fault = desk([status(400), submit()]).record.fault

    assert fault
    assert (fault.kind, fault.message) == ("api", "HTTP 400: scripted invalid_request_error")
