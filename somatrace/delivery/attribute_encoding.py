"""Encode attributes as OTLP key-value pairs, remembering those that recur.

The numbers of fields are those of opentelemetry/proto/common/v1/common.proto.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from somatrace.delivery.protobuf_wire import delimited, double, int64, utf8, varint

#: Texts that are remembered in all, and those of one key: beyond these, its values do not recur.
_MAX_KNOWN: Final = 8192
_MAX_VALUES: Final = 128
#: Characters of a remembered text, and texts of a remembered tuple.
MAX_LENGTH: Final = 64
_MAX_ITEMS: Final = 4

# AnyValue
_STRING, _BOOL, _INT, _DOUBLE = b"\x0a", b"\x10", b"\x18", b"\x21"
_ARRAY, _MAP, _BYTES = b"\x2a", b"\x32", b"\x3a"
#: `ArrayValue.values`, `KeyValueList.values`
_ITEM: Final = b"\x0a"
# KeyValue
_KEY, _VALUE = b"\x0a", b"\x12"


class KeyEncoder:
    """A key, encoded, with the pairs of it that have occurred."""

    __slots__ = ("_numbers", "false", "floats", "head", "ints", "pairs", "true", "tuples")

    def __init__(self, name: str) -> None:
        self.head = delimited(_KEY, utf8(name)) + _VALUE
        #: Pairs of texts, and of numbers: 1, 1.0 and True are different.
        self.pairs: dict[str, bytes] = {}
        self.ints: dict[int, bytes] = {}
        #: Pairs of few short texts.
        self.tuples: dict[tuple[str, ...], bytes] = {}
        self.true, self.false = self.pair(_bool(True)), self.pair(_bool(False))
        #: What precedes the bytes of a number that is not negative, by their count less 1.
        self._numbers = [self.pair(_INT + bytes(count))[:-count] for count in range(1, 10)]
        #: What precedes the bytes of a float.
        self.floats = self.pair(_double(0.0))[:-8]

    def pair(self, value: bytes) -> bytes:
        """The pair of this key and an encoded AnyValue, preceded by its length."""
        content = self.head + varint(len(value)) + value
        return varint(len(content)) + content

    def any(self, value: Any) -> bytes:
        """The pair of this key and a value; TypeError or OverflowError if OTLP has no such value."""
        return self.text(value) if type(value) is str else self.pair(any_value(value))

    def number(self, value: int) -> bytes:
        """The pair of this key and a number that is not negative and has at most 63 bits."""
        encoded = varint(value)
        return self._numbers[len(encoded) - 1] + encoded

    def text(self, value: str) -> bytes:
        """The pair of this key and a text: `pair` in one step."""
        encoded = str.encode(value, "utf-8", "replace")
        count = len(encoded)
        size = varint(count)
        inner = 1 + len(size) + count
        head = self.head + varint(inner) + _STRING + size
        return varint(len(head) + count) + head + encoded


class AttributeEncoder:
    """Encodes attributes. Used by one thread at a time."""

    def __init__(self) -> None:
        self._keys: dict[str, KeyEncoder] = {}
        self._known = 0

    def encode(self, attributes: Mapping[str, Any], tag: bytes) -> tuple[bytes, int]:
        """The attributes as repetitions of the field `tag`, and the number that cannot be encoded."""
        keys = self._keys
        encoded = [b""]  # the tag precedes each pair
        add = encoded.append
        failed = 0
        for name, value in attributes.items():
            try:
                key = keys.get(name) or self._key(name)
                kind = type(value)
                if kind is str:
                    add(key.pairs.get(value) or self._recurring(key, value))
                elif kind is int:
                    add(key.ints.get(value) or self._number(key, value))
                elif kind is bool:
                    add(key.true if value else key.false)
                elif kind is float:
                    add(key.floats + double(value))
                elif are_few_texts(value):
                    add(key.tuples.get(value) or self._texts(key, value))
                else:
                    add(key.any(value))
            except Exception:
                failed += 1
        return tag.join(encoded), failed

    def _key(self, name: str) -> KeyEncoder:
        if self._known >= _MAX_KNOWN:
            self._keys.clear()
            self._known = 0
        self._known += 1
        key = self._keys[name] = KeyEncoder(name)
        return key

    def _recurring(self, key: KeyEncoder, value: str) -> bytes:
        pair = key.text(value)
        if len(value) <= MAX_LENGTH and len(key.pairs) < _MAX_VALUES and self._known < _MAX_KNOWN:
            self._known += 1
            key.pairs[value] = pair
        return pair

    def _texts(self, key: KeyEncoder, value: tuple[str, ...]) -> bytes:
        pair = key.any(value)
        if len(key.tuples) < _MAX_VALUES and self._known < _MAX_KNOWN:
            self._known += 1
            key.tuples[value] = pair
        return pair

    def _number(self, key: KeyEncoder, value: int) -> bytes:
        pair = key.number(value) if 0 <= value < 1 << 63 else key.any(value)
        if len(key.ints) < _MAX_VALUES and self._known < _MAX_KNOWN:
            self._known += 1
            key.ints[value] = pair
        return pair


def are_few_texts(value: Any) -> bool:
    """Whether a value is a short tuple of short texts; subclasses may override hashing and comparison."""
    if type(value) is not tuple or not 1 <= len(value) <= _MAX_ITEMS:
        return False
    for item in value:  # noqa: SIM110 - a generator costs more than the loop
        if type(item) is not str or len(item) > MAX_LENGTH:
            return False
    return True


def any_value(value: Any) -> bytes:
    """A value as the content of an AnyValue; TypeError or OverflowError if OTLP has no such value."""
    encode = _ENCODERS.get(type(value))
    if encode is not None:
        return encode(value)
    for kind, encode in _ENCODERS.items():
        if isinstance(value, kind):
            return encode(value)
    raise TypeError(f"no OTLP value for {type(value).__name__}")


def _bool(value: bool) -> bytes:
    return _BOOL + (b"\x01" if value else b"\x00")


def _text(value: str) -> bytes:
    return delimited(_STRING, utf8(value))


def _int(value: int) -> bytes:
    return _INT + int64(value)


def _double(value: float) -> bytes:
    return _DOUBLE + double(value)


def _bytes(value: bytes) -> bytes:
    return delimited(_BYTES, value)


def _array(values: Sequence[Any]) -> bytes:
    return delimited(_ARRAY, b"".join([delimited(_ITEM, any_value(value)) for value in values]))


def _map(values: Mapping[Any, Any]) -> bytes:
    pairs = [_ITEM + KeyEncoder(str(name)).pair(any_value(value)) for name, value in values.items()]
    return delimited(_MAP, b"".join(pairs))


#: In the order in which a value of another class is matched: a bool is an int, a text is a sequence.
_ENCODERS: Final[Mapping[type[Any], Callable[[Any], bytes]]] = {
    type(None): lambda _: b"",
    bool: _bool,
    str: _text,
    int: _int,
    float: _double,
    bytes: _bytes,
    tuple: _array,
    list: _array,
    dict: _map,
    Sequence: _array,
    Mapping: _map,
}
