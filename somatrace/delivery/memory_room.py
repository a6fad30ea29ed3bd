"""Make room in memory: batches that are not on disk give up what their tenants have most of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from somatrace.delivery.batch import Batch
from somatrace.delivery.eviction import Order, Places, Stage, quotas
from somatrace.delivery.trimmed_record import trimmed
from somatrace.runtime.clock import clock

#: Seconds that this may take; after that whole batches have to go.
_LIMIT: Final = 0.5


@dataclass
class Freed:
    """Bytes that are free, spans that are gone by tenant, and spans without their content."""

    size: int = 0
    spans: Counter[str] = field(default_factory=Counter)
    without_content: int = 0


def give_up(waiting: Iterable[Batch], needed: int, places: Places) -> Freed:
    """Take spans, or their content, out of the oldest batches in memory until `needed` bytes are free.

    It may be less: where nobody has noted what tenants have, or if it takes too long.
    """
    until, freed = clock.monotonic() + _LIMIT, Freed()
    batches = [batch for batch in waiting if batch.body is not None and not batch.is_on_disk]
    held: dict[str, int] = {}
    for batch in batches:
        for tenant, share in batch.shares.items():
            place = places.of(tenant)
            held[place] = held.get(place, 0) + share.size + share.content
    owed = quotas(held, needed)
    for stage in Stage:
        order = Order(stage, owed, places)
        for batch in batches:
            if freed.size >= needed or clock.monotonic() > until:
                return freed
            if any(owed.get(places.of(tenant), 0) > 0 for tenant in batch.shares):
                _trim(batch, order, freed)
    return freed


def left_to_disk(waiting: Sequence[Batch], needed: int) -> int:
    """Forget the bytes of the last batches that are on disk, until `needed` are free; return how many are.

    They are read again when their turn comes.
    """
    freed = 0
    for batch in reversed(waiting):
        if batch.is_on_disk and freed < needed:
            freed += batch.size
            batch.body = batch.restricted = None
    return freed


def oldest(waiting: Sequence[Batch], needed: int) -> list[Batch]:
    """The first batches in memory, but for the last of all, which have at least `needed` bytes."""
    chosen: list[Batch] = []
    for batch in list(waiting)[:-1]:
        if needed > 0 and batch.size:
            needed -= batch.size
            chosen.append(batch)
    return chosen


def _trim(batch: Batch, order: Order, freed: Freed) -> None:
    if batch.body is None or (order.stage is Stage.CONTENT and batch.restricted is None):
        return
    try:
        less = trimmed(batch.body, batch.restricted, order)
    except ValueError:  # not an encoded batch
        return
    if not less.gone and not less.without_content:
        return
    before = batch.size
    batch.spans, batch.shares = less.spans, less.shares
    batch.body, batch.restricted = (less.body, less.restricted) if less.spans else (b"", None)
    freed.size += before - batch.size
    freed.spans += less.gone
    freed.without_content += less.without_content.total()
