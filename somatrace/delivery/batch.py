"""A batch of encoded spans on its way."""

from __future__ import annotations

import itertools
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from somatrace.delivery.request_halves import halves, pieces
from somatrace.delivery.restricted import Restricted
from somatrace.delivery.tenant_shares import Shares, spans_of, summed
from somatrace.delivery.trimmed_record import shares_in

if TYPE_CHECKING:
    from somatrace.delivery.journal_entry import Entry

#: The doubts about a batch that was rejected itself.
REJECTED: Final = 2
#: Batches of which the smallest is a probe.
_PROBES: Final = 64
#: Bytes of a record, and of each tenant, besides the spans, at most.
_BESIDE: Final = 4096
_BESIDE_TENANT: Final = 512


@dataclass(eq=False)
class Batch:
    """One request: its bytes, its number of spans, and its time of encoding (monotonic seconds).

    Serialized requests in a row are one request with the spans of all.
    """

    #: None: they are read from the disk when their turn comes.
    body: bytes | None
    spans: int
    since: float
    #: What each tenant has in it; empty if nobody has noted it.
    shares: Shares = field(default_factory=dict)
    #: Where it is on disk, if it is.
    entries: tuple[Entry, ...] = ()
    #: If it has content.
    restricted: Restricted | None = None
    #: It could not be written down while others were.
    is_refused: bool = False
    #: By an earlier process.
    is_left: bool = False
    #: Those that it consists of.
    parts: tuple[Batch, ...] = ()
    #: One of the two that a rejected one was split into: not to be put together again.
    is_half: bool = False
    #: Sent completely but not answered.
    ambiguous: bool = False
    #: Number of failures, and how many batches the target had accepted before the first one.
    failures: int = 0
    accepted_before: int = 0
    #: Number of rejections of exactly these spans.
    rejections: int = 0
    #: Its spans were rejected, not the configuration: an answer named some of them, or others were accepted.
    is_suspect: bool = False

    @property
    def size(self) -> int:
        """Bytes in memory."""
        more = 0 if self.restricted is None else len(self.restricted.without_content)
        return 0 if self.body is None else len(self.body) + more

    @property
    def tenants(self) -> dict[str, int]:
        """The number of spans by tenant."""
        return spans_of(self.shares, self.spans)

    @property
    def length(self) -> int:
        """Bytes of the request."""
        return sum(entry.size for entry in self.entries) if self.body is None else len(self.body)

    @property
    def is_on_disk(self) -> bool:
        """Whether it was written down, and not deleted since to make room."""
        return bool(self.entries) and all(entry.segment.file.is_held for entry in self.entries)

    @property
    def doubts(self) -> int:
        """How likely it is to be rejected: the more, the later it is tried."""
        return REJECTED if self.rejections or self.is_suspect else int(self.is_half)

    @property
    def is_untried(self) -> bool:
        """Whether it may be sent together with others."""
        has_content = self.restricted is not None or any(entry.has_content for entry in self.entries)
        was_tried = self.failures or self.rejections or self.ambiguous
        return not (was_tried or self.is_half or self.is_suspect or has_content)


def left_by_others(entry: Entry, since: float) -> Batch:
    """A batch that an earlier process left on disk."""
    return Batch(None, entry.spans, since, entry.shares, (entry,), is_left=True, is_suspect=entry.is_suspect)


def first_request(waiting: deque[Batch], most_spans: int, most_bytes: int) -> Batch:
    """Take the first batch, together with those behind it that fit into one request."""
    first = waiting.popleft()
    together, spans, length = [first], first.spans, first.length
    while waiting and merges(first, following := waiting[0]):
        spans, length = spans + following.spans, length + following.length
        if spans > most_spans or length >= most_bytes:
            break
        together.append(waiting.popleft())
    return first if len(together) == 1 else merged(together)


def probe_request(waiting: deque[Batch]) -> Batch:
    """Take a small batch: of the first ones, and of those among them that have failed least.

    A first failure does not count: as a rule it is that of the target.
    """
    first = itertools.islice(waiting, _PROBES)
    chosen = min(first, key=lambda batch: (batch.doubts, max(batch.failures, 1), batch.length))
    waiting.remove(chosen)
    return chosen


