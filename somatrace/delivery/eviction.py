"""Who gives up what when the spool is full: the tenants that have most, down to the same level.

A tenant gives up its copies with content first, then its oldest spans, and last those that failed or cost
money. A tenant below the level gives up nothing, whatever the others do.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

#: Tenants with a place of their own. Later tenants share `_SHARED` places, chosen by a hash of the name.
MAX_PLACES: Final = 256
_SHARED: Final = 64


class Stage(IntEnum):
    """What is given up, in this order."""

    CONTENT = 0
    ORDINARY = 1
    EVERYTHING = 2


class Places:
    """A bounded number of places for the names of tenants."""

    def __init__(self) -> None:
        self._names: set[str] = set()

    def of(self, tenant: str) -> str:
        """The place of a tenant, for most its name."""
        if tenant not in self._names:
            if len(self._names) >= MAX_PLACES:
                return f"\0{zlib.crc32(tenant.encode('utf-8', 'replace')) % _SHARED}"
            self._names.add(tenant)
        return tenant


@dataclass
class Order:
    """What is to be given up: bytes by place, which become less as they are."""

    stage: Stage
    owed: dict[str, int]
    places: Places

    def takes(self, tenant: str, size: int) -> bool:
        """Whether a tenant gives up `size` bytes, which it does not owe any more then."""
        place = self.places.of(tenant)
        owed = self.owed.get(place, 0)
        if owed <= 0:
            return False
        self.owed[place] = owed - size
        return True


def quotas(held: Mapping[str, int], needed: int) -> dict[str, int]:
    """The bytes that tenants give up of those that they hold, `needed` in all, or everything.

    Nobody has less afterwards than anybody who gives up nothing, beyond a byte of rounding.
    """
    ordered = sorted(((size, tenant) for tenant, size in held.items() if size > 0), reverse=True)
    above = 0  # bytes of the largest ones
    for number, (size, _) in enumerate(ordered, 1):
        above += size
        following = ordered[number][0] if number < len(ordered) else 0
        if above - number * following >= needed:
            level = max(0, (above - needed) // number)
            return {tenant: one - level for one, tenant in ordered[:number] if one > level}
    return {tenant: size for size, tenant in ordered}
