"""What the environment says of the API, and what of it can never be sent: told before the first trial.

A key with a line end behind it, as `$(cat FILE)` spares a shell but not a secret of CI, looks to the SDK like a lost
connection. Nothing here repeats a key, nor an address that may hold one.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from urllib.parse import urlsplit

__all__ = ["BASE_URL", "HEADERS", "KEY_VARIABLES", "credential_in", "unusable", "wrong_key", "wrong_url"]

KEY_VARIABLES = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_PROFILE")
"""Where the SDK looks for a credential, in its order."""
BASE_URL = "ANTHROPIC_BASE_URL"
HEADERS = "ANTHROPIC_CUSTOM_HEADERS"
SPACES = " \t\r\n"
NAME_CHARACTERS = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
"""Of which a header's name consists."""


def credential_in(environment: Mapping[str, str]) -> str:
    """Return the variable whose key the SDK sends; empty if it takes one from elsewhere."""
    return next((name for name in KEY_VARIABLES[:2] if environment.get(name)), "")


def unusable(environment: Mapping[str, str]) -> str | None:
    """Say what in the environment no request can be sent with, and what to write; None if nothing is.

    Example:
        >>> unusable({"ANTHROPIC_API_KEY": "sk-a b"}).partition(":")[0]
        'ANTHROPIC_API_KEY holds a space (character 5 of 6), which no key does'
        >>> unusable({"ANTHROPIC_BASE_URL": "localhost:8000"}).partition(";")[0]
        "ANTHROPIC_BASE_URL='localhost:8000' does not begin with http:// or https://"
    """
    name = credential_in(environment)
    if name and (wrong := wrong_key(name, environment[name])):
        return f"{name} {wrong}"
    if (url := environment.get(BASE_URL)) is not None and (wrong := wrong_url(url)):
        return f"{BASE_URL}={_shown(url, environment)} {wrong}; write {BASE_URL}=https://HOST[:PORT], or unset it"
    return _wrong_headers(environment.get(HEADERS, ""))


def wrong_key(name: str, key: str) -> str:
    """Say why no request can carry a variable's key, and what to write; empty if one can."""
    trimmed = f'write it without, as in export {name}="$(printf %s "${name}" | tr -d \'[:space:]\')"'
    if not key.strip():
        return "holds nothing but white space: set it to the key, or unset it"
    if key != key.rstrip("\r\n"):
        return f"ends with a line end, which no request can carry: {trimmed}"
    for place, character in enumerate(key, start=1):
        if not "!" <= character <= "~":
            what = f"holds {_named(character)} (character {place} of {len(key)}), which no key does"
            return f"{what}: {trimmed if character in SPACES else 'copy the key anew, as plain ASCII'}"
    return ""


def _named(character: str) -> str:
    if character == " ":
        return "a space"
    if character in "\r\n":
        return "a line end"
    if character == "\t":
        return "a tab"
    kind = "a control character" if character.isascii() else unicodedata.name(character, "a character beyond ASCII")
    return f"{kind} U+{ord(character):04X}"


def wrong_url(url: str) -> str:
    """Say what is wrong with the address of a server, without repeating it; empty if nothing is."""
    if not url:
        return "is empty"
    if any(character.isspace() or not character.isprintable() for character in url):
        return "holds white space or a character that cannot be printed"
    try:
        parts = urlsplit(url)
    except ValueError:
        return "is no address"
    if parts.scheme not in ("http", "https") or not url.lower().startswith(f"{parts.scheme}://"):
        return "does not begin with http:// or https://"
    if not parts.hostname:
        return "names no host"
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        return "has a port that is no number from 1 to 65535"
    if parts.query or parts.fragment:
        return "has something behind its path, where the API's own path goes"
    return ""


def _shown(url: str, environment: Mapping[str, str]) -> str:
    """Return an address as it can be shown: none of its passwords, and not if it is a key in the wrong place."""
    secrets = [environment[name] for name in KEY_VARIABLES[:2] if environment.get(name)]
    if url.lstrip().startswith("sk-") or any(secret.strip() in url for secret in secrets if secret.strip()):
        return "(what looks like a key)"
    before, at, behind = url.rpartition("@")
    shown = f"{before.partition('://')[0]}://***@{behind}" if at else url
    shown = shown.partition("?")[0] + ("?***" if "?" in shown else "")
    return repr(shown if len(shown) <= 100 else f"{shown[:97]}...")


def _wrong_headers(written: str) -> str | None:
    """Check what the SDK adds to each request: a `name: value` a line. Values may be secret."""
    for number, line in enumerate(written.split("\n"), start=1):
        name, colon, value = (part.strip() for part in line.partition(":"))
        if not colon:
            continue  # the SDK leaves it out
        where = f"{HEADERS}: line {number}"
        if not name or not NAME_CHARACTERS.issuperset(name):
            return f"{where} has a header name that no request can carry; write NAME: VALUE, the name of A-Z, 0-9 and -"
        if wrong := next((one for one in value if not (one == "\t" or " " <= one <= "~")), ""):
            return f"{where}: the value of {name} holds {_named(wrong)}, which no request can carry; write plain ASCII"
    return None
