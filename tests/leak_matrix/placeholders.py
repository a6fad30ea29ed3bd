"""Placeholders for canaries and for what differs between two runs, such as ports and directories."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from tests.leak_matrix.canary import Canary, Kind, Planted

ROOT: Final = Path(__file__).resolve().parents[2]
#: Replaces the server's address in recordings: its port differs in each run.
ADDRESS: Final = "127.0.0.1:8000"
_BLANK: Final = re.compile(r"⟦(word|email|card|key) of ([^⟧]+)⟧")
#: The last words of a text that has been cut: half an address would be neither a canary nor redacted.
_BROKEN: Final = re.compile(r"(?:⟦[^⟧]*(?:⟧[^\s⟦]*)?|[^\s⟦⟧]*)$")


class Blanks:
    """Makes a recording of what one process saw."""

    def __init__(self, canaries: dict[str, Canary], url: str) -> None:
        self._texts = {needle: f"⟦{one.kind} of {one.field}⟧" for needle, one in canaries.items()}
        address = urlsplit(url)
        self._port = address.port
        self._texts |= {address.netloc: ADDRESS, str(ROOT): "/program", sys.prefix: "/venv"}
        self._texts |= {sys.base_prefix: "/python", str(Path.home()): "/home"}

    def fill(self, value: Any, longest: int) -> Any:
        """The value with placeholders; texts are cut at `longest` characters."""
        if isinstance(value, str):
            for text, blank in self._texts.items():
                value = value.replace(text, blank)
            return value if len(value) <= longest else _BROKEN.sub("", value[:longest])
        if isinstance(value, dict):
            return {self.fill(key, longest): self.fill(one, longest) for key, one in value.items()}
        if isinstance(value, list):
            return [self.fill(one, longest) for one in value]
        return 8000 if value == self._port and not isinstance(value, bool) else value


def planted(value: Any, c: Planted) -> Any:
    """The recorded value with the canaries of a case in place of the placeholders."""
    if isinstance(value, str):
        return _BLANK.sub(lambda match: c.needle(match[2], _kind(match[1])), value)
    if isinstance(value, dict):
        return {planted(key, c): planted(one, c) for key, one in value.items()}
    if isinstance(value, list):
        return [planted(one, c) for one in value]
    return value


def _kind(text: str) -> Kind:
    return text  # type: ignore[return-value]
