"""What goes wrong with the API: what to say of it, whose fault it is, and whether another attempt may fare better."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pytest_rltask.models.api_limits import retry_after_s
from pytest_rltask.models.hopeless import why_hopeless
from pytest_rltask.models.limiter import backoff_s
from pytest_rltask.models.message import Malformed
from pytest_rltask.models.model import Request
from pytest_rltask.models.reach import chain
from pytest_rltask.models.refused import shorter_replies
from pytest_rltask.models.settings import KEY_VARIABLES
from pytest_rltask.models.too_long import said, says_too_long
from pytest_rltask.run.record import FaultKind, error_text

if TYPE_CHECKING:
    from anthropic import APIStatusError

__all__ = [
    "Late",
    "Unsendable",
    "asked_s",
    "blame",
    "describe",
    "is_fatal",
    "is_refusal",
    "is_retryable",
    "is_too_long",
    "may_be_billed",
    "of_media",
    "remedy",
    "unsent",
    "wait_s",
]

TRANSIENT = (408, 409, 429)
"""Statuses below 500 that say nothing of the request itself."""
NEVER_SENT = {
    "LocalProtocolError": "a header holds what no request can carry: a key with a line end, or a control character",
    "UnsupportedProtocol": "the server's address does not begin with http:// or https://",
    "InvalidURL": "the server's address is none",
}
"""What the SDK's HTTP library calls a request that it cannot send, and what that means; its own words quote the key."""
REMEDIES = {
    "key": f"check {KEY_VARIABLES[0]}",
    "money": "add credit or raise the limit of the account, then go on with --resume",
    "rights": "check what the key's account may do",
    "model": "check --model, or --judge if it is a judge, and ANTHROPIC_BASE_URL if it is set",
}


class Unsendable(Exception):
    """No request can be sent at all, as something in the environment is wrong."""


class Late(Exception):
    """A reply did not come in the time that it may take (``--reply-timeout``)."""


def unsent(error: Exception) -> Unsendable | None:
    """Return what an error means if it says that the request cannot be sent, now or ever."""
    if isinstance(error, Unsendable):
        return error
    for cause in chain(error):
        name = type(cause).__name__
        # A connection that is in no state to send on is another matter, and passes.
        if name in NEVER_SENT and (name != "LocalProtocolError" or "header" in str(cause).lower()):
            return Unsendable(f"no request can be sent: {NEVER_SENT[name]}; check the variables ANTHROPIC_*")
    if isinstance(error, TypeError) and "authentication method" in str(error):
        return Unsendable(f"no request can be sent: there is no key; set {KEY_VARIABLES[0]}")
    return None


def describe(error: Exception) -> str | None:
    """Say in a line what went wrong with the API; None if the error is not the API's but ours."""
    import anthropic
    import httpx2

    if (lasting := unsent(error)) is not None:
        return str(lasting)
    match error:
        case anthropic.APIStatusError():
            kind = f", {error.error_code}" if error.error_code else ""
            return f"HTTP {error.status_code}{kind}: {_words(error)}"
        case Late():
            return str(error)
        case TimeoutError() | anthropic.APITimeoutError():
            return "no reply in time"
        case anthropic.APIConnectionError() if _is_blocked(error):
            return f"another plugin of this pytest lets no connection through ({error_text(_origin(error))})"
        case anthropic.APIConnectionError():
            return f"connection failed ({type(error.__cause__).__name__})"
        case Malformed():
            return str(error)
        case anthropic.AnthropicError() | httpx2.HTTPError():
            return f"{type(error).__name__}: {error}"
    return None


def _words(error: APIStatusError) -> str:
    """Return what an answer says: in the API's form, in that of a server of another make, or as plain text."""
    if error.api_message:
        return str(error.api_message)
    body = error.body
    is_page = isinstance(body, str) and body.lstrip().startswith("<")
    words = next(said(body), "") if isinstance(body, dict | str) and not is_page else ""
    return " ".join(words.split()) or type(error).__name__


