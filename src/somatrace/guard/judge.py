"""One grant applied to the parts of a span: what may leave of each."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

from somatrace import names
from somatrace.guard.detecting import Detector
from somatrace.guard.known import Known
from somatrace.guard.labels import UNKNOWN, Key, sound
from somatrace.guard.notes import Removed, length_of
from somatrace.guard.policy import Grant
from somatrace.guard.redacting import find, redact_text
from somatrace.guard.safe import looks_like_identifier
from somatrace.guard.terms import dictionary

MAX_DEPTH: Final = 8
_SMALL: Final = 10**7
_SECRETS: Final = frozenset({"secrets"})
#: What traceloop attaches stays attached: it may be another tenant's, so no policy of this one opens it.
_ASSOCIATION: Final = "traceloop.association.properties."

Pseudonym = Callable[[str, str], str]


class Judge:
    """One grant, applied to the parts of a span."""

    def __init__(
        self,
        grant: Grant,
        known: Known,
        faulted: Callable[[], None],
        pseudonym: Callable[[], Pseudonym | None] = lambda: None,
    ) -> None:
        """`faulted` is told of each value that could not be judged; `pseudonym` gives what makes them."""
        self.grant = grant
        self.mode = grant.mode
        self._known = known
        self._faulted = faulted
        self._pseudonym = pseudonym
        self._rule = f"policy {grant.mode}"

    def attributes(
        self, attributes: Mapping[str, Any], declared: Collection[str] = ()
    ) -> tuple[dict[str, Any], list[Removed]]:
        """The attributes that may leave, and notes of the others.

        `declared` are keys the program itself set through `span` and `event`.
        """
        kept: dict[str, Any] = {}
        removed: list[Removed] = []
        closed, keys, clean = self.mode == "none", self._known.labels.keys, self._known.clean
        for name, value in attributes.items():
            if closed:  # most values of a key are few, or small numbers: those are known at a glance
                kind = type(value)
                if kind is str:
                    seen = clean.get(name)
                    if seen is not None and seen.get(value):
                        kept[name] = value
                        continue
                elif kind is bool or ((kind is int or kind is float) and -_SMALL < value < _SMALL):
                    key = keys.get(name)
                    if key is not None and key.tame:
                        kept[name] = value
                        continue
            self._judged(name, value, declared, kept, removed)
        return kept, removed

    def _judged(
        self,
        name: str,
        value: Any,
        declared: Collection[str],
        kept: dict[str, Any],
        removed: list[Removed],
    ) -> None:
        """Put one attribute where it belongs."""
        key, found, rule = UNKNOWN, None, self._rule
        try:
            key = self._known.labels.key(name)
            if self.mode == "none" and type(value) is tuple and self._known.is_clean(name, value):
                found = value
            elif self.mode != "none" and (_small(value) or not name.startswith(_ASSOCIATION)):
                found = self._open(key, value, 0)
                name = name if key.tame else self.text(name)
            elif key.tame:
                found = self._closed(name, key, value, declared=name in declared)
        except Exception:
            self._faulted()
            found, rule = None, "fault"
        if found is None:
            removed.append(Removed(name if key.tame else "?", length_of(value), rule))
        else:
            kept[name] = found

    def text(self, text: str) -> str:
        """A text that may leave as content, without what the grant has found out of it."""
        if self.mode == "full":
            return sound(redact_text(text, categories=_SECRETS))
        return sound(
            redact_text(
                text,
                categories=self.grant.categories | _SECRETS,
                pseudonym=self._pseudonym(),
                extra=_terms(self.grant.terms),
            )
        )

    def _closed(self, name: str, key: Key, value: Any, *, declared: bool) -> Any:
        """The value while content is off, or None: numbers, declared texts, texts of a safe key's shape."""
        if isinstance(value, str):
            text = value if type(value) is str else str.__str__(value)
            if declared or self._opened(name):
                return self._known.declared(key, text)
            return text if self._known.fits(name, key, text) else None
        if isinstance(value, bool):
            return value
        if isinstance(value, (int, float)):
            return _plain(value) if not looks_like_identifier(value) or _measured(key, value) else None
        if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
            numbers = any(isinstance(item, (int, float)) for item in value)
            if numbers and not declared and not self._opened(name):
                return None  # a vector or the numbers of tokens: the text can be made of them again
            items = [self._closed(name, key, item, declared=declared) for item in value[:128]]
            if any(item is None for item in items):
                return None
            texts = type(value) is tuple and all(type(item) is str for item in value)
            if texts and tuple(items) == value and not declared and not self.grant.safe_keys:
                self._known.remember(name, value, clean=True)  # for every tenant: by the allow-list alone
            return tuple(items)
        return None

    def _opened(self, name: str) -> bool:
        """Whether the operator calls a key safe."""
        return bool(self.grant.safe_keys) and _matches(name, self.grant.safe_keys)

    def _open(self, key: Key, value: Any, depth: int) -> Any:
        """The value where content is allowed; texts in it without what is found, at any depth."""
        if isinstance(value, bool) or depth > MAX_DEPTH:
            return value if isinstance(value, bool) else None
        if isinstance(value, str):
            text = str.__str__(value)
            return key.marker(text) or self.text(text)
        if isinstance(value, (int, float)):
            return self._number(key, value)
        if isinstance(value, Mapping):
            return self._mapping(value, depth)
        if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
            items = [self._open(key, item, depth + 1) for item in value[:1024]]
            return tuple(item for item in items if item is not None)
        return None

    def _number(self, key: Key, value: float) -> Any:
        if key.meaning is not None and (hidden := key.marker(str(value))):
            return hidden
        if self.mode == "full" or not looks_like_identifier(value):
            return _plain(value)
        text = str(int(value))
        clean = self.text(text)
        return _plain(value) if clean == text else clean

    def _mapping(self, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        kept = {}
        for name, item in list(value.items())[:128]:
            key = self._known.labels.key(str(name))
            found = self._open(key, item, depth + 1)
            if found is not None:
                kept[str(name) if key.tame else self.text(str(name))] = found
        return kept

    def event(self, attributes: Mapping[str, Any]) -> dict[str, Any]:
        """An event's or link's attributes that may leave; while content is off, of an exception its type."""
        if names.DECLARED in attributes:
            plain = {key: value for key, value in attributes.items() if key != names.DECLARED}
            return self.attributes(plain, plain)[0]
        return self.attributes(attributes)[0]

    def status(self, description: str | None, attributes: Mapping[str, Any]) -> str:
        """A status description. While content is off it says which error it was, from type and code."""
        if self.mode != "none":
            return self.text(description or "")
        for name in (names.ERROR_CODE, names.ERROR_TYPE):
            found = attributes.get(name)
            if isinstance(found, str) and self._known.fits(name, self._known.labels.key(name), found):
                return found
        return ""


@functools.lru_cache(maxsize=256)
def _terms(terms: tuple[str, ...]) -> tuple[Detector, ...]:
    """The detector of a grant's terms, made once for each set of terms."""
    return (dictionary(terms),) if terms else ()


def _measured(key: Key, value: float) -> bool:
    """Whether a long number is a measure by its key's name, and no card's all the same."""
    return key.measure and not find(str(int(value)))


def _small(value: object) -> bool:
    return type(value) is int and -_SMALL < value < _SMALL


def _plain(value: float) -> float | None:
    """The number itself, where 64 bits hold it: a subclass of int or float may write itself as anything."""
    if isinstance(value, int):
        number = value if type(value) is int else int.__int__(value)
        return number if -(2**63) <= number < 2**63 else None
    return value if type(value) is float else float.__float__(value)


def _matches(key: str, patterns: Sequence[str]) -> bool:
    """Whether the user's `safe_keys` name a key; a `*` at the end stands for anything."""
    return any(key.startswith(p[:-1]) if p.endswith("*") else key == p for p in patterns)
