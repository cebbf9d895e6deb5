"""What works on this machine, for its user and for a bug report: sandbox, key, server, versions.

Nothing of it may be a secret: keys are looked at and never told, of addresses only the host is, and in the end whatever
the environment calls a secret is struck out of every text, wherever it came from.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from pytest_rltask.models.settings import BASE_URL, HEADERS, KEY_VARIABLES, credential_in, unusable, wrong_url
from pytest_rltask.report.visible import visible

__all__ = ["examined", "lines"]

BACKENDS = ("bwrap", "landlock", "docker") if sys.platform != "darwin" else ("seatbelt", "docker")
SERVER = "https://api.anthropic.com"
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
PACKAGES = ("pytest-rltask", "pytest", "anthropic", "pydantic", "docstring-parser", "genai-prices")
SECRET_NAME = re.compile("key|token|secret|passw|credential|auth|cookie|header", re.IGNORECASE)
"""What is within the name of a variable whose value is nobody's business."""
SHORTEST_SECRET = 4
"""Characters below which a text is struck out of nothing: it would be no secret, and stands in many words."""
ONLINE_S = 10.0
NO_NETWORK = "The network, as under every backend: no socket can be made but local ones."


def examined(environment: Mapping[str, str], *, online: bool) -> dict[str, Any]:
    """Return what was found, as JSON data.

    Args:
        environment: of the process.
        online: whether to ask the server.
    """
    found = {
        "versions": _versions(),
        "plugins": _plugins(),
        "system": _system(),
        "user": _user(),
        "sandbox": _sandbox(),
        "key": _key(environment),
        "server": _server(environment, online=online),
        "proxies": {name: _proxy(name, value) for name, value in _proxies(environment)},
    }
    return {name: _without(value, secrets_of(environment)) for name, value in found.items()}


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield what was found in words, harmless to a terminal."""
    return map(visible, _lines(found))


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    yield _line("versions", ", ".join(f"{name} {version}" for name, version in found["versions"].items()))
    yield _line("plugins", ", ".join(f"{name} {version}" for name, version in found["plugins"].items()) or "none")
    yield _line("system", found["system"])
    yield _line("user", found["user"])
    sandbox = found["sandbox"]
    auto = sandbox["auto"]
    yield _line("sandbox", f"--sandbox auto takes {auto}" if auto else "none works: tasks that run code are not played")
    for name, why in sandbox["backends"].items():
        yield _line(f"  {name}", f"does not work: {why}" if why else "works")
    if sandbox["differences"]:
        yield f"  what honest code misses under {auto} (docs/security.md, What honest code meets):"
        yield from (f"  - {difference}" for difference in sandbox["differences"])
    yield _line("key", found["key"])
    yield _line("server", found["server"])
    for name, place in found["proxies"].items():
        yield _line("proxy", f"{name} {place}")


def _line(name: str, text: str) -> str:
    return f"{name:<10} {text}"


def secrets_of(environment: Mapping[str, str]) -> list[str]:
    """Return what of an environment may be shown nowhere, the longest first."""
    found = set[str]()
    for name, value in environment.items():
        if SECRET_NAME.search(name):
            found |= {value, value.strip(), *value.split()}
        if "://" in value:
            found |= _secrets_in(value)
    return sorted((one for one in found if len(one) >= SHORTEST_SECRET), key=len, reverse=True)


def _secrets_in(url: str) -> set[str]:
    """Return what an address holds beside its host: a name and password, a path and a query may each be a key."""
    rest = url.partition("://")[2]
    place, _, path = rest.partition("/")
    parts = {part for part in re.split("[/?#&=]", path) if len(part) >= 12}
    before, at, _ = rest.rpartition("@")
    parts |= {before, *before.split(":")} if at else set()
    parts |= set(re.split("[?#&=]", place)[1:])
    return parts | {unquote(part) for part in parts}


def _without(value: Any, secrets: list[str]) -> Any:
    """Return data with each secret struck out of its texts."""
    if isinstance(value, Mapping):
        return {name: _without(one, secrets) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without(one, secrets) for one in value]
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, "***")
    return value


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {"Python": f"{platform.python_version()} ({platform.python_implementation()})"}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _plugins() -> dict[str, str]:
    """Return the plugins that pytest loads where nothing keeps it from it."""
    from importlib.metadata import entry_points

    dists = [point.dist for point in entry_points(group="pytest11")]
    return {dist.name: dist.version for dist in sorted(filter(None, dists), key=lambda dist: dist.name.lower())}


def _system() -> str:
    try:
        release = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        release = ""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    kernel = f"{platform.system()} {platform.release()}"
    return ", ".join(filter(None, [kernel, release, platform.machine(), f"{cores} core{'s' * (cores != 1)} to use"]))


def _user() -> str:
    if not hasattr(os, "geteuid"):
        return "unknown"
    number = os.geteuid()
    return "root" if number == 0 else f"an ordinary user (id {number})"


def _sandbox() -> dict[str, Any]:
    """Try each backend out, as a run does."""
    from pytest_rltask.sandbox import SandboxError, differences, problem_of, resolve_backend

    try:
        auto = resolve_backend("auto")
    except SandboxError:
        auto = ""
    problems = {name: problem_of(name) for name in BACKENDS}
    missed = [NO_NETWORK, *differences(auto)] if auto else []
    return {"auto": auto, "backends": problems, "differences": missed}


def _key(environment: Mapping[str, str]) -> str:
    name = next((name for name in KEY_VARIABLES if environment.get(name)), "")
    if not name:
        return "none is set: policies, replays and people play, Claude does not (ANTHROPIC_API_KEY)"
    wrong = unusable({name: environment[name]})
    if wrong:
        return wrong
    form = "and well formed; whether the server takes it, --online asks" if credential_in(environment) else "a profile"
    return f"{name} is set, {form}"


def _server(environment: Mapping[str, str], *, online: bool) -> str:
    url = environment.get(BASE_URL)
    place = _place(SERVER if url is None else url)
    if url is not None and (wrong := wrong_url(url)):
        return f"{place}: {BASE_URL} {wrong}; write {BASE_URL}=https://HOST[:PORT], or unset it"
    if wrong_headers := unusable({HEADERS: environment.get(HEADERS, "")}):
        return f"{place}: no request can be sent: {wrong_headers}"
    return f"{place}: {_asked(environment)}" if online else f"{place} (not asked; --online asks it)"


def _asked(environment: Mapping[str, str]) -> str:
    """Ask the server for one name of a model, which costs nothing."""
    import anthropic

    from pytest_rltask.models.reach import unreachable

    url = environment.get(BASE_URL, SERVER)
    key = None if any(environment.get(name) for name in KEY_VARIABLES) else "none"
    try:
        with anthropic.Anthropic(api_key=key, max_retries=0, timeout=ONLINE_S) as client:
            client.models.list(limit=1)
    except anthropic.AuthenticationError:
        return "answers, and wants a key" if key else "answers, and refuses the key (HTTP 401)"
    except anthropic.APIStatusError as error:
        return f"answers, if with HTTP {error.status_code} when asked for its models"
    except anthropic.APITimeoutError:
        return f"does not answer within {ONLINE_S:g} s"
    except (anthropic.AnthropicError, OSError, ValueError) as error:
        why = unreachable(error, url)
        return f"{why.said}; {why.remedy}" if why else f"cannot be asked: {type(error).__name__}"
    return "answers" if key else "answers, and takes the key"


def _proxies(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the proxies by the name that a program finds first."""
    for name in PROXIES:
        value = environment.get(name.lower()) or environment.get(name)
        if value:
            yield name, value


def _proxy(name: str, value: str) -> str:
    if name == "NO_PROXY":
        return f"names {len(value.split(','))} hosts"
    return _place(value if "://" in value else f"http://{value}")


def _place(url: str) -> str:
    """Return of an address what says where it is, and nothing that could be a key."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "(no address)"
    if not host or "sk-" in host or not re.fullmatch(r"[\w.:-]+", host):
        return "(no host)"
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}" + (f":{port}" if port else "")
