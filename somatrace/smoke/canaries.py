"""Canaries planted in the model call that must not leave the process: an address, a secret, a prompt."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

#: Canaries that each content mode permits; no mode permits a secret.
_GRANTED: Final = {"none": (), "redacted": ("prompt",), "full": ("prompt", "e-mail address")}


@dataclass(frozen=True, repr=False)
class CanarySet:
    """One run's canaries. Each contains a random token, so that fragments are recognized too."""

    tokens: dict[str, str]

    @classmethod
    def fresh(cls) -> CanarySet:
        return cls({name: secrets.token_hex(10) for name in ("e-mail address", "secret", "prompt")})

    @property
    def secret(self) -> str:
        """A secret in the format of a provider's key."""
        return f"sk-proj-{self.tokens['secret']}{'A1b2C3d4' * 3}"

    @property
    def prompt(self) -> str:
        """The question to the model; contains all three canaries."""
        return (
            f"My address is canary.{self.tokens['e-mail address']}@example.com and my key is {self.secret}. "
            f"The word for today is quokka{self.tokens['prompt']}. How do I rotate a key?"
        )

    def found_in(self, haystack: bytes, granted: str = "none") -> list[str]:
        """The names of the canaries that appear in `haystack`, plain or encoded, without permission.

        `granted` is the content policy's mode for the tenant: none, redacted or full.
        """
        folded = haystack.lower()
        return [
            name
            for name, token in self.tokens.items()
            if name not in _GRANTED.get(granted, ())
            and any(form in (haystack if exact else folded) for form, exact in _forms(token.encode()))
        ]


def _forms(token: bytes) -> Iterator[tuple[bytes, bool]]:
    """The encodings of a token, each with whether it is case-sensitive."""
    yield token, False
    yield token.hex().encode(), False
    yield token.decode().encode("utf-16-le"), False
    for shift in range(3):
        # within the base64 of a longer text only whole groups of three bytes are independent of position
        whole = token[shift : len(token) - (len(token) - shift) % 3]
        yield base64.b64encode(whole), True
