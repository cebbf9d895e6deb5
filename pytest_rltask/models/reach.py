"""Why no connection to a server comes about, told from what the SDK's libraries raised: who refuses what."""

from __future__ import annotations

import errno
import socket
import ssl
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

__all__ = ["Unreachable", "chain", "host_of", "proxy_of", "unreachable"]

NO_WAY = {
    errno.EHOSTUNREACH: "no route to it",
    errno.ENETUNREACH: "no network that leads to it",
    errno.ENETDOWN: "the network is down",
    errno.EHOSTDOWN: "it is down",
    errno.EADDRNOTAVAIL: "no such address from here",
    errno.EACCES: "this machine allows no connection to it",
    errno.EPERM: "this machine allows no connection to it",
}


@dataclass(frozen=True)
class Unreachable:
    """What keeps requests from a server."""

    said: str
    """Who refuses what."""
    remedy: str
    is_final: bool = False
    """Whether another attempt would end alike for sure."""
    is_slow: bool = False
    """Whether each attempt takes its time to fail, so that it was long enough after a few."""


def host_of(url: str) -> str:
    """Return the host of an address, with the port if it says one.

    Example:
        >>> host_of("https://me:secret@api.example.com/v1"), host_of("http://127.0.0.1:9")
        ('api.example.com', '127.0.0.1:9')
    """
    return urlsplit(url).netloc.rpartition("@")[2]


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what it came of, groups with their members, and what the system raised for what wraps it."""
    while error is not None:
        # aiohttp's errors take the class of what the system raised, and not its attributes.
        yield getattr(error, "os_error", None) or error
        if isinstance(error, BaseExceptionGroup):
            for member in error.exceptions:
                yield from chain(member)
        error = error.__cause__ or error.__context__


def unreachable(error: BaseException, url: str) -> Unreachable | None:
    """Say why no connection to an address came about; None if one did, or for another reason."""
    proxy = proxy_of(url)
    host = f"the proxy {host_of(proxy[1])}" if proxy else host_of(url)
    place = f"check {proxy[0]} and NO_PROXY" if proxy else "check the network and ANTHROPIC_BASE_URL"
    for cause in chain(error):
        match cause:
            case Exception() if type(cause).__name__ == "ProxyError":  # of the HTTP library, which is loaded late
                return Unreachable(f"{host} lets nothing through to {host_of(url)}: {cause}"[:200], place)
            case ssl.SSLCertVerificationError():
                why = cause.verify_message or cause.reason
                remedy = "have SSL_CERT_FILE name the authority that signed it, or correct ANTHROPIC_BASE_URL"
                return Unreachable(f"the certificate of {host_of(url)} is not valid: {why}", remedy, is_final=True)
            case ssl.SSLError():
                return Unreachable(f"{host_of(url)} does not speak TLS as https:// needs ({cause.reason})", place)
            case ConnectionRefusedError():
                started = place if proxy else "start the server, or set ANTHROPIC_BASE_URL to where it is"
                return Unreachable(f"{host} refuses connections", started)
            case socket.gaierror():
                return Unreachable(f"{host} is no name that can be resolved ({cause.strerror})", place)
            case OSError() if cause.errno in NO_WAY:
                return Unreachable(f"{host} cannot be reached: {NO_WAY[cause.errno]}", place)
            case Exception() if type(cause).__name__ == "ConnectTimeout":
                return Unreachable(f"{host} takes no connection", place, is_slow=True)
    return None


def proxy_of(url: str) -> tuple[str, str] | None:
    """Return the variable that names the proxy of an address, and what it names; None if it is reached without."""
    parts = urlsplit(url)
    proxies = urllib.request.getproxies_environment()
    kind = next((kind for kind in (parts.scheme, "all") if proxies.get(kind)), None)
    if kind is None or urllib.request.proxy_bypass(parts.hostname or ""):
        return None
    address = proxies[kind]
    return f"{kind.upper()}_PROXY", address if "://" in address else f"http://{address}"