def in_request(batch: Batch | None) -> tuple[Batch, ...]:
    """The batches that a request consists of."""
    return () if batch is None else batch.parts or (batch,)


def enter(batch: Batch, entries: tuple[Entry, ...], request: Batch | None) -> None:
    """Note where a batch is on disk, and in the request that it is a part of, if it is."""
    batch.entries = entries
    if request is not None and batch in request.parts:
        request.entries += entries


def in_place(batches: Iterable[Batch]) -> list[Batch]:
    """Those on disk that others will find there."""
    kept = [batch for batch in batches if batch.is_on_disk]
    gone = {entry.segment for batch in kept for entry in batch.entries if not entry.segment.file.is_in_place}
    return [batch for batch in kept if gone.isdisjoint(entry.segment for entry in batch.entries)]


def record_size(batch: Batch) -> int:
    """Bytes that a batch in memory takes on disk, at most."""
    return batch.size + _BESIDE + _BESIDE_TENANT * len(batch.shares)


def merges(batch: Batch, other: Batch) -> bool:
    """Whether two batches may be sent as one request: neither was tried, and both are in the same place."""
    return (
        batch.is_untried
        and other.is_untried
        and (batch.body is None) is (other.body is None)
        and batch.is_on_disk is other.is_on_disk
        and batch.is_left is other.is_left
    )


def separated(batch: Batch) -> tuple[Batch, ...]:
    """The batches that a request consists of, which share its failures: one of them may be the cause."""
    for part in batch.parts:
        part.ambiguous, part.failures = batch.ambiguous, batch.failures
        part.accepted_before = batch.accepted_before
        part.rejections, part.is_suspect = batch.rejections, batch.is_suspect
    return in_request(batch)


def merged(batches: Sequence[Batch]) -> Batch:
    """One batch with the spans of several, which wait since the first of them."""
    bodies = [batch.body for batch in batches if batch.body is not None]
    return Batch(
        b"".join(bodies) if bodies else None,
        sum(batch.spans for batch in batches),
        batches[0].since,
        summed(batch.shares for batch in batches),
        tuple(entry for batch in batches for entry in batch.entries),
        is_left=batches[0].is_left,
        parts=tuple(batches),
    )


def follow(batch: Batch) -> int:
    """Have a batch agree with its record, which has become smaller; return the bytes that it kept."""
    size, (entry,) = batch.size, batch.entries
    batch.body = batch.restricted = None
    batch.spans, batch.shares = entry.spans, entry.shares
    return size


def tenants_of(batches: Iterable[Batch]) -> Counter[str]:
    """The number of spans of several batches by tenant."""
    found: Counter[str] = Counter()
    for batch in batches:
        found.update(batch.tenants)
    return found


def halved(batch: Batch) -> list[Batch]:
    """The two halves of a batch in memory, which are not on disk; none if it cannot be split."""
    found = halves(batch.body) if batch.spans > 1 and batch.body is not None else None
    if found is None:
        return []
    without = halves(batch.restricted.without_content) if batch.restricted is not None else None
    return _split(replace(batch, is_half=True, rejections=0), found, without or ())


def cut(batch: Batch, most: int) -> list[Batch]:
    """A batch in memory in pieces of at most `most` spans, which are not on disk."""
    if batch.body is None:
        return []
    without = pieces(batch.restricted.without_content, most) if batch.restricted is not None else ()
    return _split(batch, pieces(batch.body, most), without)


def _split(
    batch: Batch, found: Sequence[tuple[bytes, int]], without: Sequence[tuple[bytes, int]]
) -> list[Batch]:
    """Batches of the bodies that a batch was split into, and of the same ones without content."""
    rest: Sequence[Restricted | None] = [None] * len(found)
    if batch.restricted is not None:
        bodies = [body for body, _ in without] or [b""] * len(found)
        rest = [replace(batch.restricted, without_content=body) for body in bodies]
    split = replace(batch, entries=(), parts=())
    return [
        replace(split, body=body, spans=spans, shares=shares_in(body), restricted=restricted)
        for (body, spans), restricted in zip(found, rest, strict=True)
    ]
