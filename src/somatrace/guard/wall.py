"""Decides value by value what of a span may leave, fail-closed: a fault drops the value, never the span."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, ParamSpec, TypeVar

from somatrace import names
from somatrace.guard.detecting import Detector
from somatrace.guard.labels import UNKNOWN, Key, Labels, sound
from somatrace.guard.notes import Removed, length_of
from somatrace.guard.policy import NOTHING, Grant
from somatrace.guard.redacting import find, redact_text
from somatrace.guard.safe import fits, looks_like_identifier
from somatrace.guard.terms import dictionary
from somatrace.tags import Scalar, Tags

log = logging.getLogger("somatrace")

MAX_DECLARED: Final = 256
MAX_DEPTH: Final = 8
_CACHE: Final = 4096
_VALUES: Final = 64
#: Resource attributes that can hold a password given on a command line, or the environment.
_RESOURCE_SECRETS: Final = ("process.command", "process.environment", "process.owner")
_SMALL: Final = 10**7
_SECRETS: Final = frozenset({"secrets"})
#: What traceloop attaches stays attached: it may be another tenant's, so no policy of this one opens it.
_ASSOCIATION: Final = "traceloop.association.properties."
_OPERATOR: Final = Grant("full")

_NONE_YET: Final[Mapping[Any, bool]] = {}

T = TypeVar("T")
P = ParamSpec("P")


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
        self.faulted = fault
        self._resolve = resolve
        self._pseudonym = pseudonym
        self.labels = Labels()
        self._judges: dict[str | None, Judge] = {}
        #: by key: values that were judged by the allow-list, and whether they may leave
        self.clean: dict[str, dict[str | tuple[str, ...], bool]] = {}
        self._texts: dict[str, str] = {}

    def judge(self, tenant: str | None) -> Judge:
        """What may leave of a span that was started for `tenant`."""
        try:
            grant = self._resolve(tenant)
        except Exception:
            self.faulted()
            grant = NOTHING
        judge = self._judges.get(tenant)
        if judge is None or judge.grant is not grant:
            if len(self._judges) >= _CACHE:
                self._judges.clear()
            judge = self._judges[tenant] = Judge(self, grant, tenant)
        return judge

    def safely(self, part: Callable[P, T], otherwise: T, /, *given: P.args, **named: P.kwargs) -> T:
        """A part of a span, or what takes its place where it cannot be judged."""
        try:
            return part(*given, **named)
        except Exception:
            self.faulted()
            return otherwise

    def resource(self, attributes: Mapping[str, Any]) -> dict[str, Any]:
        """Resource attributes: the operator's own words, without secrets and command lines."""
        said = {key: value for key, value in attributes.items() if not key.startswith(_RESOURCE_SECRETS)}
        return Judge(self, _OPERATOR, None).attributes(said)[0]

    def tracestate(self, entries: Mapping[str, str]) -> list[tuple[str, str]]:
        """Of a tracestate only OpenTelemetry's own entry (sampling) leaves: the others hold anything."""
        return [(key, value) for key, value in entries.items() if key == "ot" and _tame(value)]

    def name(self, name: str, scope: str, kind: str) -> str:
        """A name of a span or event as it may leave; `scope.kind` where it may not."""
        return self.safely(self.labels.name, kind, name, scope, kind)

    def tags(self, tags: Tags) -> Tags:
        """Tags, which the program itself bound: scanned, like all it declares."""
        return Tags(self._tags(tags.bound), self._tags(tags.derived))

    def _tags(self, tags: Mapping[str, Scalar]) -> dict[str, Scalar]:
        try:
            return {name: self._tag(name, tag) for name, tag in tags.items()}
        except Exception:  # one by one, so that a fault costs one of them
            kept = {name: self.safely(self._tag, None, name, tag) for name, tag in tags.items()}
        return {name: tag for name, tag in kept.items() if tag is not None}

    def _tag(self, name: str, value: Scalar) -> Scalar:
        if isinstance(value, str):
            return self.declared(self.labels.key(name), value)
        if isinstance(value, bool) or not looks_like_identifier(value):
            return value
        text = str(int(value))  # a job's number may be long, a card's may not leave
        clean = self._scanned(text)
        return value if clean == text else clean

    # -- used by Judge ------------------------------------------------------------------------------

    def declared(self, key: Key, text: str) -> str:
        """A text that the program itself set: scanned and cut."""
        return key.marker(text) or self._scanned(text)

    def _scanned(self, text: str) -> str:
        found = self._texts.get(text)
        if found is None:
            if len(self._texts) >= _CACHE:
                self._texts.clear()
            found = sound(redact_text(text[: MAX_DECLARED * 8])[:MAX_DECLARED])
            if len(text) <= MAX_DECLARED:
                self._texts[text] = found
        return found

    def fits(self, name: str, key: Key, text: str) -> bool:
        """Whether a text may leave under a safe key: of its shape, and nothing in it found."""
        shape = key.shape
        if shape is None or len(text) > 2048:
            return False
        known = self.clean.get(name, _NONE_YET).get(text)
        if known is None:
            known = not text or (fits(shape, text) and not (shape.scanned and find(text)))
            self.remember(name, text, clean=known)
        return known

    def known(self, name: str, value: str | tuple[str, ...]) -> bool:
        """Whether a value under a key was judged before, and may leave."""
        return self.clean.get(name, _NONE_YET).get(value, False)

    def remember(self, name: str, value: str | tuple[str, ...], *, clean: bool) -> None:
        """Keep what was found out about a value under a key."""
        values = self.clean.get(name)
        if values is None:
            if len(self.clean) >= _CACHE:
                self.clean.clear()
            values = self.clean[name] = {}
        elif len(values) >= _VALUES:  # of a key like an id, whose values never come again
            values.clear()
        values[value] = clean


