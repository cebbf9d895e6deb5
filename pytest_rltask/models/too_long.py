"""Whether a server says that a request is too long for it: one table of the wordings, as servers and proxies have them.

The API has no code for it, and each server words it in its own way. A wording stands here only if it says nothing but
this: "too many tokens" may be about tokens a minute.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

__all__ = ["said", "says_too_long"]

ALWAYS = 413
"""The status that means it whatever is said: the API's own limit on bytes, or that of a proxy before it."""
STATUSES = frozenset({400, 422, 500})
"""Statuses under which servers word it; some take what their model refuses for an error of their own."""

WORDINGS = {
    "Anthropic": (r"prompt is too long", r"input length and `?max_tokens`? exceed context limit"),
    "Bedrock": (r"input is too long", r"too many input tokens"),
    "LiteLLM": (r"ContextWindowExceeded",),
    "OpenAI": (
        r"context[ _]length[ _]exceeded",
        r"maximum context length",
        r"exceeds the context window",
        r"reduce the length of the (messages|prompt|input)",
    ),
    "vLLM": (r"maximum (model|context|input) length", r"prompt .{0,60}too long to fit into the model"),
    "SGLang": (r"longer than the model's context length",),
    "TGI": (r"`inputs` tokens \+ `max_new_tokens` must be", r"`inputs` must have less than"),
    "llama.cpp": (
        r"exceeds the available context size",
        r"exceed_context_size",
        r"context size has been exceeded",
        r"input is too large to process",
    ),
    "Ollama": (r"prompt too long", r"exceeds? (the )?(maximum )?context length", r"exceeded (max )?context length"),
    "LM Studio": (r"greater than the context length", r"context length of only \d+ tokens"),
    "Gemini": (r"input token count .{0,60}exceeds the maximum number of tokens",),
    "Mistral": (r"too large for model with \d+ maximum context", r"tokens in the prompt exceeds? the model"),
    "Cohere": (r"number of tokens in the prompt cannot exceed",),
    "Copilot": (r"prompt token count .{0,40}exceeds the limit",),
    "xAI": (r"maximum prompt length is",),
    "Moonshot": (r"exceeded model token limit",),
    "MiniMax": (r"context window exceeds limit",),
    "GLM": (r"prompt exceeds max length", r"model_context_window_exceeded"),
    "DashScope": (r"range of input length should be",),
}
"""What servers say, by whose wording it is; regular expressions, whatever the case."""
SAYING = ("error", "message", "msg", "code", "type", "error_code", "error_type", "detail", "details")
"""Fields in which servers say what is wrong; some quote the whole request in others."""
MAX_DEPTH = 5


def says_too_long(status: int, body: object) -> bool:
    """Say whether an error says that the request was too long.

    Args:
        status: of the answer.
        body: of the answer, parsed if it is JSON.

    Example:
        >>> says_too_long(400, {"error": {"message": "prompt is too long: 210000 tokens > 200000 maximum"}})
        True
        >>> says_too_long(400, {"error": {"message": "messages: roles must alternate"}}), says_too_long(413, None)
        (False, True)
    """
    return status == ALWAYS or (status in STATUSES and any(map(_is_wording, said(body))))


def _is_wording(words: str) -> bool:
    patterns = (pattern for patterns in WORDINGS.values() for pattern in patterns)
    return any(re.search(pattern, words, re.IGNORECASE | re.DOTALL) for pattern in patterns)


def said(body: Any, depth: int = 0) -> Iterator[str]:
    """Yield what an error says in words."""
    match body:
        case str():
            yield body
        case dict() if depth < MAX_DEPTH:
            for field in SAYING:
                yield from said(body.get(field), depth + 1)
        case list() if depth < MAX_DEPTH:
            for entry in body:
                yield from said(entry, depth + 1)
