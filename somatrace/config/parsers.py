"""Parsers that validate one raw value: the text of a variable, or an object passed in code.

Each accepts any object and raises `BadValueError`, whose message says how to fix the value but never
repeats it: it could be a secret that landed in the wrong variable.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from ipaddress import ip_network
from typing import Any, Final

Parser = Callable[[object], Any]

TRUE: Final = frozenset({"true", "1", "yes", "on", "t", "y"})
FALSE: Final = frozenset({"false", "0", "no", "off", "f", "n"})
MAX_TEXT: Final = 4096
MAX_ITEMS: Final = 256
_UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
# compiled on first use: most processes never need them, and startup should be cheap
_SIZE: Final = r"\s*([0-9]{1,15})\s*([KMG]?)(?:I?B)?\s*"
_HOST_PATTERN: Final = (
    r"(\*\.)?[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?(:[0-9]{1,5})?|\[[0-9a-f:.]+\](:[0-9]{1,5})?"
)
_KEY_ID: Final = r"[A-Za-z0-9._-]{1,64}"
_NOTHING_KEPT: Final = object()


class BadValueError(Exception):
    """A value that cannot be used; `kept` is the usable part, if any."""

    def __init__(self, advice: str, kept: object = _NOTHING_KEPT) -> None:
        super().__init__(advice)
        self.kept = kept

    def kept_or(self, safe: object) -> object:
        """The usable part of the value, or `safe`."""
        return safe if self.kept is _NOTHING_KEPT else self.kept


def boolean(value: object) -> bool:
    """A bool, or one of the usual words for true and false in any case."""
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else ""
    if word in TRUE:
        return True
    if word in FALSE:
        return False
    raise BadValueError("use true or false")


def number(low: float, high: float, *, unit: float = 1.0, advice: str = "") -> Parser:
    """A finite number between `low` and `high` after multiplication by `unit` (0.001 for milliseconds)."""
    need = advice or f"use a number from {low / unit:g} to {high / unit:g}"

    def parse(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise BadValueError(need)
        try:
            scaled = float(value) * unit
        except (ValueError, OverflowError):
            raise BadValueError(need) from None
        if not low <= scaled <= high:  # never true for NaN
            raise BadValueError(need)
        return scaled

    return parse


def whole(low: int, high: int) -> Parser:
    """A whole number between `low` and `high`; sizes accept K, M or G (powers of 1024)."""
    need = f"use a whole number from {low} to {high}"

    def parse(value: object) -> int:
        if isinstance(value, str):
            match = re.fullmatch(_SIZE, value, re.IGNORECASE) if value.isascii() else None
            if match is None:
                raise BadValueError(need)
            value = int(match[1]) * _UNITS[match[2].upper()]
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise BadValueError(need)
        return value

    return parse


def choice(*options: str) -> Parser:
    """One of `options`, in any case."""

    def parse(value: object) -> str:
        word = value.strip().lower() if isinstance(value, str) else ""
        if word not in options:
            raise BadValueError(f"use one of {', '.join(options)}")
        return word

    return parse


def text(limit: int = MAX_TEXT) -> Parser:
    """Printable text of at most `limit` characters."""

    def parse(value: object) -> str:
        word = value.strip() if isinstance(value, str) else ""
        if not word or len(word) > limit or not word.isprintable():
            raise BadValueError(f"use 1 to {limit} printable characters")
        return word

    return parse


def secret(value: object) -> str:
    """A key: printable ASCII without spaces."""
    word = value.strip() if isinstance(value, str) else ""
    if not word or len(word) > MAX_TEXT or not word.isascii() or not word.isprintable() or " " in word:
        raise BadValueError(f"use only the key: 1 to {MAX_TEXT} printable ASCII characters without spaces")
    return word


def pseudonym_key(value: object) -> str:
    """A key for pseudonyms; a short one could be guessed, which would reveal the values."""
    word = secret(value)
    if len(word) < 16:
        raise BadValueError("use at least 16 characters; until then values are replaced without pseudonyms")
    return word


def items(value: object) -> list[str]:
    """The non-empty parts of a comma-separated text or of a sequence; at most MAX_ITEMS."""
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple | set | frozenset) or not all(
        isinstance(part, str) for part in parts
    ):
        raise BadValueError("use a comma-separated list")
    found = [part.strip() for part in parts if part.strip()]
    if len(found) > MAX_ITEMS:
        raise BadValueError(f"use at most {MAX_ITEMS} entries")
    return found


def several(check: Callable[[str], str | None], advice: str) -> Parser:
    """A list whose entries `check` normalizes; entries for which it returns None are skipped and reported."""

    def parse(value: object) -> tuple[str, ...]:
        checked = [check(part) for part in items(value)]
        good = tuple(dict.fromkeys(part for part in checked if part is not None))
        bad = checked.count(None)
        if bad:
            raise BadValueError(f"{bad} of {len(checked)} entries ignored: {advice}", kept=good)
        return good

    return parse


def network(part: str) -> str | None:
    """A CIDR network such as `10.0.0.0/8`, or one address."""
    try:
        return str(ip_network(part, strict=False))
    except ValueError:
        return None


def attribute_key(part: str) -> str | None:
    """The name of an attribute, such as `brand` or `app.job_type`."""
    return part if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.\-]{0,99}", part) else None


def host_pattern(part: str) -> str | None:
    """A host name, or `*.` and a domain. A bare `*` is rejected: it would send tags to every host."""
    word = part.lower()
    return word if len(word) <= 253 and re.fullmatch(_HOST_PATTERN, word) else None


def keys(value: object) -> str:
    """Signing keys as `id:base64,id2:base64`, each at least 16 bytes; unusable entries are skipped."""
    parts = items(value)
    good = [part for part in parts if _is_key(part)]
    kept = ",".join(good)
    if len(good) < len(parts):
        raise BadValueError(
            f"{len(parts) - len(good)} of {len(parts)} keys ignored: use id:base64 of at least 16 bytes",
            kept=kept,
        )
    return kept


def _is_key(part: str) -> bool:
    name, _, encoded = part.partition(":")
    try:
        raw = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return False
    return re.fullmatch(_KEY_ID, name) is not None and len(raw) >= 16
