"""Canaries planted in content fields, and the search for them in any output and encoding.

Each belongs to one tenant, case and field. A planted text contains four of them: a plain word, an e-mail
address, a payment card and a provider's key.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Iterator
from typing import Final, Literal, NamedTuple
from urllib.parse import unquote

Kind = Literal["word", "email", "card", "key"]

_MARK: Final = "zqx"
_WORDS: Final = re.compile(rf"{_MARK}[wmk][a-p]{{24}}")
_DIGITS: Final = re.compile(r"(?<![0-9])4[0-9]{15}(?![0-9])")
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/_-]{16,}")
_HEX: Final = re.compile(rb"(?:[0-9a-fA-F]{2}){16,}")
_LETTERS: Final = str.maketrans("0123456789abcdef", "abcdefghijklmnop")


class Canary(NamedTuple):
    """A planted canary: its tenant, case and field, and which of the four it is."""

    tenant: str
    case: str
    field: str
    kind: Kind


class Planted:
    """The texts of one case run for one tenant; `canaries` lists the values to search for."""

    def __init__(self, tenant: str, case: str, canaries: dict[str, Canary]) -> None:
        self.tenant = tenant
        self.case = case
        self._canaries = canaries

    def __call__(self, field: str) -> str:
        """A sentence for a content field."""
        return (
            f"Please tell {self.word(field)} Zoë Quill, mail {self.email(field)}, "
            f"card {self.card(field)}, key {self.key(field)}, about it."
        )

    def word(self, field: str) -> str:
        return self._plant(field, "word", f"{_MARK}w{self._hash(field)}")

    def email(self, field: str) -> str:
        return self._plant(field, "email", f"{_MARK}m{self._hash(field)}") + "@example.com"

    def key(self, field: str) -> str:
        return "sk-proj-A1b2" + self._plant(field, "key", f"{_MARK}k{self._hash(field)}")

    def card(self, field: str) -> str:
        return self._plant(field, "card", _luhn("4" + str(int(self._hex(field), 16))[:14]))

    def needle(self, field: str, kind: Kind) -> str:
        """The value to search for, of one of the four."""
        text = {"word": self.word, "email": self.email, "key": self.key, "card": self.card}[kind](field)
        return text.removesuffix("@example.com").removeprefix("sk-proj-A1b2")

    def _plant(self, field: str, kind: Kind, needle: str) -> str:
        self._canaries[needle] = Canary(self.tenant, self.case, field, kind)
        return needle

    def _hex(self, field: str) -> str:
        return hashlib.sha256(f"{self.tenant}/{self.case}/{field}".encode()).hexdigest()[:24]

    def _hash(self, field: str) -> str:
        return self._hex(field).translate(_LETTERS)


def _luhn(digits: str) -> str:
    """`digits` and the check digit that completes a card number."""
    total = 0
    for index, digit in enumerate(reversed(digits)):
        doubled = int(digit) * (2 if index % 2 == 0 else 1)
        total += doubled - 9 if doubled > 9 else doubled
    return digits + str(-total % 10)


def found(data: bytes) -> set[str]:
    """Every canary in `data`: plain, in other letter cases, URL-, JSON- or HTML-encoded, in base64 or hex."""
    needles: set[str] = set()
    for text in _readings(data):
        lower = text.lower()
        needles.update(_WORDS.findall(lower))
        needles.update(_DIGITS.findall(re.sub(r"(?<=[0-9])[ -](?=[0-9])", "", lower)))
    return needles


def _readings(data: bytes) -> Iterator[str]:
    text = data.decode("utf-8", "replace")
    yield text
    if "%" in text:
        yield unquote(unquote(text))
    if "&" in text:
        yield html.unescape(text)
    if "\\u" in text:
        yield re.sub(r"\\{1,8}u([0-9a-fA-F]{4})", lambda match: chr(int(match[1], 16)), text)
    for match in set(_HEX.findall(data)):  # outputs repeat themselves
        yield bytes.fromhex(match.decode()).decode("utf-8", "replace")
    for match in set(_BASE64.findall(data)):
        for start in range(4):
            token = match[start:].translate(bytes.maketrans(b"-_", b"+/"))
            yield base64.b64decode(token[: len(token) // 4 * 4]).decode("utf-8", "replace")


def dump(canaries: dict[str, Canary]) -> str:
    return json.dumps(canaries)


def load(text: str) -> dict[str, Canary]:
    return {needle: Canary(*parts) for needle, parts in json.loads(text).items()}
