"""A batch with content, which may leave only while the grants are in force under which it was made."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

#: The lengths of the grants and of the batch without content, which precede the batch with it.
_LENGTHS: Final = struct.Struct("<II")


#: The fingerprint of no grant.
NEVER: Final = ""


@dataclass(frozen=True)
class Restricted:
    """What holds for a batch with content."""

    #: The fingerprints of the grants by tenant.
    grants: Mapping[str, str]
    #: The batch without content, which may leave whatever the grants are.
    without_content: bytes
    #: Tenants whose names may not be written down, so that their content cannot be asked for from the disk.
    hidden: frozenset[str] = frozenset()

    def is_allowed(self, allows: Callable[[str, str], bool]) -> bool:
        """Whether all grants are in force, of which `allows` is asked by tenant and fingerprint."""
        return all(allows(tenant, fingerprint) for tenant, fingerprint in self.grants.items())


def packed(body: bytes, restricted: Restricted) -> bytes:
    """Both batches and the grants, as one record."""
    shown = {tenant: one for tenant, one in restricted.grants.items() if tenant not in restricted.hidden}
    grants = json.dumps({**shown, "": NEVER} if restricted.hidden else shown).encode()
    without = restricted.without_content
    return b"".join((_LENGTHS.pack(len(grants), len(without)), grants, without, body))


def unpacked(record: bytes) -> tuple[bytes, Restricted]:
    """The inverse of `packed`. Raises ValueError for anything else."""
    if len(record) < _LENGTHS.size:
        raise ValueError("too short")
    of_grants, of_batch = _LENGTHS.unpack_from(record)
    middle = _LENGTHS.size + of_grants
    end = middle + of_batch
    if end > len(record):
        raise ValueError("too short")
    grants: Any = json.loads(record[_LENGTHS.size : middle])
    if not isinstance(grants, dict) or not all(isinstance(one, str) for one in grants.values()):
        raise ValueError("no grants")
    return record[end:], Restricted(grants, record[middle:end])
