"""Make room in a full spool: rewrite its oldest segments without what their tenants give up.

A segment is written anew beside the old one, synced, and renamed over it: a process that is killed meanwhile
leaves the one or the other. Its records keep their order and their times.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from somatrace.delivery.eviction import Order, Places, Stage, quotas
from somatrace.delivery.free_segment import FreeSegment, free_segment
from somatrace.delivery.journal_directory import open_segments
from somatrace.delivery.journal_entry import Entry, HeldSegment
from somatrace.delivery.restricted import packed, unpacked
from somatrace.delivery.tenant_shares import Shares, noted, summed
from somatrace.delivery.trimmed_record import Trimmed, trimmed
from somatrace.runtime.clock import clock
from somatrace.spool.segment_file import SegmentFile
from somatrace.spool.segment_format import LEFT, RESTRICTED_SPANS, SPANS, SUSPECT, marks
from somatrace.spool.segment_writer import full_at
from somatrace.spool.spool_directory import SEGMENT, file_names, remove_unfinished, used_bytes

log = logging.getLogger("somatrace")

#: What is given up at least, so that not every record costs a look at everything.
_LEAST: Final = 1 << 16
#: Bytes of spans, and of their further copies with content.
_Held = tuple[int, int]


class Spool(NamedTuple):
    """The open directory of segments, and the one that it is in."""

    parent: Path
    descriptor: int


@dataclass
class GivenUp:
    """What one step has cost."""

    #: Records that this process holds and that have changed.
    changed: set[Entry] = field(default_factory=set)
    #: Spans of them, by tenant.
    spans: Counter[str] = field(default_factory=Counter)
    #: Spans in segments that nobody held, by tenant: those that this process had left there, and others.
    own_left: Counter[str] = field(default_factory=Counter)
    of_others: Counter[str] = field(default_factory=Counter)
    #: Spans that wait without their content now.
    without_content: int = 0
    #: Spans in damaged records.
    damaged: int = 0


class SpoolRoom:
    """Knows what tenants have in which segment. Used with the journal's lock held."""

    def __init__(self, writer: Mapping[str, object], max_bytes: int) -> None:
        """`writer` describes this process in its segments."""
        self._writer = writer
        self._max_bytes = max_bytes
        self._places = Places()
        #: By segment, with the number of records if this process holds it.
        self._held_by_place: dict[str, tuple[int | None, dict[str, _Held]]] = {}
        #: Places that have nothing more to give up in a segment at a stage.
        self._bare: dict[tuple[str, Stage], set[str]] = {}
        #: Files that are open for a step: of one at a time.
        self._open: list[SegmentFile] = []

    def forget(self) -> None:
        """Leave everything to the parent, in a forked child."""
        for file in self._open:
            file.close()

    def let_go(self, name: str, segment: HeldSegment) -> None:
        """Remember what is in a segment that this process does not hold any more."""
        self._held_by_place[name] = None, self._by_place(segment.waiting)

    def step(
        self,
        directory: Path,
        own: Mapping[str, HeldSegment],
        current: str,
        in_use: Collection[int],
        size: int,
    ) -> GivenUp | None:
        """Have one segment rewritten if a new one, which begins with `size` bytes, finds no room.

        Returns None if there is room, or nobody has anything to give up. Raises `OSError`.

        `own` are the full segments of this process by name, of which those whose ids are `in_use` stay as
        they are; `current` is the one that it writes to.
        """
        descriptor = open_segments(directory, create=False)
        try:
            remove_unfinished(descriptor)
            needed = used_bytes(descriptor) + size + full_at(self._max_bytes) - self._max_bytes
            if needed <= 0:
                return None
            return self._step(Spool(directory, descriptor), own, current, in_use, needed)
        finally:
            os.close(descriptor)

    def _step(
        self, spool: Spool, own: Mapping[str, HeldSegment], current: str, in_use: Collection[int], needed: int
    ) -> GivenUp | None:
        names = [name for name in file_names(spool.descriptor) if name.endswith(SEGMENT)]
        self._forget_others(names)
        held = {name: self._of(spool, name, own.get(name)) for name in names if name != current}
        total: dict[str, int] = {}
        for by_place in held.values():
            for place, (size, content) in by_place.items():
                total[place] = total.get(place, 0) + size + content
        owed = quotas(total, max(needed, _LEAST))
        for stage in Stage:
            for name, by_place in held.items():
                segment = own.get(name)
                if segment is not None and (id(segment) in in_use or _is_settling(segment)):
                    continue
                having = owed.keys() & by_place.keys() - self._bare.get((name, stage), set())
                offers = {place: owed[place] for place in having if by_place[place][stage is Stage.CONTENT]}
                if offers and (
                    given := self._give_up(spool, name, segment, Order(stage, offers, self._places))
                ):
                    return given
        return None

    def _forget_others(self, names: Collection[str]) -> None:
        known = set(names)
        self._held_by_place = {name: one for name, one in self._held_by_place.items() if name in known}
        self._bare = {key: one for key, one in self._bare.items() if key[0] in known}

    def _of(self, spool: Spool, name: str, segment: HeldSegment | None) -> dict[str, _Held]:
        """What places have in a segment; nothing if another process holds it."""
        number = None if segment is None else len(segment.waiting)
        known = self._held_by_place.get(name)
        if known is not None and known[0] == number:
            return known[1]
        if segment is not None:
            found = self._by_place(segment.waiting)
        else:
            with _held(spool, name) as free:
                if free is None:
                    return {}
                found = self._by_place(free.segment.waiting)
        self._held_by_place[name] = number, found
        return found

    def _by_place(self, entries: Iterable[Entry]) -> dict[str, _Held]:
        return self._placed(summed(entry.shares for entry in entries))

    def _placed(self, shares: Shares) -> dict[str, _Held]:
        found: dict[str, _Held] = {}
        for tenant, share in shares.items():
            place = self._places.of(tenant)
            size, content = found.get(place, (0, 0))
            found[place] = size + share.size, content + share.content
        return found

    # -- one segment ------------------------------------------------------------------------------------

    def _give_up(self, spool: Spool, name: str, segment: HeldSegment | None, order: Order) -> GivenUp | None:
        """Rewrite a segment; None if that gives up nothing."""
        given = None
        try:
            if segment is not None:
                given = self._rewritten(spool, segment, self._writer, order)
            else:
                given = self._rewritten_free(spool, name, order)
        except (OSError, ValueError) as error:
            log.debug("%s: %s", name, type(error).__name__)
        bare = self._bare.setdefault((name, order.stage), set())
        bare.update(place for place, owed in order.owed.items() if owed > 0 or given is None)
        self._held_by_place.pop(name, None)
        return given

    def _rewritten_free(self, spool: Spool, name: str, order: Order) -> GivenUp | None:
        """Rewrite a segment that nobody holds."""
        with _held(spool, name) as free:
            if free is None:
                return None
            writer, segment = free.contents.writer, free.segment
            given = self._rewritten(spool, segment, writer, order, is_left=free.contents.is_left)
            if given is not None:
                given.damaged = free.contents.damaged
                whose = given.own_left if writer.get("writer") == self._writer["writer"] else given.of_others
                whose.update(given.spans)
                given.spans.clear()
                given.changed.clear()
            return given

    def _rewritten(
        self,
        spool: Spool,
        segment: HeldSegment,
        writer: Mapping[str, object],
        order: Order,
        *,
        is_left: bool = False,
    ) -> GivenUp | None:
        """Rewrite a segment without the spans that were given up, and update its entries. If this raises
        `OSError` or `ValueError`, nothing has changed."""
        old, given = segment.file, GivenUp()
        new = SegmentFile.create_instead(old, spool.descriptor, writer)
        self._open = [old, new]
        moved: list[tuple[Entry, int, int, Trimmed | None]] = []
        try:
            for entry in sorted(segment.waiting, key=lambda one: one.position):
                kind, payload, less = self._record(old, entry, order)
                position = new.size
                if _is_kept(less):
                    spans, shares = (entry.spans, entry.shares) if less is None else (less.spans, less.shares)
                    position = new.append(payload, spans, entry.time_ns, kind, note=noted(shares))
                moved.append((entry, position, len(payload), less))
            if not any(less for _, _, _, less in moved):
                new.delete()
                return None
            suspects = [place for entry, place, _, less in moved if entry.is_suspect and _is_kept(less)]
            if suspects:
                new.append(marks(suspects), 0, clock.time_ns(), SUSPECT)
            if is_left:
                new.append(b"", 0, clock.time_ns(), LEFT)
            new.replace(old, spool.descriptor)
        except BaseException:
            new.delete()
            raise
        segment.file = new
        for entry, position, size, less in moved:
            entry.position = position
            if less is not None:
                entry.spans, entry.shares, entry.size = less.spans, less.shares, size
                entry.has_content = less.restricted is not None
                given.changed.add(entry)
                given.spans += less.gone
                given.without_content += less.without_content.total()
        segment.waiting.difference_update([entry for entry in segment.waiting if not entry.spans])
        if not segment.waiting:
            new.delete()
        return given

    def _record(self, file: SegmentFile, entry: Entry, order: Order) -> tuple[int, bytes, Trimmed | None]:
        """The kind and the payload of a record, and what is left of it if it has given something up."""
        kind = RESTRICTED_SPANS if entry.has_content else SPANS
        payload = file.read(entry.position)
        if payload is None:
            raise ValueError("a damaged record")
        if not any(order.owed.get(self._places.of(tenant), 0) > 0 for tenant in entry.shares):
            return kind, payload, None
        body, restricted = unpacked(payload) if entry.has_content else (payload, None)
        less = trimmed(body, restricted, order)
        if not less.gone and not less.without_content:
            return kind, payload, None
        if less.restricted is None:
            return SPANS, less.body, less
        return RESTRICTED_SPANS, packed(less.body, less.restricted), less


@contextmanager
def _held(spool: Spool, name: str) -> Iterator[FreeSegment | None]:
    """A segment that nobody holds, held in the block; None if somebody does, or it cannot be read."""
    free = free_segment(spool.parent, spool.descriptor, name)
    try:
        yield free
    finally:
        if free is not None:
            free.segment.file.close()


def _is_kept(less: Trimmed | None) -> bool:
    """Whether spans of a record stay, which has given something up if `less` is what is left of it."""
    return less is None or less.spans > 0


def _is_settling(segment: HeldSegment) -> bool:
    """Whether some of it was answered and is not marked yet."""
    return any(entry.is_settled for entry in segment.waiting)
