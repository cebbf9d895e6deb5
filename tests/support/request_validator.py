"""Says what is wrong with a Messages API request, by its shape and by the conversation it belongs to.

Shape: the JSON schema of the anthropic SDK's own types, closed against unknown keys, plus the rules no schema
states (every `tool_use` answered once and first, no empty text, ...). History: a request must be one of

* an *opening*: no assistant message yet. It starts a conversation, or retries an identical opening that failed;
* a *retry*: exactly the latest request of a conversation once more;
* a *continuation*: the latest request's messages, then the answer that request got, word for word, then at least
  one message more. (Nothing more after `pause_turn`; no assistant message after an answer without content,
  which the API refuses to take back.)

Trials may start with the same prompt, so a first message does not name a conversation. What does is the
history: the ids in the answers given to it. Where even that is equal (openings; answers without tool calls) the
oldest conversation that is waiting for just this request takes it, which is right whenever it matters, since
equal histories have equal futures. A discriminator (one string a trial) keeps trials apart completely.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import jsonschema

from tests.support.request_schemas import schemas, violations_of

Body = Mapping[str, Any]
Message = Mapping[str, Any]

_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
# The SDK's schema shares one content union between both roles; the API does not.
_ONLY_ASSISTANT = {"tool_use", "thinking", "redacted_thinking", "server_tool_use"}
_ONLY_USER = {"tool_result", "image", "document", "search_result"}


@dataclass
class Conversation:
    """What is known of one conversation: its latest request and what became of it."""

    key: str
    """Unique name: `c1`, `c2`, ... in order of first requests."""
    discriminator: str
    """What the caller gave to tell this trial from others; empty if nothing."""
    messages: list[Message] = field(default_factory=list)
    """The messages of the latest accepted request."""
    params: Mapping[str, Any] = field(default_factory=dict)
    """Everything but the messages of that request."""
    turn: int = 0
    """Answers the history holds: the number of its assistant messages, but for answers without content."""
    attempt: int = 0
    """How many times the latest request was made before: 0 is the first attempt."""
    state: Literal["in flight", "failed", "answered"] = "in flight"
    """Of the latest attempt."""
    answers: list[Message] = field(default_factory=list)
    """Messages answered to the latest request: several if an answer got lost and was asked for again."""

    def continued_by(self, messages: Sequence[Message]) -> bool:
        """Whether the messages are the latest request's plus an answer it got."""
        n = len(self.messages)
        if len(messages) <= n or list(messages[:n]) != self.messages:
            return False
        following = messages[n]
        if following.get("role") == "assistant":
            return any(answer["content"] == following.get("content") for answer in self.answers)
        return any(not answer["content"] for answer in self.answers)


@dataclass(frozen=True)
class Verdict:
    """What the validator made of one request."""

    violations: list[str]
    """What is wrong, in words; empty if nothing."""
    conversation: Conversation | None
    """Where the request belongs; None if it has violations."""
    is_new: bool = False
    """Whether the request starts that conversation."""


