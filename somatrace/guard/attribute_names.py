"""Check span names and attribute keys, since both can be made of content."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from somatrace import semconv
from somatrace.context.span_state import Naming
from somatrace.guard.allow_list import (
    SAFE_KEYS,
    fits,
    is_familiar,
    is_measure,
    shape_of,
)
from somatrace.guard.detection.detectors.secret_names import (
    NameMeaning,
    NameStrength,
    is_proved,
    meaning,
    stands_elsewhere,
)
from somatrace.guard.name_forms import library_name
from somatrace.guard.program_scopes import is_program_scope
from somatrace.guard.redaction.redact import find, redact_text
from somatrace.guard.request_names import RequestName, request_name
from somatrace.guard.safe_shapes import ROUTE, SafeShape

MAX_NAME: Final = 128
#: Characters. A longer text is not a name, and scanning it would take as long as scanning a prompt.
MAX_READ: Final = 4096
#: A longer name is treated as a sentence.
MAX_WORDS: Final = 8
MAX_NAMES_PER_SCOPE: Final = 200
#: Distinct texts under one allow-list key whose texts are words of the program.
MAX_VALUES_PER_KEY: Final = 1000
#: Names of this many words or more look like prompts; few programs have many of them.
WORDY: Final = 4
MAX_WORDY_PER_SCOPE: Final = 16
#: Distinct keys outside the allow-list; further ones are treated as content.
MAX_KEYS: Final = 2000

_KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.:/$-]{0,127}")
#: An element of a sequence that is spread over keys, from which a text can be reconstructed.
_INDEXED: Final = re.compile(
    r"(?:embeddings?|vectors?|tokens?|(?:token|input)?_?ids|logit_bias|log_?probs?)[._\[][0-9]+\]?$"
)
_SENTENCE: Final = re.compile(r"[?!\"\n\r]|\S\s+(?:\S+\s+){7}\S")
#: Longer sentences are recognized before they are scanned.
_LONG: Final = 512
#: Requests with a route, by scope.
MAX_ROUTES_PER_SCOPE: Final = 1000
#: Scopes whose origin is remembered.
_MAX_SCOPES: Final = 1024


class KeyVerdict(NamedTuple):
    """What a key implies: whether the key itself may leave, and which values under it may."""

    tame: bool
    shape: SafeShape | None
    measure: bool
    meaning: NameMeaning | None
    #: an element of a sequence spread over keys: a component of a vector, a token id
    indexed: bool = False
    #: any small number may leave under it
    plain: bool = False

    def marker(self, text: str) -> str | None:
        """The marker for a text whose key marks it as a secret; None for other texts."""
        found = self.meaning
        if found is None or stands_elsewhere(text):
            return None
        if found.strength in (NameStrength.RANDOM, NameStrength.KEY) and not is_proved(
            found, text, found.least
        ):
            return None
        return f"[{found.type}]"


_NONE_YET: Final[dict[str, str]] = {}
UNKNOWN: Final = KeyVerdict(tame=False, shape=None, measure=False, meaning=None)


class _Names:
    """Names that have left, and how many multi-word names there were, by place."""

    def __init__(self) -> None:
        self.known: dict[str, dict[str, str]] = {}
        self.wordy: dict[str, int] = {}


class AttributeNames:
    """Checks names and keys and remembers the results: there are few of them, unless they are content."""

    def __init__(self) -> None:
        self._names = _Names()
        self._events = _Names()
        self._declared_events = _Names()
        self._labels = _Names()
        self._routes: dict[str, dict[str, bool]] = {}
        self._own: dict[str, bool] = {}
        self._values: dict[str, set[str]] = {}
        self._wordy: dict[str, int] = {}
        self.keys: dict[str, KeyVerdict] = {}

    def key(self, key: str) -> KeyVerdict:
        known = self.keys.get(key)
        if known is not None:
            return known
        shape = shape_of(key)
        full = len(self.keys) >= MAX_KEYS
        familiar = key in SAFE_KEYS or is_familiar(key)
        tame = familiar or (not full and _KEY.fullmatch(key) is not None and not find(key))
        last = key[-MAX_NAME:]
        # a header's name ends a key; a marker in its place implies nothing about the value
        name_meaning = None if last.startswith("[") else meaning(last) or meaning(last.rpartition(".")[2])
        indexed = _INDEXED.search(key) is not None
        made = KeyVerdict(
            tame,
            shape if tame else None,
            is_measure(key),
            name_meaning,
            indexed,
            tame and name_meaning is None and not indexed,
        )
        if tame and not full:
            self.keys[key] = made
        return made

    def name(self, naming: Naming, scope: str, kind: str) -> str:
        """The name of a span that may leave.

        A request is named by its method and route. Names of the program are scanned and truncated; a name
        that reads like a sentence becomes `scope.kind`, and further ones do once the scope has had too many
        names or too many multi-word names, as when prompts are used as names. The same holds for names
        of libraries, which must have the form of an identifier or of an operation besides.
        """
        if not (naming.is_server or naming.is_client or naming.is_http):  # fast path: most spans
            found = self._names.known.get(scope, _NONE_YET).get(naming.name)
            if found is not None:
                return found
        own = not naming.is_renamed and self._is_own(scope)
        request = request_name(naming, own=own)
        if request is not None:
            return self._request(request, scope)
        found = self._admitted(self._names, naming.name, scope, own=own)
        return f"{scope}.{kind}"[:MAX_NAME] if found is None else found

    def event(self, name: str, scope: str, *, declared: bool) -> str:
        """The name of an event of a span that may leave; the program has `declared` those of `event`."""
        names = self._declared_events if declared else self._events
        found = self._admitted(names, name, scope, own=declared or self._is_own(scope))
        return f"{scope}.event"[:MAX_NAME] if found is None else found

    def label(self, text: str, use: str) -> str:
        """A name that the program or a library has for a part of itself: of a workflow, an agent, a scope."""
        found = self._admitted(self._labels, text, use, own=True)
        return f"{use}.name"[:MAX_NAME] if found is None else found

    def _is_own(self, scope: str) -> bool:
        """Whether the program itself names the spans of a scope."""
        own = self._own.get(scope)
        if own is None:
            if len(self._own) >= _MAX_SCOPES:
                self._own.clear()
            self._own[scope] = own = scope == semconv.SCOPE or is_program_scope(scope)
        return own

    def _request(self, request: RequestName, scope: str) -> str:
        method, route, message = request
        name = f"{method} {message}".strip() if message else method
        if not route:
            return name
        known = self._routes.setdefault(scope, {})
        may_leave = known.get(route)
        if may_leave is None:
            may_leave = len(known) < MAX_ROUTES_PER_SCOPE and fits(ROUTE, route) and not find(route)
            if may_leave:
                known[route] = True
        return f"{name} {route}"[:MAX_NAME] if may_leave else name

    def _admitted(self, names: _Names, name: str, where: str, *, own: bool) -> str | None:
        """The form of the name that may leave, within the limits of the names in its place."""
        known = names.known.get(where)
        if known is None:
            known = names.known[where] = {}
        found = known.get(name)
        if found is None and len(known) < MAX_NAMES_PER_SCOPE:
            found = _checked(name) if own else _unchanged(library_name(name, where))
            # a refused name does not count, so that prompts do not use up the place of names
            if not found or not _within_limit(names.wordy, name, where):
                return None
            known[name] = found
        return found

    def admits(self, value: str, key: str) -> bool:
        """Whether a key with few expected texts is still within its limit of distinct texts."""
        known = self._values.setdefault(key, set())
        if value not in known:
            if len(known) >= MAX_VALUES_PER_KEY or not _within_limit(self._wordy, value, key):
                return False
            known.add(value)
        return True


def _within_limit(counts: dict[str, int], text: str, where: str) -> bool:
    """Whether a multi-word text is within the limit of its place. Shorter texts always are."""
    if not _wordy(text):
        return True
    counts[where] = counts.get(where, 0) + 1
    return counts[where] <= MAX_WORDY_PER_SCOPE


def _wordy(name: str) -> bool:
    """Whether a name looks like a short prompt; not every script separates words with spaces."""
    return len(name.split()) >= WORDY or (not name.isascii() and len(name) >= WORDY * 3)


def utf8_safe(text: str) -> str:
    """The text with lone surrogates replaced, so that UTF-8 can encode it. Otherwise the encoder writes a
    traceback to the program's log."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _unchanged(name: str) -> str:
    """The name if nothing is found in it, else an empty text."""
    return "" if find(name) else name


def _checked(name: str) -> str:
    """The name without findings, or an empty text if it reads like a sentence."""
    if len(name) > MAX_READ or (len(name) > _LONG and _SENTENCE.search(name)):
        return ""
    text = redact_text(name)
    return "" if _SENTENCE.search(text) else utf8_safe(text[:MAX_NAME])
