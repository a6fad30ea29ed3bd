"""Judge and encode the attributes of a span in one traversal, remembering the pairs that recur.

A remembered pair is one that the filter has kept as it was. It belongs to the filter, so that another grant
starts with nothing remembered, and to the exact type of its value: 1, 1.0 and True are different.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from somatrace import semconv
from somatrace.delivery.attribute_encoding import MAX_LENGTH, KeyEncoder, are_few_texts
from somatrace.delivery.protobuf_wire import double
from somatrace.guard.allow_list import is_response_id
from somatrace.guard.content_filter import SMALL, ContentFilter
from somatrace.guard.removal_notes import RemovalNote
from somatrace.pipeline.observation_types import TYPE_KEYS
from somatrace.pipeline.token_counts import COUNT_KEYS

#: Keys and pairs that are remembered under all filters, and filters.
_MAX_KNOWN: Final = 8192
_MAX_FILTERS: Final = 256
#: Values of one key: beyond these its values do not recur.
_MAX_VALUES: Final = 128

#: Keys whose values a copy needs, because they are put together with others.
_APART: Final = frozenset(
    (
        semconv.TRACE_TAGS,
        "langfuse.tags",
        semconv.OBSERVATION_USAGE,
        semconv.OBSERVATION_COST,
        semconv.COST_AMOUNT,
    )
)
#: Keys whose values decide about the span's type or usage, which is that of the values as they were.
_DECISIVE: Final = frozenset(
    (*COUNT_KEYS, *TYPE_KEYS, semconv.SPAN_KIND, semconv.RESPONSE_MODEL, semconv.REQUEST_MODEL)
)


#: By key: the note on a value that may not leave, or the key and the value that leave in place of the given.
Differing = dict[str, RemovalNote | tuple[str, Any]]


class NeedsCopy(Exception):  # noqa: N818 - it is no error
    """A span has an attribute that is more than a pair of its own."""


class _Key(KeyEncoder):
    """A key under one filter, with the pairs that the filter has kept."""

    __slots__ = ("decides", "is_apart", "kind", "known", "name", "passes", "passes_numbers")

    def __init__(self, name: str, content_filter: ContentFilter) -> None:
        super().__init__(name)
        self.name = name
        self.is_apart = name in _APART
        self.decides = self.is_apart or name in _DECISIVE
        self.passes = content_filter.passes(name)
        self.passes_numbers = self.passes.numbers and not self.is_apart
        #: Remembered pairs. They are of the type that the key had first, for which the others equal a value.
        self.known: dict[Any, bytes] = {}
        self.kind: type | None = None


class JudgedPairs:
    """Remembers keys and pairs by filter. Used by one thread at a time."""

    def __init__(self) -> None:
        self._filters: dict[int, tuple[ContentFilter, dict[str, _Key]]] = {}
        self._closed: dict[str, _Key] = {}
        self._known = 0

    def encode(
        self,
        values: Mapping[str, Any],
        declared: Mapping[str, Any],
        content_filter: ContentFilter,
        differing: Differing,
    ) -> list[bytes]:
        """The pairs of what `content_filter.attributes` leaves of the attributes. Adds what it removes or
        changes to `differing`.

        The values are of the types that spans have. Raises NeedsCopy if more follows from an attribute than
        its pair.
        """
        keys = self._keys(content_filter)
        pairs: list[bytes] = []
        for name, value in values.items():
            key = keys.get(name) or self._key(keys, name, content_filter)
            pair = key.known.get(value) if type(value) is key.kind else None
            if pair is None or (declared and name in declared):
                pair = self._judged(key, value, declared, content_filter, differing)
                if pair is None:
                    continue
            pairs.append(pair)
        return pairs

    def _keys(self, content_filter: ContentFilter) -> dict[str, _Key]:
        """The keys under a filter. Most filters are the same to values: those that grant nothing."""
        if self._known >= _MAX_KNOWN or len(self._filters) >= _MAX_FILTERS:
            self._filters.clear()
            self._closed.clear()
            self._known = 0
        if content_filter.grants_nothing:
            return self._closed
        known = self._filters.get(id(content_filter))
        if known is None or known[0] is not content_filter:
            known = self._filters[id(content_filter)] = content_filter, {}
        return known[1]

    def _key(self, keys: dict[str, _Key], name: str, content_filter: ContentFilter) -> _Key:
        self._known += 1
        key = keys[name] = _Key(name, content_filter)
        return key

    def _judged(
        self,
        key: _Key,
        value: Any,
        declared: Mapping[str, Any],
        content_filter: ContentFilter,
        differing: Differing,
    ) -> bytes | None:
        """The pair of a value that is not remembered, None if it may not leave."""
        kind = type(value)
        if declared and key.name in declared:
            pass
        elif kind is int or kind is float:
            if key.passes_numbers and -SMALL < value < SMALL:
                if kind is float:
                    return key.floats + double(value)
                return self._remember(key, value, key.number(value) if value >= 0 else key.any(value))
        elif kind is str and not key.decides:
            if not key.passes.texts:
                differing[key.name] = RemovalNote(key.name, len(value), content_filter.rule)
                return None
            if key.passes.response_ids and is_response_id(value):
                return key.text(value)
        return self._asked(key, value, declared, content_filter, differing)

    def _asked(
        self,
        key: _Key,
        value: Any,
        declared: Mapping[str, Any],
        content_filter: ContentFilter,
        differing: Differing,
    ) -> bytes | None:
        """The pair of what the filter leaves of a value, None if that is nothing."""
        name = key.name
        kept, removed = content_filter.attributes({name: value}, declared)
        is_unchanged = name in kept and type(kept[name]) is type(value) and kept[name] == value
        if key.is_apart or (key.decides and not is_unchanged):
            raise NeedsCopy
        if removed:
            (differing[name],) = removed
            return None
        if not is_unchanged:
            (changed,) = kept.items()
            differing[name] = changed
            return KeyEncoder(changed[0]).any(changed[1])
        pair = key.any(value)
        return pair if name in declared else self._remember(key, value, pair)

    def _remember(self, key: _Key, value: Any, pair: bytes) -> bytes:
        """Remember the pair of a value that the filter has kept as it was, if such a value may recur."""
        if len(key.known) < _MAX_VALUES:
            kind = type(value)
            if key.kind is None:
                key.kind = kind
            if key.kind is kind and (
                kind is int
                or kind is bool
                or (kind is str and len(value) <= MAX_LENGTH)
                or are_few_texts(value)
            ):
                self._known += 1
                key.known[value] = pair
        return pair