class RequestValidator:
    """Checks requests and follows their conversations.

    Whoever answers must tell: `answered` with the message that was delivered in full, or `failed`. Not
    thread safe.

    >>> validator = RequestValidator()
    >>> validator.check({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}], "top_k": 1})
    ["'top_k' is not a parameter"]
    """

    def __init__(self) -> None:
        self.conversations: list[Conversation] = []
        self._by_tool_id: dict[str, list[Conversation]] = {}
        self._openings: dict[str, list[Conversation]] = {}
        self._unechoed: list[Conversation] = []  # given an answer without content: no assistant message shows it
        self._valid_params: set[str] = set()

    def check(self, body: Body, *, discriminator: str = "") -> list[str]:
        """Return what is wrong with the next request; if nothing, remember it."""
        return self.place(body, discriminator=discriminator).violations

    def place(self, body: Body, *, discriminator: str = "") -> Verdict:
        """Like `check`, and tell which conversation the request belongs to."""
        if violations := self._check_params(body):
            return Verdict(violations, None)
        messages: Sequence[Message] = body["messages"]
        if any(message.get("role") == "assistant" for message in messages) or any(
            known.discriminator == discriminator and (known.messages == messages or known.continued_by(messages))
            for known in self._unechoed
        ):
            return self._place_in_history(body, discriminator)

        if violations := list(_check_messages(messages)):
            return Verdict(violations, None)
        openings = self._openings.setdefault(json.dumps([discriminator, messages], sort_keys=True), [])
        openings[:] = [known for known in openings if not (known.turn or known.answers)]  # they can only be continued
        for waiting in openings:
            if waiting.state == "failed" and waiting.params == _params(body):
                return self._retried(waiting)
        conversation = Conversation(f"c{len(self.conversations) + 1}", discriminator)
        self.conversations.append(conversation)
        openings.append(conversation)
        return Verdict([], self._requested(conversation, body), is_new=True)

    def answered(self, conversation: Conversation, message: Message) -> None:
        """Note the message with which the latest request was answered, once it is delivered."""
        conversation.answers.append(message)
        conversation.state = "answered"
        if not message["content"]:
            self._unechoed.append(conversation)
        for tool_id in _ids(message, "tool_use", "id"):
            known = self._by_tool_id.setdefault(tool_id, [])
            if conversation not in known:
                known.append(conversation)

    def failed(self, conversation: Conversation) -> None:
        """Note that the latest attempt got no usable answer, so that the same request may come again."""
        conversation.state = "failed"

    def _place_in_history(self, body: Body, discriminator: str) -> Verdict:
        messages: list[Message] = list(body["messages"])
        candidates = self._candidates(messages, discriminator)
        repeated = [known for known in candidates if known.messages == messages]
        continued = next((known for known in candidates if known.continued_by(messages)), None)
        # A failed request comes again before anything else does; an answered one only if its answer got lost.
        retried = next((known for known in repeated if known.state == "failed"), None)
        if retried is None and continued is None and repeated:
            retried = repeated[0]
        conversation = retried or continued
        if conversation is None:
            violations = [_what_changed(messages, candidates), *_check_messages(messages)]
            return Verdict(violations, None)

        violations = [
            f"{name} changed within a conversation"
            for name in ("model", "system", "tools")
            if body.get(name) != conversation.params.get(name)
        ]
        if retried is not None:
            return Verdict(violations, None) if violations else self._retried(retried)

        # Everything up to here has been checked before, and the answer is the server's own.
        start = len(conversation.messages)
        start += messages[start]["role"] == "assistant"
        violations += _check_messages(messages, start=start)
        if start == len(messages) and not any(a.get("stop_reason") == "pause_turn" for a in conversation.answers):
            violations.append(f"messages.{start - 1}: the last message is the assistant's: prefill is not supported")
        violations += _unreturnable(messages[start - 1], start - 1)
        return Verdict(violations, None) if violations else Verdict([], self._requested(conversation, body))

    def _candidates(self, messages: Sequence[Message], discriminator: str) -> list[Conversation]:
        """Conversations the history can belong to: by its newest known tool call, else all of the discriminator."""
        for message in reversed(messages):
            if message.get("role") == "assistant":
                for tool_id in _ids(message, "tool_use", "id"):
                    if known := [c for c in self._by_tool_id.get(tool_id, ()) if c.discriminator == discriminator]:
                        return known
        return [known for known in self.conversations if known.discriminator == discriminator]

    def _requested(self, conversation: Conversation, body: Body) -> Conversation:
        """Make the request the conversation's latest."""
        conversation.turn += bool(conversation.answers)
        conversation.messages, conversation.params = list(body["messages"]), _params(body)
        conversation.attempt, conversation.answers, conversation.state = 0, [], "in flight"
        return conversation

    @staticmethod
    def _retried(conversation: Conversation) -> Verdict:
        conversation.attempt += 1
        conversation.state = "in flight"
        return Verdict([], conversation)

    def _check_params(self, body: Body) -> list[str]:
        params = _params(body)
        key = json.dumps(params, sort_keys=True)
        violations = []
        if key not in self._valid_params:
            violations = list(_params_violations(params))
            if not violations:
                self._valid_params.add(key)
        messages = body.get("messages")
        if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
            violations.append("'messages' must be a list of messages")
        return violations


def check_shape(body: Body) -> list[str]:
    """Return what is wrong with a request looked at alone, whatever came before it."""
    return RequestValidator()._check_params(body) or list(_check_messages(body["messages"]))


def _params(body: Body) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name != "messages"}


def _params_violations(params: Mapping[str, Any]) -> Iterator[str]:
    schema = schemas()
    for name in params.keys() - schema.params.keys():
        yield f"{name!r} is not a parameter"
    known = {name: value for name, value in params.items() if name in schema.params and name != "tools"}
    yield from violations_of(schema.body, known, "")
    if isinstance(max_tokens := params.get("max_tokens"), int) and max_tokens < 1:
        yield f"max_tokens: {max_tokens} is less than 1"

    tools = params.get("tools", [])
    if not isinstance(tools, list):
        yield "tools: not a list"
        return
    names = []
    for i, tool in enumerate(tools):
        own = not isinstance(tool, dict) or tool.get("type") in (None, "custom")
        yield from violations_of(schema.own_tool if own else schema.any_tool, tool, f"tools.{i}")
        if not isinstance(tool, dict):
            continue
        names.append(tool_name := tool.get("name"))
        if own and not (isinstance(tool_name, str) and _TOOL_NAME.fullmatch(tool_name)):
            yield f"tools.{i}.name: {tool_name!r} does not match ^{_TOOL_NAME.pattern}$"
        input_schema = tool.get("input_schema")
        if isinstance(input_schema, dict):
            if input_schema.get("type") != "object":
                yield f"tools.{i}.input_schema: type must be 'object'"
            try:
                jsonschema.Draft202012Validator.check_schema(input_schema)
            except jsonschema.SchemaError as error:
                yield f"tools.{i}.input_schema: not a JSON schema: {error.message}"
    if len(set(map(str, names))) < len(names):
        yield f"tools: names are not unique: {', '.join(map(str, names))}"


