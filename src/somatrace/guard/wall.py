"""Decides value by value what of a span may leave, fail-closed: a fault drops the value, never the span."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from typing import Final, Literal, NamedTuple

from somatrace import names
from somatrace.guard.keys import RESOURCE_SECRETS, is_content
from somatrace.tags import Tags

log = logging.getLogger("somatrace")

Mode = Literal["none", "redacted", "full"]
Value = object

MAX_NAME: Final = 128
MAX_DECLARED: Final = 256
MAX_NAMES_PER_SCOPE: Final = 200


class Removed(NamedTuple):
    """A note of what was taken away: key and length (characters, or items of a sequence), never the value."""

    key: str
    length: int


class Guard:
    """The policy of one process. `fault` is called for each value the guard could not judge."""

    def __init__(self, fault: Callable[[], None] = lambda: None) -> None:
        self._fault = fault
        self._names: dict[str, set[str]] = {}

    def mode(self, tags: Tags) -> Mode:
        """What the tenant of these tags allows. Content is off for everybody."""
        del tags
        return "none"

    def name(self, name: str, scope: str, kind: str, mode: Mode) -> str:
        """A span's name: cut, and `scope.kind` once a scope has shown too many, as one does that
        uses prompts as names."""
        del mode
        known = self._names.setdefault(scope, set())
        cut = str(name)[:MAX_NAME]
        if cut in known:
            return cut
        if len(known) >= MAX_NAMES_PER_SCOPE:
            return f"{scope}.{kind}"
        known.add(cut)
        return cut

    def attributes(
        self, attributes: Mapping[str, Value], mode: Mode, declared: frozenset[str] = frozenset()
    ) -> tuple[dict[str, Value], list[Removed]]:
        """The attributes that may leave, and notes of the others.

        `declared` are keys the program itself set through `span`; their strings are cut to 256 characters.
        """
        kept: dict[str, Value] = {}
        removed: list[Removed] = []
        for key, value in attributes.items():
            try:
                if key in declared and isinstance(value, str):
                    kept[key] = value[:MAX_DECLARED]
                elif mode == "none" and is_content(key):
                    removed.append(Removed(key, _length(value)))
                else:
                    kept[key] = value
            except Exception:
                self._fault()
                removed.append(Removed(str(key)[:MAX_NAME], 0))
        return kept, removed

    def event(self, name: str, attributes: Mapping[str, Value], mode: Mode) -> tuple[str, dict[str, Value]]:
        """An event's name and attributes. Texts of foreign events go; of an exception only its type stays."""
        declared = names.DECLARED in attributes
        kept: dict[str, Value] = {}
        for key, value in attributes.items():
            if key == names.DECLARED:
                continue
            if not isinstance(value, str):
                if not is_content(key) and isinstance(value, (bool, int, float)):
                    kept[key] = value
            elif declared or mode != "none" or key in (names.EXCEPTION_TYPE, names.ERROR_TYPE):
                kept[key] = value[:MAX_DECLARED]
        return name[:MAX_NAME], kept

    def status(self, attributes: Mapping[str, Value]) -> str:
        """A status description that says which error it was, from type and code, without its text."""
        found = attributes.get(names.ERROR_CODE) or attributes.get(names.ERROR_TYPE) or ""
        return str(found)[:MAX_NAME]

    def resource(self, attributes: Mapping[str, Value]) -> dict[str, Value]:
        return {key: value for key, value in attributes.items() if not key.startswith(RESOURCE_SECRETS)}


def note(removed: list[Removed]) -> str:
    """The value of `somatrace.guard.removed`: JSON, key and length of each removed value, at most 64."""
    return json.dumps([{"key": item.key[:MAX_NAME], "length": item.length} for item in removed[:64]])


def _length(value: Value) -> int:
    return len(value) if isinstance(value, (str, bytes, tuple, list)) else 1
