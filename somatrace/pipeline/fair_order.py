"""A fair order of queued items: a tenant whose texts take long to guard waits, others do not.

In one step of the worker each tenant may take its share of work. Its further items wait for the next step,
in their order, while items of other tenants pass.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final

from somatrace.context.span_state import state_of
from somatrace.guard.detection.engine import MAX_EXAMINED
from somatrace.pipeline.queued_span import QueuedSpan, weight_of

#: Characters examined for one tenant in a step; the item that exceeds it is finished.
SHARE: Final = 2 * MAX_EXAMINED


class FairOrder:
    """The items that wait, by tenant, and the work of the current step. For one thread."""

    def __init__(self) -> None:
        self._waiting: dict[str | None, deque[tuple[QueuedSpan, int]]] = {}
        self._used: dict[str | None, int] = {}
        self.count = 0
        self.weight = 0

    def due(self, items: Iterable[QueuedSpan]) -> Iterator[QueuedSpan]:
        """The items for this step: waiting ones first. The work of each is to be counted with `used`."""
        self._used.clear()
        for tenant in list(self._waiting):
            yield from self._due_of(tenant)
        for item in items:
            if self._used or self._waiting:
                tenant = _tenant(item)
                if tenant in self._waiting or self._used.get(tenant, 0) >= SHARE:
                    self._wait(tenant, item)
                    continue
            yield item

    def used(self, item: QueuedSpan, work: int) -> None:
        """Count the work of an item."""
        tenant = _tenant(item)
        self._used[tenant] = self._used.get(tenant, 0) + work

    def clear(self) -> None:
        """Forget the items, in a forked child."""
        self._waiting.clear()
        self.count = self.weight = 0

    def _due_of(self, tenant: str | None) -> Iterator[QueuedSpan]:
        waiting = self._waiting[tenant]
        while waiting and self._used.get(tenant, 0) < SHARE:
            item, weight = waiting.popleft()
            self.count -= 1
            self.weight -= weight
            yield item
        if not waiting:
            del self._waiting[tenant]

    def _wait(self, tenant: str | None, item: QueuedSpan) -> None:
        weight = weight_of(item)
        self._waiting.setdefault(tenant, deque()).append((item, weight))
        self.count += 1
        self.weight += weight


def _tenant(item: QueuedSpan) -> str | None:
    state = state_of(item.span)
    return None if state is None else state.tags.tenant