def _check_messages(messages: Sequence[Message], *, start: int = 0) -> Iterator[str]:
    """Yield what is wrong with the messages from `start` on, given those before it."""
    if not messages:
        yield "messages: empty"
    elif start == 0 and messages[0].get("role") != "user":
        yield "messages.0: the first message must be the user's"
    for i in range(start, len(messages)):
        yield from _check_message(messages[i], i)
        yield from _check_pairing(messages[i - 1] if i else {}, messages[i], i)
    if messages and (unanswered := _ids(messages[-1], "tool_use", "id")):
        yield f"messages.{len(messages) - 1}: tool_use {', '.join(unanswered)} not answered"


def _check_message(message: Message, i: int) -> Iterator[str]:
    schema, role, content = schemas(), message.get("role"), message.get("content")
    if role not in ("user", "assistant", "system"):
        yield f"messages.{i}: role {role!r} is not user, assistant or system"
    for name in message.keys() - {"role", "content"}:
        yield f"messages.{i}: {name!r} is not a field of a message"
    if not isinstance(content, (str, list)):
        yield f"messages.{i}: content must be a string or a list of blocks"
        return
    if not content:
        yield f"messages.{i}: content is empty"
    elif isinstance(content, str) and not content.strip():
        yield f"messages.{i}: text is blank"
    for j, block in enumerate(content if isinstance(content, list) else ()):
        where = f"messages.{i}.content.{j}"
        kind = block.get("type") if isinstance(block, dict) else None
        if not isinstance(kind, str) or kind not in schema.blocks:
            yield f"{where}: unknown block type {kind!r}"
            continue
        yield from violations_of(schema.blocks[kind], block, where)
        if kind in (_ONLY_ASSISTANT if role != "assistant" else _ONLY_USER) or (role == "system" and kind != "text"):
            yield f"{where}: a message of role {role} cannot hold {kind}"
        if kind == "text" and isinstance(block.get("text"), str) and not block["text"].strip():
            yield f"{where}: text is blank"
        inner = block.get("content")
        for k, part in enumerate(inner if kind == "tool_result" and isinstance(inner, list) else ()):
            if isinstance(part, dict) and part.get("text") == "":
                yield f"{where}.content.{k}: text is empty"


def _check_pairing(before: Message, message: Message, i: int) -> Iterator[str]:
    """Every tool_use of one message is answered once, at the head of the next, and nothing else is."""
    asked, given = _ids(before, "tool_use", "id"), _ids(message, "tool_result", "tool_use_id")
    for tool_id in dict.fromkeys(asked):
        if (times := given.count(tool_id)) != 1:
            how = f"answered {times} times" if times else "not answered"
            yield f"messages.{i}: tool_use {tool_id} {how}"
    for tool_id in dict.fromkeys(given):
        if tool_id not in asked:
            yield f"messages.{i}: tool_result for {tool_id}, which the message before did not ask for"
    kinds = [block.get("type") for block in _blocks(message)]
    if "tool_result" in itertools.dropwhile(lambda kind: kind == "tool_result", kinds):
        yield f"messages.{i}: tool results must come first, found {', '.join(map(str, kinds))}"


def _what_changed(messages: Sequence[Message], candidates: Sequence[Conversation]) -> str:
    """Say where a history departs from the closest known conversation."""

    def common(known: Conversation) -> int:
        pairs = zip(messages, known.messages, strict=False)
        return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))

    closest = max(candidates, key=common, default=None)
    if closest is None or not (same := common(closest)):
        return "history: holds assistant messages, but no conversation is known that begins like this"
    if same == len(messages):
        return f"history: shortened from {len(closest.messages)} messages to {same}; it is append-only"
    role = messages[same].get("role")
    if same < len(closest.messages):
        return f"history: messages.{same} ({role}) changed since the request before; it is append-only"
    if not closest.answers:
        return f"history: messages.{same} ({role}) continues a request that was not answered"
    if role != "assistant":
        return f"history: messages.{same} ({role}) stands where the assistant's answer should be"
    answer, sent = json.dumps(closest.answers[-1]["content"]), json.dumps(messages[same].get("content"))
    return f"history: messages.{same} is not what the assistant answered: {_differing(answer, sent)}"


def _differing(answer: str, sent: str, width: int = 60) -> str:
    """Show the place where two texts part."""
    at = next((i for i, (a, b) in enumerate(zip(answer, sent, strict=False)) if a != b), min(len(answer), len(sent)))
    start = max(0, at - width // 3)
    return f"answered ...{answer[start : start + width]}..., sent back ...{sent[start : start + width]}..."


def _unreturnable(answer: Message, i: int) -> list[str]:
    """What the API refuses to take back even though it is its own."""
    if not answer["content"]:
        return [f"messages.{i}: content is empty"]
    return [f"messages.{i}: text is empty" for block in _blocks(answer) if block.get("text") == ""]


def _blocks(message: Message) -> list[dict[str, Any]]:
    content = message.get("content")
    return [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []


def _ids(message: Message, kind: str, name: str) -> list[str]:
    return [str(block.get(name)) for block in _blocks(message) if block.get("type") == kind]
