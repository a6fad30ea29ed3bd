"""Apply one grant to the parts of a span and return the content that may leave."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from somatrace import semconv
from somatrace.context.span_state import DECLARED_MARK
from somatrace.guard.allow_list import is_listed, is_response_id, looks_like_identifier
from somatrace.guard.attribute_names import MAX_READ, UNKNOWN, KeyVerdict, utf8_safe
from somatrace.guard.detection.detectors.structured_values import names_its_entry, values_its_entry
from somatrace.guard.langfuse_keys import PARAMETERS
from somatrace.guard.model_parameters import without_content
from somatrace.guard.policy.model import Grant
from somatrace.guard.redaction.redact import OVERFLOW, find, redact_text
from somatrace.guard.redaction.work import is_exhausted
from somatrace.guard.removal_notes import RemovalNote, length_of
from somatrace.guard.safe_shapes import IDENTIFIER
from somatrace.guard.term_filter import TermFilter
from somatrace.guard.verdict_cache import VerdictCache

MAX_DEPTH: Final = 8
#: No number below it is an identifier or a card.
SMALL: Final = 10**7
#: of a payment card
_MAX_DIGITS: Final = 19
_SECRETS: Final = frozenset({"secrets"})
#: Traceloop never detaches its properties: they may be another tenant's, so no tenant's policy releases them.
ASSOCIATION: Final = "traceloop.association.properties."

Pseudonym = Callable[[str, str], str]
NOTHING_DECLARED: Final[Mapping[str, Any]] = {}
_NEVER: Final = object()
#: Marker for a list whose items form a secret only when joined.
SPLIT: Final = "[REDACTED:split]"
_NAME: Final = re.compile(r"[\w.<>]+")


class Passes(NamedTuple):
    """What a filter says of a key, whatever the value is."""

    #: Whether small numbers leave.
    numbers: bool
    #: Whether a text may leave, after a look at it.
    texts: bool = True
    #: Whether each id of a provider's response leaves.
    response_ids: bool = False


class ContentFilter:
    """Applies one grant to the parts of a span."""

    def __init__(
        self,
        grant: Grant,
        known: VerdictCache,
        faulted: Callable[[], None],
        pseudonym: Callable[[], Pseudonym | None] = lambda: None,
    ) -> None:
        """`faulted` is called for each value that could not be checked; `pseudonym` returns a function."""
        self.grant = grant
        self.mode = grant.mode
        self._known = known
        self._faulted = faulted
        self._pseudonym = pseudonym
        #: The rule in the notes on what the policy removes.
        self.rule = f"policy {grant.mode}"
        self.terms = TermFilter(grant)
        self.words = self.terms.words
        #: Whether values are judged as for a tenant without a policy.
        self.grants_nothing = grant.mode == "none" and not grant.safe_keys and not self.terms

    def passes(self, name: str) -> Passes:
        """What may leave under a key without a closer look at each value."""
        key = self._known.names.key(name)
        if self.mode != "none":
            return Passes(key.tame and key.meaning is None and not name.startswith(ASSOCIATION))
        texts = key.shape is not None or bool(self.grant.safe_keys) or name not in self._known.names.keys
        return Passes(key.plain, texts, key.shape is IDENTIFIER)

    @functools.cached_property
    def fingerprint(self) -> str:
        """The grant's."""
        return self.grant.fingerprint

    @functools.cached_property
    def closed(self) -> ContentFilter:
        """The filter of the same tenant for parts whose texts may be those of another one: content is off."""
        grant = Grant("none", terms=self.grant.terms, own=self.grant.own)
        return ContentFilter(grant, self._known, self._faulted, self._pseudonym)

    def attributes(
        self, attributes: Mapping[str, Any], declared: Mapping[str, Any] = NOTHING_DECLARED
    ) -> tuple[dict[str, Any], list[RemovalNote]]:
        """The attributes that may leave, and notes on the removed ones.

        `declared` holds the values that the program itself set through `span` and `event`, compared by
        identity: a value that a library writes under the same key later does not count as declared.
        """
        kept: dict[str, Any] = {}
        removed: list[RemovalNote] = []
        closed = self.mode == "none"
        keys, clean = self._known.names.keys, self._known.clean
        unopened = not self.grant.safe_keys
        for given, value in attributes.items():
            # a subclass may claim to equal a known key
            name = given if type(given) is str else _exact(given)
            if closed:  # fast path: most values are decided without a full check
                kind = type(value)
                if kind is str or (kind is tuple and len(value) == 1 and type(value[0]) is str):
                    seen = clean.get(name)
                    if seen is not None and seen.get(value):
                        kept[name] = value
                        continue
                    key = keys.get(name)
                    if key is not None and unopened and kind is str and name not in declared:
                        if key.shape is None:  # no text leaves under a key outside the allow-list
                            removed.append(RemovalNote(name, len(value), self.rule))
                            continue
                        if key.shape is IDENTIFIER and is_response_id(value):
                            kept[name] = value
                            continue
                elif kind is bool or ((kind is int or kind is float) and -SMALL < value < SMALL):
                    key = keys.get(name)
                    if key is not None and key.plain:
                        kept[name] = value
                        continue
            self._filter_one(name, value, declared, kept, removed)
        return self._without_terms(kept, removed) if closed and self.terms.detectors else (kept, removed)

    def _without_terms(
        self, kept: dict[str, Any], removed: list[RemovalNote]
    ) -> tuple[dict[str, Any], list[RemovalNote]]:
        """The result without the grant's terms while content is off; released content has none left."""
        return self.terms.mapping(kept), [one._replace(key=self.words(one.key)) for one in removed]

    def _filter_one(
        self,
        name: str,
        value: Any,
        declared: Mapping[str, Any],
        kept: dict[str, Any],
        removed: list[RemovalNote],
    ) -> None:
        """Add one attribute to `kept` or a note to `removed`."""
        key, found, rule = UNKNOWN, None, self.rule
        try:
            key = self._known.names.key(name)
            if self.mode == "none" and _texts(value) and self._known.is_clean(name, value):
                found = value
            elif self.mode != "none" and (
                not name.startswith(ASSOCIATION) or (type(value) is int and abs(value) < SMALL)
            ):
                found = self._open(key, value, 0)
                name = self.words(name) if key.tame else self.text(name)
            elif key.tame:
                found = self._closed(name, key, value, declared=declared.get(name, _NEVER) is value)
        except Exception:
            self._faulted()
            found, rule = None, "fault"
        if found is None:
            removed.append(RemovalNote(name if key.tame else "?", length_of(value), rule))
        else:
            kept[name] = found

    def text(self, text: str) -> str:
        """A text released as content, with the values that the grant excludes redacted."""
        if is_exhausted():
            return OVERFLOW
        text = self._known.whole(text)
        if self.mode == "full":
            return utf8_safe(redact_text(text, categories=_SECRETS))
        return utf8_safe(
            redact_text(
                text,
                categories=self.grant.categories | _SECRETS,
                pseudonym=self._pseudonym(),
                extra=self.terms.detectors,
            )
        )

    def own_text(self, text: str) -> str:
        """A text that the program writes for its operators, such as a log line: redacted under each grant."""
        if self.mode != "none":
            return self.text(text)
        if is_exhausted():
            return OVERFLOW
        return utf8_safe(redact_text(self._known.whole(text), extra=self.terms.detectors))

    def body(self, value: Any) -> Any:
        """A value without a key, treated as one under an unknown key; None if it may not leave."""
        try:
            if self.mode == "none":
                return self._closed("", UNKNOWN, value, declared=False)
            return self._open(UNKNOWN, value, 0)
        except Exception:
            self._faulted()
            return None

    def _closed(self, name: str, key: KeyVerdict, value: Any, *, declared: bool) -> Any:
        """The value while content is off, or None: numbers, declared texts, texts in a safe key's shape."""
        if isinstance(value, str):
            text = value if type(value) is str else str.__str__(value)
            if declared or self._opened(name):
                return self._known.declared(key, text)
            return text if self._known.fits(name, key, text) else _reduced(key, text)
        if isinstance(value, bool):
            return value
        if isinstance(value, (int, float)):
            number = _plain(value)
            return None if number is None else self._closed_number(key, number)
        if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
            numbers = any(isinstance(item, (int, float)) for item in value)
            if numbers and not declared and not self._opened(name):
                return None  # a vector or token ids: the text can be reconstructed from them
            if _could_be_card(value) and find(str(list(value))):
                return None
            items = [self._closed(name, key, item, declared=declared) for item in value[:128]]
            if any(item is None for item in items):
                return None
            if _texts(value) and tuple(items) == value and not declared and not self.grant.safe_keys:
                self._known.remember(name, value, clean=True)  # for all tenants: the allow-list decided
            return tuple(items)
        return None

    def _closed_number(self, key: KeyVerdict, value: float) -> float | None:
        """A number, unless it could be a card, an identifier, a password, or an element of a sequence."""
        if not key.plain and (key.indexed or key.marker(str(value))):
            return None
        if looks_like_identifier(value) and not key.measure:
            return None
        return None if _is_card(value) else value

    def _opened(self, name: str) -> bool:
        """Whether the operator lists a key as safe."""
        return bool(self.grant.safe_keys) and is_listed(name, self.grant.safe_keys)

    def _open(self, key: KeyVerdict, value: Any, depth: int) -> Any:
        """The value where content is allowed, with texts at any depth redacted."""
        if isinstance(value, bool) or depth > MAX_DEPTH:
            return value if isinstance(value, bool) else None
        if isinstance(value, str):
            text = str.__str__(value)
            return key.marker(text) or self.text(text)
        if isinstance(value, (int, float)):
            number = _plain(value)
            return None if number is None else self._number(key, number)
        if isinstance(value, Mapping):
            return self._mapping(key, value, depth)
        if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
            return self._sequence(key, value[:1024], depth)
        return None

    def _sequence(self, key: KeyVerdict, value: Sequence[Any], depth: int) -> tuple[Any, ...]:
        """Check items individually and joined: a name may precede its value, and a value may span items."""
        if _could_be_card(value) and self.text(listed := str(list(value))) != listed:
            return (SPLIT,)
        kept: list[Any] = []
        under = key
        for place, item in enumerate(value):
            kept.append(self._open(under, item, depth + 1))
            is_name = isinstance(item, str) and ((len(value) == 2 and not place) or item.startswith("-"))
            under = self._known.names.key(_exact(item).lstrip("-")) if is_name else key
        if len(value) > 1 and all(isinstance(item, str) for item in value):
            joined = "".join(map(_exact, value))
            if self.text(joined) not in (joined, "".join(kept)):
                return (SPLIT,)
        return tuple(item for item in kept if item is not None)

    def _number(self, key: KeyVerdict, value: float) -> Any:
        if key.meaning is not None and (hidden := key.marker(str(value))):
            return hidden
        if self.mode == "full" or abs(value) < SMALL or not math.isfinite(value):
            return value
        text = str(int(value))
        clean = self.text(text)
        return value if clean == text else clean

    def _mapping(self, under: KeyVerdict, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        kept = {}
        items = {_exact(name): item for name, item in list(value.items())[:128]}
        stated = self._stated(items)
        for name, item in items.items():
            key = self._known.names.key(name)
            deciding = stated if stated is not None and values_its_entry(name) else key
            if deciding.meaning is None and under.meaning is not None:
                deciding = under  # everything below the name of a secret
            found = self._open(deciding, item, depth + 1)
            if found is not None:
                kept[self.words(name) if key.tame else self.text(name)] = found
        return kept

    def _stated(self, items: Mapping[str, Any]) -> KeyVerdict | None:
        """What an object's own name implies about its value: `{"Key": "PASSWORD", "Value": "x"}`."""
        for key, name in items.items():
            if isinstance(name, str) and names_its_entry(key):
                verdict = self._known.names.key(_exact(name))
                if verdict.meaning is not None:
                    return verdict
        return None

    def event(self, attributes: Mapping[str, Any]) -> dict[str, Any]:
        """An event's or link's attributes that may leave: of exceptions, only the type if content is off."""
        mark = attributes.get(semconv.DECLARED)
        if mark is None:
            return self.attributes(attributes)[0]
        plain = {key: value for key, value in attributes.items() if key != semconv.DECLARED}
        trusted = type(mark) is int and mark == DECLARED_MARK
        return self.attributes(plain, plain if trusted else NOTHING_DECLARED)[0]

    def place(self, text: str) -> str:
        """The place of a failure without findings and the grant's terms, name by name."""
        return _NAME.sub(lambda name: self.words(self._known.scanned(name[0])), text)

    def status(self, description: str | None, attributes: Mapping[str, Any]) -> str:
        """A status description. While content is off, only the error's code or type."""
        if self.mode != "none":
            return self.text(description or "")
        for name in (semconv.ERROR_CODE, semconv.ERROR_TYPE):
            found = attributes.get(name)
            found = str.__str__(found) if isinstance(found, str) else ""
            if found and self._known.fits(name, self._known.names.key(name), found):
                return self.words(found)
        return ""


def _reduced(key: KeyVerdict, text: str) -> str | None:
    """What of a text may leave that does not have the shape of its key."""
    return without_content(text) if key.shape is PARAMETERS and len(text) <= MAX_READ else None


def _is_card(value: float) -> bool:
    """Whether a detector finds something in the integer part of a number."""
    return SMALL <= abs(value) < 10**20 and bool(find(str(int(value))))


def _could_be_card(value: Sequence[Any]) -> bool:
    """Whether a sequence has as many numbers as a card has digits or groups."""
    return 3 <= len(value) <= _MAX_DIGITS and all(type(item) is int for item in value)


def _exact(text: object) -> str:
    """The actual text, even of a subclass that overrides `__str__`."""
    return text if type(text) is str else str.__str__(text if isinstance(text, str) else str(text))


def _texts(value: object) -> bool:
    """Whether a value is a tuple of plain texts; subclasses may override hashing and comparison."""
    return type(value) is tuple and all(type(item) is str for item in value)


def _plain(value: float) -> float | None:
    """The plain number if it fits 64 bits: a subclass of int or float may override its own formatting."""
    if isinstance(value, int):
        number = value if type(value) is int else int.__int__(value)
        return number if -(2**63) <= number < 2**63 else None
    return value if type(value) is float else float.__float__(value)
