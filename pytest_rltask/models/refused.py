"""Whether a server takes a setting of a model: it says so at the first request, before any trial has cost anything."""

from __future__ import annotations

import re

from pytest_rltask.models.model_settings import SETTINGS, Settings, known_words
from pytest_rltask.models.too_long import said

__all__ = ["refused_setting", "shorter_replies"]

STATUSES = frozenset({400, 422})
"""Statuses under which servers say what is wrong with a request; others are about who sends it, or when."""


def refused_setting(status: int, body: object, settings: Settings) -> str:
    """Return what to do about a setting that a server names as it refuses a request; empty if it names none.

    Args:
        status: of the answer.
        body: of the answer, parsed if it is JSON.
        settings: of the model.

    Example:
        >>> body = {"error": {"message": "This model does not support the effort parameter."}}
        >>> refused_setting(400, body, (("effort", "high"),))
        'effort=high is set by --effort, or behind the @ of the name: change it, or leave it out'
    """
    if status not in STATUSES:
        return ""
    words = list(said(body))
    given = dict(settings)
    for word, key in known_words(given):
        if any(re.search(rf"\b{re.escape(word)}\b", one, re.IGNORECASE) for one in words):
            where = f"--{key.replace('_', '-')}" if key in SETTINGS else "rltask_request"
            return f"{key}={given[key]} is set by {where}, or behind the @ of the name: change it, or leave it out"
    return ""


def shorter_replies(status: int, body: object) -> str:
    """Return what to do where a server takes no replies as long as they may be; empty if it does not say so."""
    is_meant = status in STATUSES and any(re.search(r"\bmax_tokens\b", one) for one in said(body))
    return "--reply-tokens N asks for shorter replies" if is_meant else ""
