"""The JSON text of an answer, collected within a bound."""

from __future__ import annotations

import json
import re
from typing import Any, Final

#: A longer text is not kept: of embeddings, for example.
_MOST: Final = 4 * 1024 * 1024
#: The lengths of the beginning and of the end that are kept of such a text.
_HEAD: Final = 4 * 1024
_TAIL: Final = 16 * 1024
#: The quotes of a key in a string are escaped.
_NAMES: Final = re.compile(rb'(?<!\\)"(id|model)"\s*:\s*"([^"\\]{1,256})"')
_USAGE: Final = re.compile(rb'(?<!\\)"usage"\s*:\s*(?=\{)')


class BodyText:
    """The bytes of one body."""

    def __init__(self) -> None:
        self._text = bytearray()
        self._head = b""

    def add(self, data: bytes) -> None:
        """Keep bytes, or of a long text its ends."""
        self._text += data
        if not self._head and len(self._text) > _MOST:
            self._head = bytes(self._text[:_HEAD])
        if self._head and len(self._text) > 2 * _TAIL:
            del self._text[:-_TAIL]

    def value(self) -> tuple[Any, bool]:
        """The object of the text, or the names and the usage of a long one; and whether that is the whole.

        None if there is none, or the text is not complete.
        """
        text, self._text = bytes(self._text), bytearray()
        if self._head:
            return _ends(self._head, text), False
        try:
            found = json.loads(text)
        except ValueError:
            return None, True
        return (found if isinstance(found, dict) else None), True


def _ends(head: bytes, tail: bytes) -> dict[str, Any] | None:
    usage = [found.end() for found in _USAGE.finditer(tail)]
    if not usage:
        return None
    try:
        counts, _ = json.JSONDecoder().raw_decode(tail[usage[-1] :].decode(errors="replace"))
    except ValueError:
        return None
    names = [*_NAMES.finditer(tail), *_NAMES.finditer(head)]
    return {**{name[1].decode(): name[2].decode(errors="replace") for name in names}, "usage": counts}
