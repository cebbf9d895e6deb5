"""What a Python file says, as far as its text tells without a look at its syntax.

Where code imports modules by names that it makes at run time, all files beside it may be meant: thousands in a
repository of many projects. Each is known by its bytes, and taken to mention every word in it: rather too much counts
then than too little.
"""

from __future__ import annotations

import re
from pathlib import Path

from pytest_rltask.graders.sources import ANY_FILE, ANY_NAME, IMPORTERS, WORD, Import, Part, Source, digest_of

__all__ = ["read_whole"]

_IMPORT = re.compile(r"(?:^|[;:])[ \t]*import[ \t]+([^\n;#]+)", re.MULTILINE)
_FROM = re.compile(r"(?:^|[;:])[ \t]*from[ \t]+(\.*)[ \t]*([\w.]*)[ \t]+import[ \t]*(\([^)]*\)|[^\n;#]*)", re.MULTILINE)
_GETATTR = re.compile(r"\bgetattr\s*\((?!\s*[\w.]+\s*,\s*['\"])")
"""A call of ``getattr`` whose name is none that stands there."""


def read_whole(path: Path) -> Source:
    """Return what a file says.

    Raises:
        OSError: it cannot be read.
    """
    data = path.read_bytes()
    text = data.decode(errors="replace")
    words = frozenset(WORD.findall(text))
    imports = [
        Import(0, name.split()[0]) for found in _IMPORT.findall(text) for name in found.split(",") if name.split()
    ]
    for dots, module, names in _FROM.findall(text):
        given = (name.split()[0] for name in names.strip("()").split(",") if name.split())
        imports.append(Import(len(dots), module, tuple(given)))
    return Source(
        {"": Part("", digest_of(data), words, always=True)},
        imports,
        reaches_any_name=not words.isdisjoint(ANY_NAME) or _GETATTR.search(text) is not None,
        runs_any_file=not words.isdisjoint(ANY_FILE | IMPORTERS),
    )
