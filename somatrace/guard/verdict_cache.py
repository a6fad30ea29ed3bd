"""What the guard has found out already: keys, names, and values that are judged once and seen again."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from somatrace.guard.allow_list import IDENTIFIER, fits, is_answer
from somatrace.guard.attribute_names import AttributeNames, KeyVerdict, sound
from somatrace.guard.redaction.redact import find, redact_text

MAX_DECLARED: Final = 256
MAX_KNOWN: Final = 4096
_VALUES: Final = 64
#: The groups of a long number are one word.
_LAST_WORD: Final = re.compile(rf"(?:(?<![0-9])(?:[0-9]{{1,6}}[ -]){{1,8}})?\S{{0,{MAX_DECLARED}}}\Z")

_NONE_YET: Final[Mapping[Any, bool]] = {}


class VerdictCache:
    """Judgements that hold for every tenant: by the allow-list and the detectors alone."""

    def __init__(self, cut_at: Collection[int] = ()) -> None:
        """`cut_at` are lengths to which texts are cut before they are judged: their last word may be half."""
        self._cut_at = frozenset(cut_at)
        self.labels = AttributeNames()
        #: by key: values that were judged by the allow-list, and whether they may leave
        self.clean: dict[str, dict[str | tuple[str, ...], bool]] = {}
        self._texts: dict[str, str] = {}

    def declared(self, key: KeyVerdict, text: str) -> str:
        """A text that the program itself set: scanned and cut."""
        return self.scanned(text) if key.meaning is None else key.marker(text) or self.scanned(text)

    def whole(self, text: str) -> str:
        """The text without a last word that a limit may have cut: half of a secret looks like none."""
        if len(text) not in self._cut_at:
            return text
        end = max(0, len(text) - MAX_DECLARED)
        word = _LAST_WORD.search(text, end)
        return f"{text[: word.start() if word else end]}[TRUNCATED]"

    def scanned(self, text: str) -> str:
        """A text without what is found in it, cut."""
        found = self._texts.get(text)
        if found is None:
            if len(self._texts) >= MAX_KNOWN:
                self._texts.clear()
            # whole before it is cut: half of a value is not found
            found = sound(redact_text(self.whole(text))[:MAX_DECLARED])
            if len(text) <= MAX_DECLARED:
                self._texts[text] = found
        return found

    def fits(self, name: str, key: KeyVerdict, text: str) -> bool:
        """Whether a text may leave under a safe key: of its shape, and nothing in it found."""
        shape = key.shape
        if shape is None or len(text) > 2048:
            return False
        if shape is IDENTIFIER and is_answer(text):
            return True
        known = self.clean.get(name, _NONE_YET).get(text)
        if known is None:
            known = not text or (
                fits(shape, text)
                and not (shape.scanned and find(text))
                and (not shape.few or self.labels.admits(text, name))
            )
            self.remember(name, text, clean=known)
        return known

    def is_clean(self, name: str, value: str | tuple[str, ...]) -> bool:
        """Whether a value under a key was judged before, and may leave."""
        return self.clean.get(name, _NONE_YET).get(value, False)

    def remember(self, name: str, value: str | tuple[str, ...], *, clean: bool) -> None:
        """Keep what was found out about a value under a key."""
        values = self.clean.get(name)
        if values is None:
            if len(self.clean) >= MAX_KNOWN:
                self.clean.clear()
            values = self.clean[name] = {}
        elif len(values) >= _VALUES:  # of a key like an id, whose values never come again
            values.clear()
        values[value] = clean
