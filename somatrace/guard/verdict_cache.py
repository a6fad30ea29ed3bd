"""Cached verdicts on keys, names and values that recur across spans."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from somatrace.guard.allow_list import fits, is_response_id
from somatrace.guard.attribute_names import AttributeNames, KeyVerdict, utf8_safe
from somatrace.guard.redaction.redact import OVERFLOW, find, redact_text
from somatrace.guard.redaction.work import is_exhausted
from somatrace.guard.safe_shapes import IDENTIFIER

MAX_DECLARED: Final = 256
MAX_KNOWN: Final = 4096
_VALUES: Final = 64
#: The groups of a long number count as one word.
_LAST_WORD: Final = re.compile(rf"(?:(?<![0-9])(?:[0-9]{{1,6}}[ -]){{1,8}})?\S{{0,{MAX_DECLARED}}}\Z")

_NONE_YET: Final[Mapping[Any, bool]] = {}


class VerdictCache:
    """Verdicts that hold for every tenant, based only on the allow-list and the detectors."""

    def __init__(self, cut_at: Collection[int] = ()) -> None:
        """`cut_at` holds lengths at which texts may have been truncated, possibly within their last word."""
        self._cut_at = frozenset(cut_at)
        self.names = AttributeNames()
        #: by key: values checked against the allow-list, and whether they may leave
        self.clean: dict[str, dict[str | tuple[str, ...], bool]] = {}
        self._texts: dict[str, str] = {}

    def declared(self, key: KeyVerdict, text: str) -> str:
        """A text set by the program itself, scanned and truncated."""
        return self.scanned(text) if key.meaning is None else key.marker(text) or self.scanned(text)

    def whole(self, text: str) -> str:
        """The text without a last word that a limit may have cut: half a secret is not recognizable."""
        if len(text) not in self._cut_at:
            return text
        end = max(0, len(text) - MAX_DECLARED)
        word = _LAST_WORD.search(text, end)
        return f"{text[: word.start() if word else end]}[TRUNCATED]"

    def scanned(self, text: str) -> str:
        """A text, redacted and truncated."""
        found = self._texts.get(text)
        if found is None:
            if len(text) > MAX_DECLARED and is_exhausted():
                return OVERFLOW
            if len(self._texts) >= MAX_KNOWN:
                self._texts.clear()
            # redact before truncating: half a value is not found
            found = utf8_safe(redact_text(self.whole(text))[:MAX_DECLARED])
            if len(text) <= MAX_DECLARED:
                self._texts[text] = found
        return found

    def fits(self, name: str, key: KeyVerdict, text: str) -> bool:
        """Whether a text may leave under a safe key: it has the key's shape and no findings."""
        shape = key.shape
        if shape is None or len(text) > 2048:
            return False
        if shape is IDENTIFIER and is_response_id(text):
            return True
        known = self.clean.get(name, _NONE_YET).get(text)
        if known is None:
            known = not text or (
                fits(shape, text)
                and not (shape.scanned and find(text))
                and (not shape.few or self.names.admits(text, name))
            )
            self.remember(name, text, clean=known)
        return known

    def is_clean(self, name: str, value: str | tuple[str, ...]) -> bool:
        """Whether a value under a key was checked before and may leave."""
        return self.clean.get(name, _NONE_YET).get(value, False)

    def remember(self, name: str, value: str | tuple[str, ...], *, clean: bool) -> None:
        """Store the verdict on a value under a key."""
        values = self.clean.get(name)
        if values is None:
            if len(self.clean) >= MAX_KNOWN:
                self.clean.clear()
            values = self.clean[name] = {}
        elif len(values) >= _VALUES:  # a key such as an id, whose values do not recur
            values.clear()
        values[value] = clean