class Judge:
    """One grant, applied to the parts of a span."""

    def __init__(self, guard: Guard, grant: Grant, tenant: str | None) -> None:
        self._guard = guard
        self.grant = grant
        self._tenant = tenant
        self.mode = grant.mode
        self._rule = f"policy {grant.mode}"

    def attributes(
        self, attributes: Mapping[str, Any], declared: Collection[str] = ()
    ) -> tuple[dict[str, Any], list[Removed]]:
        """The attributes that may leave, and notes of the others.

        `declared` are keys the program itself set through `span` and `event`.
        """
        kept: dict[str, Any] = {}
        removed: list[Removed] = []
        closed, keys, clean = self.mode == "none", self._guard.labels.keys, self._guard.clean
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
            key = self._guard.labels.key(name)
            if self.mode == "none" and type(value) is tuple and self._guard.known(name, value):
                found = value
            elif self.mode != "none" and (_small(value) or not name.startswith(_ASSOCIATION)):
                found = self._open(key, value, 0)
                name = name if key.tame else self.text(name)
            elif key.tame:
                found = self._closed(name, key, value, declared=name in declared)
        except Exception:
            self._guard.faulted()
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
                pseudonym=self._guard._pseudonym(self._tenant),
                extra=_terms(self.grant.terms),
            )
        )

    def _closed(self, name: str, key: Key, value: Any, *, declared: bool) -> Any:
        """The value while content is off, or None: numbers, declared texts, texts of a safe key's shape."""
        if isinstance(value, str):
            text = value if type(value) is str else str.__str__(value)
            if declared or self._opened(name):
                return self._guard.declared(key, text)
            return text if self._guard.fits(name, key, text) else None
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
                self._guard.remember(name, value, clean=True)  # for every tenant: by the allow-list alone
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
            key = self._guard.labels.key(str(name))
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
            if isinstance(found, str) and self._guard.fits(name, self._guard.labels.key(name), found):
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


def _tame(value: str) -> bool:
    return len(value) <= 64 and value.isascii() and value.replace(":", "").replace(";", "").isalnum()
