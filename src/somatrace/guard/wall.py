"""Decides value by value what of a span may leave, fail-closed: a fault drops the value, never the span."""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple

from somatrace import names
from somatrace.guard.detecting import Detector
from somatrace.guard.policy import NOTHING, Grant
from somatrace.guard.redacting import find, redact_text
from somatrace.guard.safe import fits, is_measure, looks_like_identifier, shape_of
from somatrace.guard.terms import dictionary

log = logging.getLogger("somatrace")

MAX_NAME: Final = 128
MAX_DECLARED: Final = 256
MAX_NAMES_PER_SCOPE: Final = 200
MAX_NOTES: Final = 64
MAX_DEPTH: Final = 8
_CACHE: Final = 4096
#: Resource attributes that can hold a password given on a command line, or the environment.
_RESOURCE_SECRETS: Final = ("process.command", "process.environment", "process.owner")
_SECRETS: Final = frozenset({"secrets"})


class Removed(NamedTuple):
    """A note of what was taken away: key and length (characters, or items of a sequence), never the value."""

    key: str
    length: int


class Guard:
    """Judges the parts of spans under a grant. `fault` is told of each value that could not be judged.

    `pseudonym` gives, for a tenant, what makes pseudonyms of its values; None leaves plain markers.
    """

    def __init__(
        self,
        fault: Callable[[], None] = lambda: None,
        *,
        resolve: Callable[[str | None], Grant] = lambda _: NOTHING,
        pseudonym: Callable[[str | None], Callable[[str, str], str] | None] = lambda _: None,
    ) -> None:
        self._fault = fault
        self._resolve = resolve
        self._pseudonym = pseudonym
        self._names: dict[str, dict[str, str]] = {}
        self._clean: dict[tuple[str, str], bool] = {}
        self._texts: dict[str, str] = {}

    def judge(self, tenant: str | None) -> Judge:
        """What may leave of a span that was started for `tenant`."""
        try:
            grant = self._resolve(tenant)
        except Exception:
            self._fault()
            grant = NOTHING
        return Judge(self, grant, tenant)

    def resource(self, attributes: Mapping[str, Any]) -> dict[str, Any]:
        """Resource attributes: the operator's own words, without secrets and command lines."""
        kept: dict[str, Any] = {}
        for key, value in attributes.items():
            if not key.startswith(_RESOURCE_SECRETS):
                kept[key] = redact_text(value, categories=_SECRETS) if isinstance(value, str) else value
        return kept

    def tracestate(self, entries: Mapping[str, str]) -> list[tuple[str, str]]:
        """Of a tracestate only OpenTelemetry's own entry (sampling) leaves: the others hold anything."""
        return [(key, value) for key, value in entries.items() if key == "ot" and _tame(value)]

    def name(self, name: str, scope: str, kind: str) -> str:
        """A name of a span or event: scanned, cut, and `scope.kind` once its scope has shown too many,
        as one does that uses prompts as names."""
        known = self._names.setdefault(scope, {})
        found = known.get(name)
        if found is None:
            if len(known) >= MAX_NAMES_PER_SCOPE:
                return f"{scope}.{kind}"[:MAX_NAME]
            found = known[name] = redact_text(str(name)[:1024])[:MAX_NAME]
        return found

    def tags(self, attributes: Mapping[str, Any]) -> dict[str, Any]:
        """What tags stand for, which the program itself bound: scanned, like all it declares."""
        return {key: self._declared(value) for key, value in attributes.items()}

    def _declared(self, value: Any) -> Any:
        if isinstance(value, str):
            found = self._texts.get(value)
            if found is None:
                if len(self._texts) >= _CACHE:
                    self._texts.clear()
                found = self._texts[value] = redact_text(value)[:MAX_DECLARED]
            return found
        return tuple(self._declared(item) for item in value) if isinstance(value, tuple) else value

    # -- used by Judge ------------------------------------------------------------------------------

    def fits(self, key: str, text: str) -> bool:
        """Whether a text may leave under a safe key: of its shape, and nothing in it found."""
        shape = shape_of(key)
        if shape is None or len(text) > 2048:
            return False
        known = self._clean.get((key, text))
        if known is None:
            known = fits(shape, text) and not (shape.scanned and find(text))
            if len(self._clean) >= _CACHE:
                self._clean.clear()
            self._clean[key, text] = known
        return known

    def faulted(self) -> None:
        self._fault()


