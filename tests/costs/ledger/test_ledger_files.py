"""The ledger's files add up to the same whatever was compacted and merged, and wherever that was killed."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from somatrace import semconv
from somatrace.costs.ledger import cost_ledger
from somatrace.costs.ledger.cost_ledger import CostLedger
from somatrace.costs.ledger.ledger_directory import (
    MOST_SEGMENTS,
    merge,
    open_ledger,
    read_ledger,
    segment_names,
)
from somatrace.costs.ledger.ledger_entry import (
    LedgerKey,
    LedgerSums,
    LedgerTotals,
    decoded,
    encoded,
    ledger_entry,
)

NOON = 1_796_126_400_000_000_000
CALL = {
    "gen_ai.operation.name": "chat",
    "gen_ai.request.model": "m",
    semconv.OBSERVATION_COST: '{"total": 0.25}',
    semconv.OBSERVATION_USAGE: '{"input": 3, "output": 1}',
}
WRITER = {"writer": "test"}


def call(ledger: CostLedger, tenant: str = "acme", times: int = 1) -> None:
    for _ in range(times):
        ledger.add({**CALL, semconv.TENANT: tenant}, "svc", 0, NOON)


def left_by_a_process(data: Path, tenant: str = "acme", times: int = 1) -> None:
    ledger = CostLedger(lambda: data)
    call(ledger, tenant, times)
    ledger.close()


def calls(data: Path) -> dict[str, int]:
    totals, damaged = read_ledger(data)
    assert damaged == 0
    found: dict[str, int] = {}
    for key, sums in totals.items():
        found[key.tenant] = found.get(key.tenant, 0) + sums.calls
    return found


def names(data: Path) -> list[str]:
    _, spool = open_ledger(data, create=False)
    try:
        return segment_names(spool)
    finally:
        os.close(spool)


def merged(data: Path) -> None:
    directory, spool = open_ledger(data, create=False)
    try:
        merge(directory, spool, WRITER)
    finally:
        os.close(spool)


def test_segments_of_many_processes_become_one_with_the_same_sums(tmp_path):
    for number in range(MOST_SEGMENTS + 1):
        left_by_a_process(tmp_path, f"t{number % 3}", times=number % 2 + 1)
    before = calls(tmp_path)

    merged(tmp_path)

    assert calls(tmp_path) == before
    assert len(names(tmp_path)) == 1


def test_a_segment_in_use_is_read_and_not_merged(tmp_path):
    mine = CostLedger(lambda: tmp_path)
    call(mine)
    mine.write()
    for _ in range(MOST_SEGMENTS + 1):
        left_by_a_process(tmp_path)

    merged(tmp_path)
    call(mine)
    mine.write()

    assert len(names(tmp_path)) <= 3  # the last process has merged the others itself
    assert calls(tmp_path) == {"acme": MOST_SEGMENTS + 3}


def test_few_segments_stay_as_they_are(tmp_path):
    left_by_a_process(tmp_path)
    left_by_a_process(tmp_path)

    merged(tmp_path)

    assert len(names(tmp_path)) == 2


@pytest.mark.parametrize("survivors", [0, 1, 30, MOST_SEGMENTS])
def test_a_merge_that_was_killed_while_it_deleted_counts_nothing_twice(tmp_path, survivors):
    """The files that a merge has replaced come back, as after a kill before they were deleted."""
    for _ in range(MOST_SEGMENTS + 1):
        left_by_a_process(tmp_path)
    spool = tmp_path / "costs" / "spool"
    copies = tmp_path / "copies"
    shutil.copytree(spool, copies)
    merged(tmp_path)
    [last] = names(tmp_path)
    for path in sorted(copies.glob("*.segment"))[:survivors]:
        if path.name != last:
            shutil.copy(path, spool / path.name)

    assert calls(tmp_path) == {"acme": MOST_SEGMENTS + 1}
    for _ in range(MOST_SEGMENTS):
        left_by_a_process(tmp_path)
    merged(tmp_path)

    assert calls(tmp_path) == {"acme": 2 * MOST_SEGMENTS + 1}
    assert len(names(tmp_path)) <= MOST_SEGMENTS


def test_what_a_killed_merge_had_begun_to_write_counts_for_nothing(tmp_path):
    for _ in range(MOST_SEGMENTS + 1):
        left_by_a_process(tmp_path)
    spool = tmp_path / "costs" / "spool"
    last = spool / names(tmp_path)[-1]
    shutil.copy(last, spool / f"{last.name}.tmp")

    assert calls(tmp_path) == {"acme": MOST_SEGMENTS + 1}
    merged(tmp_path)

    assert calls(tmp_path) == {"acme": MOST_SEGMENTS + 1}
    assert sorted(path.name for path in spool.iterdir()) == [last.name, "merge.lock"]


def test_a_full_segment_is_compacted(tmp_path, monkeypatch):
    monkeypatch.setattr(cost_ledger, "_FULL", 2000)
    ledger = CostLedger(lambda: tmp_path)

    for _ in range(100):
        call(ledger)
        ledger.write()
    ledger.close()

    sizes = [(tmp_path / "costs" / "spool" / name).stat().st_size for name in names(tmp_path)]
    assert calls(tmp_path) == {"acme": 100}
    assert len(sizes) > 5
    assert max(sizes[:-1]) < 500


def test_a_torn_record_costs_itself_only_and_a_damaged_one_is_told(tmp_path):
    ledger = CostLedger(lambda: tmp_path)
    for _ in range(3):
        call(ledger)
        ledger.write()
    ledger.close()
    [path] = (tmp_path / "costs" / "spool").iterdir()
    whole = path.read_bytes()

    path.write_bytes(whole[:-5])
    torn = read_ledger(tmp_path)
    path.write_bytes(whole[:-200] + b"?" + whole[-199:])
    damaged = read_ledger(tmp_path)

    assert (sum(one.calls for one in torn[0].values()), torn[1]) == (2, 0)
    assert (sum(one.calls for one in damaged[0].values()), damaged[1]) == (2, 1)


def test_a_damaged_segment_is_kept_as_it_is(tmp_path):
    left_by_a_process(tmp_path)
    [path] = (tmp_path / "costs" / "spool").iterdir()
    path.write_bytes(path.read_bytes()[:-3] + b"???")
    damaged = path.read_bytes()
    for _ in range(MOST_SEGMENTS + 1):
        left_by_a_process(tmp_path)

    merged(tmp_path)

    assert path.read_bytes() == damaged
    assert read_ledger(tmp_path)[1] == 1
    assert len(names(tmp_path)) <= 3


@pytest.mark.parametrize("what", ["costs", "costs/spool"])
def test_no_link_is_followed(tmp_path, what):
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "spool").mkdir(parents=True)
    link = tmp_path / "data" / what
    link.parent.mkdir(parents=True)
    link.symlink_to(elsewhere)
    ledger = CostLedger(lambda: tmp_path / "data")

    call(ledger)
    ledger.write()

    assert "cost ledger" in ledger.problem
    assert [*(elsewhere / "spool").iterdir()] == []


def test_memory_is_bounded_while_nothing_can_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr(cost_ledger, "_MOST_WAITING", 3)
    (tmp_path / "costs").write_text("")
    ledger = CostLedger(lambda: tmp_path)
    for number in range(5):
        call(ledger, f"t{number}", times=2)
        ledger.write()

    (tmp_path / "costs").unlink()
    ledger.close()

    assert ledger.problems == ("cost ledger: 4 calls found no room in memory, and are missing",)
    assert calls(tmp_path) == {"t0": 2, "t1": 2, "t2": 2}


def test_days_of_every_zone_begin_on_a_quarter_of_an_hour():
    found = ledger_entry(CALL, "svc", 0, NOON + 29 * 60 * 10**9, ())

    assert found is not None
    assert found[0].quarter == NOON // 10**9 + 15 * 60


def test_an_absurd_price_is_unknown():
    found = ledger_entry({**CALL, semconv.OBSERVATION_COST: '{"total": 1e11}'}, "svc", 0, NOON, ())

    assert found is not None
    assert (found[1].cost, found[1].unknown) == (0, 1)


@pytest.mark.parametrize(
    "odd",
    [
        {semconv.COST_CURRENCY: "EUR"},
        {semconv.COST_CURRENCY: "EUR", semconv.COST_AMOUNT: "NaN"},
        {semconv.COST_CURRENCY: "EUR", semconv.COST_AMOUNT: "much"},
        {semconv.COST_SOURCE: "unknown", semconv.TENANT: 10**5000},
        {semconv.OBSERVATION_COST: '{"total": "much"}'},
        {semconv.OBSERVATION_COST: "[]"},
    ],
)
def test_a_call_with_a_cost_that_is_none_counts_with_an_unknown_one(odd):
    found = ledger_entry({**CALL, **odd}, "svc", 0, NOON, ())

    assert found is not None
    assert (found[1].calls, found[1].input_tokens, found[1].cost, found[1].unknown) == (1, 3, 0, 1)


def test_labels_are_bounded():
    found = ledger_entry({**CALL, semconv.TENANT: "x" * 100_000}, "svc", 0, NOON, ())

    assert found is not None
    assert len(found[0].tenant) == 200


labels = st.text(max_size=20)
keys = st.builds(LedgerKey, st.integers(0, 2**40), *[labels] * 8)
sums = st.builds(LedgerSums, *[st.integers(0, 2**60)] * 6)


@given(st.dictionaries(keys, sums, max_size=5))
def test_entries_are_read_as_they_were_written(entries):
    assert dict(decoded(encoded(entries.items()))) == entries


@given(
    st.one_of(
        st.binary(), st.recursive(st.integers() | labels | st.none(), st.lists).map(repr).map(str.encode)
    )
)
def test_other_payloads_are_refused(payload):
    try:
        found = list(decoded(payload))
    except (TypeError, ValueError):
        return
    assert all(isinstance(key, LedgerKey) and isinstance(one, LedgerSums) for key, one in found)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(["call", "write", "restart", "kill", "fork", "merge"]), max_size=60))
def test_whatever_happens_what_was_written_counts_once(steps):
    with _few_segments(), tempfile.TemporaryDirectory() as name:
        data = Path(name)
        ledger, waiting, written = CostLedger(lambda: data), 0, 0
        for step in steps:
            if step == "call":
                call(ledger)
                waiting += 1
            elif step == "merge" and (data / "costs").exists():
                merged(data)
            elif step in {"kill", "fork"}:
                ledger.forget()  # what waits is gone, and the lock is free
                waiting = 0
            elif step in {"write", "restart"}:
                ledger.write()
                written, waiting = written + waiting, 0
            if step == "restart":
                ledger.close()
                ledger = CostLedger(lambda: data)
        ledger.forget()

        assert calls(data) == {"acme": written} if (data / "costs").exists() else written == 0


@contextmanager
def _few_segments():
    patch = pytest.MonkeyPatch()
    patch.setattr("somatrace.costs.ledger.ledger_directory.MOST_SEGMENTS", 2)
    try:
        yield
    finally:
        patch.undo()


def test_totals_add_up_by_key():
    key = LedgerKey(0, *"abcdefgh")
    totals = LedgerTotals()

    totals.add(key, LedgerSums(1, 2, 3, 4, 5, 6))
    totals.add_all([(key, LedgerSums(1, 1, 1, 1, 1, 1))])

    assert totals == {key: LedgerSums(2, 3, 4, 5, 6, 7)}
