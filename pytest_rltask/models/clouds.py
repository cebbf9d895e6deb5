"""Claude at Amazon Bedrock and at Google's Vertex AI, through the SDK's own clients for them.

They take what the API takes but the automatic mode of caching: so the last block of a conversation is marked instead,
which moves on with each turn and is no part of what is kept of it. Credentials are those of each cloud's own library.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from pytest_rltask.models.servers import Server
from pytest_rltask.models.settings import HEADERS, wrong_key
from pytest_rltask.models.transport import http_client

if TYPE_CHECKING:
    from anthropic import AsyncAnthropicBedrock, AsyncAnthropicVertex

__all__ = ["BEDROCK", "VERTEX", "lacking", "marked"]

MARK = {"type": "ephemeral"}
BEARER = "AWS_BEARER_TOKEN_BEDROCK"
REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")
PROJECT, VERTEX_REGION = "ANTHROPIC_VERTEX_PROJECT_ID", "CLOUD_ML_REGION"


def lacking(kind: str, environment: Mapping[str, str]) -> str:
    """Say what a cloud's client needs and does not find, and what to write; empty if nothing.

    Args:
        kind: ``bedrock`` or ``vertex``.
        environment: where it looks.
    """
    if kind == "bedrock":
        if (key := environment.get(BEARER)) and (wrong := wrong_key(BEARER, key)):
            return f"{BEARER} {wrong}"
        if not environment.get(BEARER) and not _has("boto3"):
            return f"it needs boto3 or {BEARER}: pip install 'pytest-rltask[bedrock]', or set that to a key of Bedrock"
        if not any(environment.get(name) for name in REGIONS) and not _has("boto3"):
            return f"it needs a region: set {REGIONS[0]}=us-east-1, or which it is"
        return ""
    if not environment.get(VERTEX_REGION):
        return f"it needs a region: set {VERTEX_REGION}=global, or which it is"
    if not environment.get(PROJECT):
        return f"it needs a project: set {PROJECT} to its id"
    if not _has("google.auth") and "authorization" not in environment.get(HEADERS, "").lower():
        return "it needs google-auth: pip install 'pytest-rltask[vertex]'"
    return ""


def marked(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a conversation whose last block is marked as the end of what is to be cached."""
    *before, last = messages
    content = last["content"]
    if not isinstance(content, list) or not content:
        return messages
    return [*before, {**last, "content": [*content[:-1], {**content[-1], "cache_control": MARK}]}]


def _has(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # not even the package that it would be in
        return False


def _bedrock() -> AsyncAnthropicBedrock:
    from anthropic import AsyncAnthropicBedrock

    return AsyncAnthropicBedrock(max_retries=0, http_client=http_client())


def _vertex() -> AsyncAnthropicVertex:
    from anthropic import AsyncAnthropicVertex

    return AsyncAnthropicVertex(max_retries=0, http_client=http_client())


BEDROCK = Server(
    "bedrock:",
    _bedrock,
    sent=marked,
    remedies={
        "key": "check the credentials that boto3 finds: aws sts get-caller-identity",
        "rights": "ask for access to the model in the console of Bedrock, in this region",
        "model": "check the name, which is that of a model or of an inference profile, and AWS_REGION",
    },
    own=("botocore.", "boto3."),
)
VERTEX = Server(
    "vertex:",
    _vertex,
    sent=marked,
    remedies={
        "key": "check the credentials that Google's library finds: gcloud auth application-default print-access-token",
        "rights": f"check that {PROJECT} has the model, and what the account may do there",
        "model": f"check the name, such as claude-opus-4-5@20251101, and {VERTEX_REGION}",
    },
    own=("google.",),
)
