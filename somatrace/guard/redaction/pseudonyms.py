"""Pseudonyms: the same value of the same tenant always becomes the same eight hex digits.

HMAC-SHA256 (RFC 2104) under a key derived per tenant, so that other tenants get other digits, and one
tenant's pseudonyms reveal nothing about another's. A plain hash could be reversed by trying every
phone number.
"""

from __future__ import annotations

import functools
import unicodedata
from typing import Final

_DOMAIN: Final = b"somatrace/pseudonym/1\0"
#: Types in which only letters and digits are significant.
_COMPACT: Final = frozenset({"CARD", "IBAN", "PHONE"})
LENGTH: Final = 8


def normalised(type_: str, value: str) -> str:
    """A value without insignificant differences: case, width, spaces, separators."""
    plain = unicodedata.normalize("NFKC", value).casefold()
    if type_ in _COMPACT:
        return "".join(character for character in plain if character.isalnum())
    return " ".join(plain.split())


class Pseudonym:
    """Pseudonyms of one tenant. Only a derived key is kept, and the repr does not show it."""

    __slots__ = ("_key",)

    def __init__(self, key: str | bytes, tenant: str) -> None:
        """`key` is the platform's (SOMATRACE_PSEUDONYM_KEY). ValueError below 16 characters."""
        secret = key.encode("utf-8", "surrogatepass") if isinstance(key, str) else bytes(key)
        if len(secret) < 16:
            raise ValueError("a pseudonym key must have at least 16 characters")
        self._key = _digest(secret, _DOMAIN + tenant.encode("utf-8", "surrogatepass"))

    def __call__(self, type_: str, value: str) -> str:
        """Eight hex digits identifying `value`."""
        message = f"{type_}|{normalised(type_, value)}".encode("utf-8", "surrogatepass")
        return _digest(self._key, message).hex()[:LENGTH]

    def __repr__(self) -> str:
        return "Pseudonym()"


@functools.cache
def _digest_function() -> object:
    import hmac  # loads OpenSSL, so not on import of the guard

    return hmac.digest


def _digest(key: bytes, message: bytes) -> bytes:
    return _digest_function()(key, message, "sha256")  # type: ignore[operator,no-any-return]
