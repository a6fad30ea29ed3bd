"""Map API keys to tenants."""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path


class Callers:
    """Tenants by the digest of their key, so that lookup time reveals nothing about the key."""

    def __init__(self, tenants: dict[str, str]) -> None:
        self._tenants = {_digest(key): tenant for key, tenant in tenants.items()}

    @classmethod
    def read(cls, path: str) -> Callers:
        """Read a TOML file with `[[tenant]]` tables that have `id` and `api_key`."""
        table = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        return cls({entry["api_key"]: entry["id"] for entry in table["tenant"]})

    def tenant(self, authorization: str) -> str | None:
        """The tenant of an `Authorization: Bearer <key>` header, None for any other."""
        scheme, _, key = authorization.partition(" ")
        return self._tenants.get(_digest(key.strip())) if scheme.lower() == "bearer" else None


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
