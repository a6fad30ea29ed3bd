"""Encoding of tags in the header `x-somatrace-tags`.

`1;<tags>` or `1;<tags>;<key id>;<unix time>;<signature>`, where `<tags>` is base64url of a JSON object:
`b` holds the bound tags, `d` those derived from enclosing spans. Messages also have `n`, the names that were
bound to None, so that the receiver supplies no tag of its own for them.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Final

from somatrace import semconv
from somatrace.context.tags import MAX_TAGS, Scalar, Tags, check_name, check_value
from somatrace.propagation.signing import Signature

#: Maximum characters of the whole header; a longer one is not read.
MAX_HEADER: Final = 2048
_MAX_PAYLOAD: Final = 1850  # leaves room for a signature with the longest key id
_HEADER = re.compile(
    r"1;(?P<payload>[A-Za-z0-9_-]{2,2000})"
    r"(?:;(?P<key>[A-Za-z0-9._-]{1,64});(?P<time>[0-9]{1,12});(?P<mac>[A-Za-z0-9_-]{43}))?"
)


def encode(tags: Tags, *, with_unbound: bool = False) -> tuple[str, int]:
    """The payload, or "" without tags, and the number of tags that did not fit.

    The known tags come first, in order of importance. `with_unbound` includes the known names bound to None.
    """
    bound, derived = dict(_sendable(tags.bound)), dict(_sendable(tags.derived))
    unbound = [name for name in semconv.KNOWN_TAGS if with_unbound and name in tags.unbound]
    left_out = 0
    while bound or derived or unbound:
        payload = _payload(bound, derived, unbound)
        if len(payload) <= _MAX_PAYLOAD:
            return payload, left_out
        (bound or derived).popitem()
        left_out += 1
    return "", left_out


def decode(payload: str) -> Tags:
    """The tags of a payload. Raises ValueError for anything that `encode` would not produce."""
    try:
        raw = base64.b64decode(payload + "=" * (-len(payload) % 4), altchars=b"-_", validate=True)
        parts = json.loads(raw, parse_constant=_reject)
    except (binascii.Error, UnicodeDecodeError, RecursionError) as error:
        raise ValueError("not base64url of JSON") from error
    if not isinstance(parts, dict) or not parts.keys() <= {"b", "d", "n"}:
        raise ValueError("not an object of tags")
    bound, derived = _checked(parts.get("b", {})), _checked(parts.get("d", {}))
    if semconv.TENANT in derived:
        raise ValueError("no span implies a tenant")
    return Tags(bound, derived, _checked_names(parts.get("n", []), bound))


def split(header: str) -> tuple[str, Signature | None]:
    """Payload and signature of a header value. Raises ValueError if it is malformed."""
    match = _HEADER.fullmatch(header) if len(header) <= MAX_HEADER else None
    if match is None:
        raise ValueError("not a tag header")
    signed = match["key"] is not None
    return match["payload"], Signature(match["key"], match["time"], match["mac"]) if signed else None


def join(payload: str, signature: Signature | None) -> str:
    """The header value."""
    return ";".join(("1", payload, *(signature or ())))


def _payload(bound: Mapping[str, Scalar], derived: Mapping[str, Scalar], unbound: Sequence[str]) -> str:
    parts = {key: part for key, part in (("b", bound), ("d", derived), ("n", unbound)) if part}
    text = json.dumps(parts, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def _sendable(tags: Mapping[str, Scalar]) -> list[tuple[str, Scalar]]:
    order = {name: position for position, name in enumerate(semconv.KNOWN_TAGS)}
    finite = [(name, value) for name, value in tags.items() if not _is_infinite(value)]
    return sorted(finite, key=lambda item: order.get(item[0], len(order)))


def _is_infinite(value: Scalar) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _checked(tags: object) -> dict[str, Scalar]:
    if not isinstance(tags, dict) or len(tags) > MAX_TAGS:
        raise ValueError("not a set of tags")
    checked = {check_name(name): check_value(name, value) for name, value in tags.items()}
    if any(_is_infinite(value) for value in checked.values()):
        raise ValueError("not a number")
    return checked


def _checked_names(names: object, bound: Mapping[str, Scalar]) -> list[str]:
    if not isinstance(names, list) or not all(name in semconv.KNOWN_TAGS for name in names):
        raise ValueError("not names of known tags")
    if any(name in bound for name in names):
        raise ValueError("both bound and not")
    return names


def _reject(constant: str) -> object:
    raise ValueError(f"{constant} is not JSON")
