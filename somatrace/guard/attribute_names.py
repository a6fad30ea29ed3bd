"""Names and keys: what may be one. Both can be made of content, so neither leaves unseen."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from somatrace.guard.allow_list import (
    DATABASE_OPERATION,
    SAFE_KEYS,
    SafeShape,
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
from somatrace.guard.redaction.redact import find, redact_text

MAX_NAME: Final = 128
#: Characters. A longer text is no name, and reading it would take the time of a prompt.
MAX_READ: Final = 4096
#: A longer name reads like a sentence.
MAX_WORDS: Final = 8
MAX_NAMES_PER_SCOPE: Final = 200
#: Distinct texts under one key of the allow-list whose texts are the program's words.
MAX_VALUES_PER_KEY: Final = 1000
#: Names of this many words and more are what prompts look like; few programs have many of them.
WORDY: Final = 4
MAX_WORDY_PER_SCOPE: Final = 16
#: Distinct keys outside the allow-list; further ones are no keys but content.
MAX_KEYS: Final = 2000

_KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.:/$-]{0,127}")
#: One of a row that is spread over keys, from which a text can be made again.
_INDEXED: Final = re.compile(
    r"(?:embeddings?|vectors?|tokens?|(?:token|input)?_?ids|logit_bias|log_?probs?)[._\[][0-9]+\]?$"
)
_SENTENCE: Final = re.compile(r"[?!\"\n\r]|\S\s+(?:\S+\s+){7}\S")
#: Instrumentation that names spans after what users wrote: of each name only a known ending leaves.
_NAMED_BY_CONTENT: Final = {
    "opentelemetry.instrumentation.crewai": frozenset({"workflow", "agent", "task", "llm"}),
}
#: Instrumentation that puts a database's name, perhaps its path or address, into those of spans.
_NAMED_BY_DATABASE: Final = "opentelemetry.instrumentation.sqlalchemy"


class KeyVerdict(NamedTuple):
    """What a key says: whether it may leave itself, and what of a value under it."""

    tame: bool
    shape: SafeShape | None
    measure: bool
    meaning: NameMeaning | None
    #: one of a row that is spread over keys: a vector's number, a token's
    indexed: bool = False
    #: any small number may leave under it
    plain: bool = False

    def marker(self, text: str) -> str | None:
        """What stands for a text whose key says that it is a secret; None where it does not."""
        found = self.meaning
        if found is None or stands_elsewhere(text):
            return None
        if found.strength in (NameStrength.RANDOM, NameStrength.KEY) and not is_proved(
            found, text, found.least
        ):
            return None
        return f"[{found.type}]"


UNKNOWN: Final = KeyVerdict(tame=False, shape=None, measure=False, meaning=None)


class AttributeNames:
    """Remembers the names and keys it has seen: there are few of them, unless they are content."""

    def __init__(self) -> None:
        self._names: dict[str, dict[str, str]] = {}
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
        # a header's name ends a key; a marker in place of one says nothing of the value
        said = None if last.startswith("[") else meaning(last) or meaning(last.rpartition(".")[2])
        indexed = _INDEXED.search(key) is not None
        made = KeyVerdict(
            tame,
            shape if tame else None,
            is_measure(key),
            said,
            indexed,
            tame and said is None and not indexed,
        )
        if tame and not full:
            self.keys[key] = made
        return made

    def name(self, name: str, scope: str, kind: str) -> str:
        """A name of a span or event: scanned and cut; `scope.kind` where it reads like a sentence, and once
        its scope has shown too many, or too many of several words, as one does that uses prompts as names."""
        known = self._names.setdefault(scope, {})
        found = known.get(name)
        if found is None:
            otherwise = f"{scope}.{kind}"[:MAX_NAME]
            if len(known) >= MAX_NAMES_PER_SCOPE or not self._room(name, scope):
                return otherwise
            found = known[name] = _name(name, scope) or otherwise
        return found

    def admits(self, value: str, key: str) -> bool:
        """Whether a key, under which few texts are expected, has not shown too many of them yet."""
        known = self._values.setdefault(key, set())
        if value not in known:
            if len(known) >= MAX_VALUES_PER_KEY or not self._room(value, f"under {key}"):
                return False
            known.add(value)
        return True

    def _room(self, text: str, where: str) -> bool:
        """Whether there is room for a text of several words; there is for any other."""
        if not _wordy(text):
            return True
        count = self._wordy[where] = self._wordy.get(where, 0) + 1
        return count <= MAX_WORDY_PER_SCOPE


def _wordy(name: str) -> bool:
    """Whether a name has the form of a short prompt; not every script puts spaces between words."""
    return len(name.split()) >= WORDY or (not name.isascii() and len(name) >= WORDY * 3)


def sound(text: str) -> str:
    """The text as UTF-8 can carry it: lone surrogates replaced. For anything else the encoder writes a
    traceback to the program's log."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _name(name: str, scope: str) -> str:
    """The name as it may leave, or nothing."""
    if len(name) > MAX_READ:
        return ""
    endings = _NAMED_BY_CONTENT.get(scope)
    if endings is not None:
        ending = name.rpartition(".")[2]
        return f"{scope.rpartition('.')[2]}.{ending}" if ending in endings else ""
    if scope == _NAMED_BY_DATABASE and not fits(DATABASE_OPERATION, name):
        return ""
    text = redact_text(name)
    return "" if _SENTENCE.search(text) else sound(text[:MAX_NAME])
