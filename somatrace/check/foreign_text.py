"""Print text that comes from the tree or the command line: it is shown, and never acts.

A name, a line or an error message may contain terminal escapes, line breaks, characters that reverse the
reading direction, and the commands that build systems look for in a log. All output of the check and all of
its error messages pass through `shown`.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any, TextIO

_LONGEST = 5_000
_HARMLESS = "\N{REPLACEMENT CHARACTER}"
#: GitHub looks for `::name` at the start of a line. It looks for `##[name]`, Azure for `##vso[`, and TeamCity
#: for `##teamcity[` anywhere in a line.
_COMMAND = re.compile(r"^(\s*):|#(?=#[\w.-]*\[)")


def shown(text: str) -> str:
    """The text on one line, without control and direction characters and without build commands."""
    cut = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
    printable = cut if cut.isprintable() else "".join(map(_printable, cut))
    return _COMMAND.sub(_defused, printable)


def _printable(char: str) -> str:
    return char if char.isprintable() else _HARMLESS


def _defused(match: re.Match[str]) -> str:
    return f"{match[1] or ''}{_HARMLESS}"


def as_json(value: Any) -> str:
    """JSON in ASCII, with every text in it shown."""
    return json.dumps(_shown_within(value), indent=2) + "\n"


def _shown_within(value: Any) -> Any:
    if isinstance(value, str):
        return shown(value)
    if isinstance(value, dict):
        return {key: _shown_within(one) for key, one in value.items()}
    return [_shown_within(one) for one in value] if isinstance(value, list | tuple) else value


def complain(message: str) -> None:
    """Print one line to standard error."""
    write(sys.stderr, f"{shown(message)}\n")


def write(stream: TextIO, text: str) -> None:
    """Write to a stream; characters that its encoding lacks are escaped."""
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()