def may_be_billed(error: Exception) -> bool:
    """Say whether a reply may have been made although it did not arrive: late, or cut off within its body."""
    return isinstance(error, Late) or any("complete message body" in str(cause) for cause in chain(error))


def _origin(error: BaseException) -> BaseException:
    *_, origin = chain(error)
    return origin


def _is_blocked(error: Exception) -> bool:
    """Say whether a connection failed for no fault of the network: pytest-socket raises, where that has an OSError."""
    from anthropic import APIConnectionError

    return isinstance(error, APIConnectionError) and type(_origin(error)).__module__.startswith("pytest_")


def of_media(error: Exception, request: Request) -> str:
    """Say that a server may take no images, where it refuses a request that holds some; empty otherwise."""
    status = getattr(error, "status_code", 0)
    if not request.media or status in TRANSIENT or status in (401, 403, 404) or status < 400:
        return ""
    return (
        "; the request holds images or documents, which not every server and model takes: play another model, or have "
        "the task's tools return text"
    )


def wait_s(error: Exception, attempts: int) -> float:
    """Return the seconds until the next attempt at the earliest: what the API asks for, if not backoff."""
    if is_refusal(error):
        return asked_s(error)
    return max(backoff_s(attempts), asked_s(error))


def asked_s(error: Exception) -> float:
    """Return the seconds that an answer asks to wait."""
    response = getattr(error, "response", None)
    return 0.0 if response is None else retry_after_s(response.headers)


def is_refusal(error: Exception) -> bool:
    """Say whether the API takes no requests for now, whoever sends them."""
    return getattr(error, "status_code", None) in (429, 529) and not is_fatal(error)


def is_retryable(error: Exception) -> bool:
    """Say whether another attempt may fare better."""
    from anthropic import APIStatusError

    if is_fatal(error):
        return False
    if not isinstance(error, APIStatusError):
        return True
    if is_too_long(error):
        return False
    asked = error.response.headers.get("x-should-retry")
    if asked in ("true", "false"):
        return asked == "true"
    return error.status_code in TRANSIENT or error.status_code >= 500


def is_fatal(error: Exception) -> bool:
    """Say whether no other trial could fare better: a wrong key, an unknown model, an empty account."""
    return unsent(error) is not None or bool(_hopeless(error))


def remedy(error: Exception, instead: Mapping[str, str]) -> str:
    """Say what to do about an error that no other trial could escape, or that says so itself; empty if nothing.

    Args:
        error: that was met.
        instead: what to do, by what is wrong, where a server is not the API itself.
    """
    from anthropic import APIStatusError

    if what := _hopeless(error):
        return instead.get(what) or REMEDIES[what]
    return shorter_replies(error.status_code, error.body) if isinstance(error, APIStatusError) else ""


def _hopeless(error: Exception) -> str:
    from anthropic import APIStatusError

    return why_hopeless(error.status_code, _body(error)) if isinstance(error, APIStatusError) else ""


def is_too_long(error: Exception) -> bool:
    """Say whether the server takes no conversation of this length."""
    from anthropic import APIStatusError

    return isinstance(error, APIStatusError) and says_too_long(error.status_code, error.body)


def _body(error: APIStatusError) -> object:
    return [error.body, error.error_code or ""]


def blame(error: Exception, request: Request) -> tuple[FaultKind, str]:
    """Return whose fault it is that a request has no answer, and how to begin to say so."""
    if is_too_long(error) and not request.extends:
        return "task", "the task's prompt and tools are too long for the model, or for its server: "
    if _is_rejected(error) and request.extends:
        # Its beginning was taken, so what the conversation came to is at fault, and with it what the model did.
        return "harness", "the API takes the conversation no further: "
    return "harness" if _is_blocked(error) else "api", ""


def _is_rejected(error: Exception) -> bool:
    """Say whether the API refused a request for what it is, and not for who sends it or when."""
    status = getattr(error, "status_code", 0)
    return 400 <= status < 500 and status not in TRANSIENT and not is_fatal(error)
