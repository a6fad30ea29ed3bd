"""Signatures of tags: HMAC-SHA256 with a shared key, valid for one trace and a few minutes."""

from __future__ import annotations

import base64
import binascii
from typing import Final, NamedTuple

#: Seconds a signature is valid, and how far a caller's clock may be ahead.
VALID: Final = 300
AHEAD: Final = 30


class SigningKey(NamedTuple):
    """A shared key. Its repr does not show the secret."""

    id: str
    secret: bytes

    def __repr__(self) -> str:
        return f"Key({self.id!r})"


class Signature(NamedTuple):
    """The part of the header after the tags."""

    key_id: str
    time: str
    mac: str


def keys(setting: str) -> tuple[SigningKey, ...]:
    """The keys of `id:base64,id2:base64`; invalid ones are skipped (`Config.check` reports them)."""
    valid: list[SigningKey] = []
    for part in setting.split(","):
        key_id, _, encoded = part.strip().partition(":")
        try:
            secret = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            continue
        if key_id and len(secret) >= 16:
            valid.append(SigningKey(key_id, secret))
    return tuple(valid)


def sign(key: SigningKey, payload: str, traceparent: str, now: float) -> Signature:
    """Sign for the trace of `traceparent`; `now` is seconds since the epoch."""
    time = str(int(now))
    return Signature(key.id, time, _mac(key, payload, traceparent, time))


def fault(
    known: tuple[SigningKey, ...], signature: Signature, payload: str, traceparent: str, now: float
) -> str:
    """The reason why the signature is invalid, or "".

    A signature without a traceparent is invalid: a replay could join any trace.
    """
    key = next((key for key in known if key.id == signature.key_id), None)
    if key is None:
        return "signed with an unknown key"
    if not traceparent:
        return "signed without a trace"
    import hmac  # loads OpenSSL: only if there are keys

    if not hmac.compare_digest(_mac(key, payload, traceparent, signature.time), signature.mac):
        return "signature wrong"
    if not -AHEAD <= now - int(signature.time) <= VALID:
        return "signature expired"
    return ""


def _mac(key: SigningKey, payload: str, traceparent: str, time: str) -> str:
    message = f"somatrace-tags\n{key.id}\n{time}\n{traceparent}\n{payload}".encode()
    import hmac  # loads OpenSSL: only if there are keys

    digest = hmac.digest(key.secret, message, "sha256")
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
