"""Refusals that no other trial could escape: a wrong key, an empty account, a model that there is not.

Most have a status of their own; the rest is words, and one table of them as servers and proxies have them. A wording
stands here only if it says nothing but this: what passes by itself in a minute must not end a run.
"""

from __future__ import annotations

import re

from pytest_rltask.models.too_long import said

__all__ = ["why_hopeless"]

STATUSES = {401: "key", 402: "money", 403: "rights", 404: "model", 405: "model"}
"""Statuses that mean it whatever is said."""
TYPES = {"authentication_error": "key", "billing_error": "money", "permission_error": "rights"}
"""Types of an error that mean it under whatever status below 500."""
WORDINGS = {
    "money": (
        r"credit balance is too low",  # Anthropic
        r"you will regain access on",  # of usage limits that are months, not minutes
        r"spend_limit_reached",
        r"insufficient[_ ](quota|credits?|balance|funds)",  # OpenAI, OpenRouter, DeepSeek
        r"billing_(not_active|hard_limit_reached)|billing hard limit",
        r"budget has been exceeded",  # LiteLLM
        r"purchase (more )?credits|add (more )?credits",
    ),
    "key": (
        r"invalid (x-)?api[- _]key",
        r"api[- ]key (is )?(not valid|invalid|expired)",
        r"(invalid_api_key|api_key_invalid)",
        r"(oauth )?token has (expired|been revoked)",
        r"this credential is only authorized for use with",
    ),
    "rights": (
        r"(organization|workspace|account|api key) has been (disabled|deactivated|suspended|archived)",
        r"(organization|workspace|account) is (disabled|deactivated|suspended|archived)",
        r"does not have (access|permission) to (this|the) (model|workspace|organization)",
    ),
    "model": (
        r"provided model identifier is invalid",  # Bedrock
        r"invalid model name passed in",  # LiteLLM
        r"model_not_found",
        r"\bmodel:? ['\"`]?[\w./:@-]+['\"`]? (does not exist|(was )?not found)",
    ),
}
"""What servers say, by what is wrong; regular expressions, whatever the case."""


USAGE_LIMIT = r"reached (your|its|the) (specified )?(\w+ ){0,2}(api )?(usage|spend(ing)?|billing) limits?\b"
"""Of money, unless under 429: there a proxy may mean those of a minute."""


def why_hopeless(status: int, body: object) -> str:
    """Say what leaves all trials without a chance: ``key``, ``money``, ``rights`` or ``model``; empty if nothing does.

    Args:
        status: of the answer.
        body: of the answer, parsed if it is JSON.

    Example:
        >>> why_hopeless(400, {"error": {"message": "Your credit balance is too low to access the Anthropic API."}})
        'money'
        >>> why_hopeless(400, {"error": {"message": "messages: roles must alternate"}}), why_hopeless(401, None)
        ('', 'key')
    """
    if status in STATUSES:
        return STATUSES[status]
    if not 400 <= status < 500:
        return ""
    words = list(said(body))
    kinds = (TYPES[one] for one in words if one in TYPES)
    found = (
        what
        for what, patterns in WORDINGS.items()
        if any(re.search(pattern, one, re.IGNORECASE) for pattern in patterns for one in words)
    )
    is_spent = status != 429 and any(re.search(USAGE_LIMIT, one, re.IGNORECASE) for one in words)
    return next(kinds, "") or next(found, "") or ("money" if is_spent else "")
