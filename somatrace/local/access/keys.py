"""Generated secrets of one data directory, and short-lived values signed with them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import secrets
import stat
import time
import uuid
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Final

from somatrace.local.data_dir import locked

FILE: Final = "local.keys"
#: purposes of signed values
LINK: Final = "link"
SESSION: Final = "session"
LINK_SECONDS: Final = 600.0
SESSION_SECONDS: Final = 7 * 86400.0


class KeysError(OSError):
    """The key file cannot be used; the message names the remedy."""


@dataclass(frozen=True)
class Keys:
    """A key pair in Langfuse's format for programs, and the secrets that sign sessions and links."""

    public_key: str
    secret_key: str = field(repr=False)
    page_secret: str = field(repr=False)
    #: not stored, so that a link ends with the server that printed it, which knows whether it was used
    link_secret: str = field(
        default_factory=lambda: secrets.token_urlsafe(32), init=False, repr=False, compare=False
    )

    def basic(self) -> str:
        """The value of an Authorization header with the key pair."""
        pair = f"{self.public_key}:{self.secret_key}".encode()
        return "Basic " + base64.b64encode(pair).decode()

    def sign(self, purpose: str, lifetime: float) -> str:
        """A new value for `purpose`, valid for `lifetime` seconds: `<expiry>.<nonce>.<signature>`."""
        body = f"{int(time.time() + lifetime)}.{secrets.token_urlsafe(16)}"
        return f"{body}.{self._signature(purpose, body)}"

    def verify(self, purpose: str, value: str) -> bool:
        """Whether `value` was signed with these keys for `purpose` and is still valid."""
        body, _, signature = value.rpartition(".")
        expected = self._signature(purpose, body)
        if not hmac.compare_digest(signature.encode("utf-8", "replace"), expected.encode()):
            return False
        return int(body.partition(".")[0]) > time.time()

    def _signature(self, purpose: str, body: str) -> str:
        message = f"{purpose}\0{body}".encode("utf-8", "replace")
        secret = self.link_secret if purpose == LINK else self.page_secret
        digest = hmac.new(secret.encode(), message, hashlib.sha256).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def load_keys(directory: Path) -> Keys:
    """The keys of `directory`, generated on first use; raises `KeysError` or another OSError.

    Processes that start together get the same keys: the file is written to a temporary name and moved into
    place under a lock. A file that others can read is rejected, since its secrets may be known.
    """
    path = directory / FILE
    with locked(directory):
        if not os.path.lexists(path):
            _write(path, _generate())
        return _read(path)


def _generate() -> Keys:
    return Keys(f"pk-lf-{uuid.uuid4()}", f"sk-lf-{uuid.uuid4()}", secrets.token_urlsafe(32))


def _write(path: Path, keys: Keys) -> None:
    aside = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            json.dump(
                {stored.name: getattr(keys, stored.name) for stored in fields(keys) if stored.init}, file
            )
        aside.rename(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def _read(path: Path) -> Keys:
    remedy = f"delete {path} to generate new keys"
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise KeysError(f"cannot read the key file ({error.strerror}); {remedy}") from None
    with os.fdopen(descriptor, encoding="utf-8") as file:
        found = os.fstat(file.fileno())
        private = stat.S_ISREG(found.st_mode) and not stat.S_IMODE(found.st_mode) & 0o077
        if not private or found.st_uid != os.geteuid():
            raise KeysError(f"the key file is not private to this user; {remedy}")
        try:
            content = json.loads(file.read(4096))
            keys = Keys(**content)
        except (ValueError, TypeError):
            raise KeysError(f"the key file is damaged; {remedy}") from None
    if not all(isinstance(value, str) and value for value in vars(keys).values()):
        raise KeysError(f"the key file is damaged; {remedy}")
    return keys
