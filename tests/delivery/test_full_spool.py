"""A full spool: who gives up what, that everything is counted, and that a crash costs nothing else."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from somatrace.delivery.eviction import quotas
from tests.delivery.spool_contents import (
    SmallSpool,
    encoded,
    records_left,
    spans_in,
    tenant_of,
    used,
    what_is_left,
)
from tests.support.programs import run_program

NAMES = "abcdefgh"


@given(
    held=st.dictionaries(st.sampled_from(NAMES), st.integers(1, 10_000), max_size=8),
    needed=st.integers(1, 40_000),
)
def test_who_has_most_gives_up_until_there_is_room_and_nobody_falls_below_one_who_gave_nothing(
    held: dict[str, int], needed: int
) -> None:
    owed = quotas(held, needed)

    left = {tenant: size - owed.get(tenant, 0) for tenant, size in held.items()}
    untouched = [size for tenant, size in left.items() if tenant not in owed]
    assert sum(owed.values()) >= min(needed, sum(held.values()))
    assert sum(owed.values()) <= needed + len(held)
    assert all(size >= 0 for size in left.values())
    assert all(left[tenant] >= max(untouched, default=0) - 1 for tenant in owed)


def test_one_noisy_tenant_does_not_evict_the_others(tmp_path: Path) -> None:
    spool = SmallSpool(tmp_path)
    for _ in range(300):
        spool.add(*[encoded("noisy") for _ in range(10)], encoded("quiet"))

    left = Counter(map(tenant_of, spool.left()))

    assert left["quiet"] == 300
    assert 0 < left["noisy"] < 1500
    assert spool.counts("spool_full") == {"noisy": 3000 - left["noisy"]}


def test_the_oldest_ordinary_spans_go_before_failures_and_calls_that_cost_money(tmp_path: Path) -> None:
    spool = SmallSpool(tmp_path)
    kept = []
    for _ in range(100):
        kept += [encoded("acme", error=True), encoded("acme", cost=True)]
        spool.add(*kept[-2:], *[encoded("acme") for _ in range(18)])

    left = spool.left()

    ids = [span.span_id for span in left]
    ordinary = [span for span in left if not span.status.code and len(span.attributes) == 2]
    youngest = [span.span_id for span in spool.made.values() if span not in kept][-len(ordinary) :]
    assert {span.span_id for span in kept} <= {*ids}
    assert [span.span_id for span in ordinary] == youngest
    assert ids == sorted(ids)


def test_content_goes_before_spans(tmp_path: Path) -> None:
    spool = SmallSpool(tmp_path)
    for _ in range(60):
        spool.add(*[encoded("acme", content="words " * 200) for _ in range(5)], encoded("globex"))

    left = spool.left()

    closed = [span for span in left if tenant_of(span) == "acme" and len(span.attributes) == 2]
    assert len(left) == 360
    assert 0 < len(closed) < 300
    assert [span.span_id for span in closed] == sorted(
        span.span_id for span in left if tenant_of(span) == "acme"
    )[: len(closed)]
    assert spool.ledger.content_removed == len(closed)
    assert spool.counts("spool_full") == {}


def test_content_of_a_noisy_tenant_goes_and_that_of_others_stays(tmp_path: Path) -> None:
    spool = SmallSpool(tmp_path)
    for _ in range(60):
        noisy = [encoded("noisy", content="words " * 200) for _ in range(6)]
        spool.add(*noisy, encoded("quiet", content="few words"))

    left = spool.left()

    assert [len(span.attributes) for span in left if tenant_of(span) == "quiet"] == [3] * 60
    assert spool.ledger.content_removed > 0


def test_what_an_earlier_process_left_is_shared_fairly_too(tmp_path: Path) -> None:
    earlier = SmallSpool(tmp_path)
    for _ in range(90):
        earlier.add(encoded("quiet"), *[encoded("noisy") for _ in range(9)])
    earlier.queue.leave(5.0)
    spool = SmallSpool(tmp_path)
    for _ in range(90):
        spool.add(encoded("quiet"), *[encoded("noisy") for _ in range(9)])

    left = Counter(map(tenant_of, spool.left()))

    assert left["quiet"] == 180
    assert spool.counts("spool_full") == {"noisy": 1800 - left.total()}
    assert spool.ledger.evicted == {}


def test_without_a_disk_a_noisy_tenant_does_not_evict_the_others_from_memory(tmp_path: Path) -> None:
    spool = SmallSpool(tmp_path, memory=1 << 19)
    spool.queue._open_journal = None
    for _ in range(300):
        important = encoded("noisy", error=True)
        spool.add(*[encoded("noisy") for _ in range(9)], important, encoded("quiet"))

    batch = spool.queue.take(None)
    left: Counter[str] = Counter()
    while batch is not None:
        assert batch.body is not None
        assert len(spans_in(batch.body)) == batch.spans
        left.update(map(tenant_of, spans_in(batch.body)))
        spool.queue.finish(batch)
        batch = spool.queue.take(None)

    assert left["quiet"] == 300
    assert spool.counts("backend_away") == {"noisy": 3000 - left["noisy"]}
    assert spool.queue.size == 0


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.data(),
    rates=st.dictionaries(st.sampled_from(NAMES), st.integers(1, 12), min_size=2, max_size=5),
    delivered=st.sets(st.integers(0, 149), max_size=40),
)
def test_every_span_is_on_disk_delivered_or_counted_for_its_tenant(
    data: st.DataObject,
    rates: dict[str, int],
    delivered: set[int],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    directory = tmp_path_factory.mktemp("spool")
    spool = SmallSpool(directory, max_bytes=1 << 18)
    sent: Counter[str] = Counter()
    for number in range(150):
        kinds = data.draw(st.sampled_from([{}, {"error": True}, {"cost": True}, {"content": "words " * 50}]))
        spool.add(*[encoded(name, **kinds) for name, rate in rates.items() for _ in range(rate)])
        batch = spool.queue.take(None) if number in delivered else None
        if batch is not None and spool.queue.read(batch):
            sent.update(batch.tenants)
            spool.ledger.deliver(batch.tenants, 0.0)
            spool.queue.finish(batch)
    size = used(directory)

    left = spool.left()

    made = Counter(map(tenant_of, spool.made.values()))
    on_disk = Counter(map(tenant_of, left))
    lost = spool.counts("spool_full") + spool.counts("disk")
    assert len({span.span_id for span in left}) == len(left)
    assert made == on_disk + lost + sent
    assert size <= 1 << 18
    assert spool.ledger.left == len(left)
    least = min(made, key=lambda name: made[name])
    assert not lost[least] or all(lost[name] for name in made if made[name] > 2 * made[least])


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_process_that_ends_while_it_renames_a_segment_leaves_each_span_once(
    tmp_path: Path, moment: str
) -> None:
    done = run_program(
        f"""
        import os, pathlib
        from tests.delivery.spool_contents import SmallSpool, encoded
        rename = os.rename
        def end(*args, **more):
            if {moment == "after"}:
                rename(*args, **more)
            os._exit(0)
        os.rename = end
        spool = SmallSpool(pathlib.Path({str(tmp_path)!r}))
        while True:
            spans = [*[encoded("noisy") for _ in range(9)], encoded("quiet")]
            spool.add(*spans)
            os.write(1, b"".join(span.span_id.hex().encode() + b" " for span in spans))
        """
    )

    made = done.stdout.split()
    left = [span.span_id.hex() for span in what_is_left(tmp_path)]
    gone = {*made} - {*left}
    assert len(left) == len({*left})
    assert {*made[9::10]} <= {*left}
    assert bool(gone) is (moment == "after")


@pytest.mark.parametrize("is_held", [True, False], ids=["of this process", "of an earlier one"])
def test_what_is_known_of_rejected_spans_is_kept_when_their_file_is_written_anew(
    tmp_path: Path, is_held: bool
) -> None:
    rejected = encoded("quiet")
    spool = SmallSpool(tmp_path)
    spool.add(*[encoded("noisy") for _ in range(9)])
    spool.add(rejected)
    spool.journal.suspect(spool.queue._waiting[-1].entries)
    if not is_held:
        spool.queue.leave(5.0)
        spool = SmallSpool(tmp_path)
    for _ in range(200):
        spool.add(*[encoded("noisy") for _ in range(10)])

    spool.queue.leave(5.0)

    suspects = [span for entry, spans in records_left(tmp_path) if entry.is_suspect for span in spans]
    assert spool.counts("spool_full")["noisy"] > 9  # so the file was written anew
    assert suspects == [rejected]


def test_what_a_killed_process_had_begun_to_write_takes_no_room_of_the_limit(tmp_path: Path) -> None:
    earlier = SmallSpool(tmp_path)
    earlier.add(encoded("acme"))
    earlier.queue.leave(5.0)
    [path] = tmp_path.rglob("*.segment")
    unfinished = path.with_name(f"{path.name}.tmp")
    unfinished.write_bytes(bytes(1 << 18))
    spool = SmallSpool(tmp_path)
    for _ in range(30):
        spool.add(*[encoded("acme") for _ in range(40)])

    assert not unfinished.exists()
    assert len(spool.left()) > 700