class Judge:
    """One grant, applied to the parts of a span."""

    def __init__(self, guard: Guard, grant: Grant, tenant: str | None) -> None:
        self._guard = guard
        self._grant = grant
        self._tenant = tenant
        self.mode = grant.mode

    def attributes(
        self, attributes: Mapping[str, Any], declared: Collection[str] = ()
    ) -> tuple[dict[str, Any], list[Removed]]:
        """The attributes that may leave, and notes of the others.

        `declared` are keys the program itself set through `span` and `event`.
        """
        kept: dict[str, Any] = {}
        removed: list[Removed] = []
        for key, value in attributes.items():
            try:
                if self.mode == "none":
                    found = self._closed(key, value, declared=key in declared)
                else:
                    found = self._open(value, 0)
            except Exception:
                self._guard.faulted()
                found = None
            if found is None:
                removed.append(Removed(_noted(key), _length(value)))
            else:
                kept[key] = found
        return kept, removed

    def text(self, text: str) -> str:
        """A text that may leave as content, without what the grant has found out of it."""
        if self.mode == "full":
            return redact_text(text, categories=_SECRETS)
        return redact_text(
            text,
            categories=self._grant.categories | _SECRETS,
            pseudonym=self._guard._pseudonym(self._tenant),
            extra=_terms(self._grant.terms),
        )

    def _closed(self, key: str, value: Any, *, declared: bool) -> Any:
        """The value while content is off, or None: numbers, declared texts, texts of a safe key's shape."""
        if isinstance(value, bool):
            return value
        if isinstance(value, (int, float)):
            return None if looks_like_identifier(value) and not is_measure(key) else value
        if isinstance(value, str):
            if declared or _matches(key, self._grant.safe_keys):
                return redact_text(value[: MAX_DECLARED * 8])[:MAX_DECLARED]
            return value if self._guard.fits(key, value) else None
        if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
            items = [self._closed(key, item, declared=declared) for item in value[:128]]
            return None if any(item is None for item in items) else tuple(items)
        return None

    def _open(self, value: Any, depth: int) -> Any:
        """The value where content is allowed; texts in it without what is found, at any depth."""
        if isinstance(value, bool) or depth > MAX_DEPTH:
            return value if isinstance(value, bool) else None
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, (int, float)):
            if self.mode == "full" or not looks_like_identifier(value):
                return value
            text = str(int(value))
            return value if self.text(text) == text else self.text(text)
        if isinstance(value, Mapping):
            pairs = [
                (self.text(str(key)), self._open(item, depth + 1)) for key, item in list(value.items())[:128]
            ]
            return {key: item for key, item in pairs if item is not None}
        if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
            return tuple(
                item for item in (self._open(item, depth + 1) for item in value[:1024]) if item is not None
            )
        return None

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
        for key in (names.ERROR_CODE, names.ERROR_TYPE):
            found = attributes.get(key)
            if isinstance(found, str) and self._guard.fits(key, found):
                return found
        return ""


@functools.lru_cache(maxsize=256)
def _terms(terms: tuple[str, ...]) -> tuple[Detector, ...]:
    """The detector of a grant's terms, made once for each set of terms."""
    return (dictionary(terms),) if terms else ()


def note(removed: Sequence[Removed]) -> str:
    """The value of `somatrace.guard.removed`: JSON, key and length of each removed value, at most 64."""
    return json.dumps([{"key": item.key, "length": item.length} for item in removed[:MAX_NOTES]])


def _noted(key: str) -> str:
    """A key as a note may hold it: keys can be made of content, too."""
    if (
        len(key) > MAX_NAME
        or not key.isascii()
        or not key.replace("_", "").replace(".", "").replace("-", "").isalnum()
    ):
        return "?"
    return "?" if find(key) else key


def _matches(key: str, patterns: Sequence[str]) -> bool:
    """Whether the user's `safe_keys` name a key; a `*` at the end stands for anything."""
    return any(key.startswith(p[:-1]) if p.endswith("*") else key == p for p in patterns)


def _tame(value: str) -> bool:
    return len(value) <= 64 and value.isascii() and value.replace(":", "").replace(";", "").isalnum()


def _length(value: Any) -> int:
    return len(value) if isinstance(value, (str, bytes, tuple, list)) else 1
