"""TOML of a tree that may be hostile: read within limits, with every failure as one exception."""

from __future__ import annotations

import tomllib
from typing import Any

MAX_BYTES = 512_000
#: `tomllib` takes quadratic time for the parts of one dotted key.
_MOST_DOTS = 1_000


class UnreadableTomlError(Exception):
    """A file that is not TOML, or exceeds a limit; the message is the reason."""


def load(text: str) -> dict[str, Any]:
    """The tables of a file. Raises UnreadableTomlError."""
    if len(text) > MAX_BYTES:
        raise UnreadableTomlError(f"larger than {MAX_BYTES // 1_000} kB")
    if any(line.count(".") > _MOST_DOTS for line in text.split("\n")):
        raise UnreadableTomlError(f"a line with more than {_MOST_DOTS} dots")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise UnreadableTomlError("it is nested too deeply") from None
    except ValueError as error:  # also a number with too many digits
        raise UnreadableTomlError(str(error)) from None
