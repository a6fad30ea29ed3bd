"""Segments: written and read back, torn anywhere, damaged anywhere, private, bounded."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from somatrace.spool.report_file import ReportFile
from somatrace.spool.segment_format import HEADER_SIZE, WRITER
from somatrace.spool.segment_reader import UnknownFormatError, records, spans_in
from somatrace.spool.segment_writer import SegmentWriter
from somatrace.spool.spool_directory import lock, open_spool

MOST = 1 << 28


def writer_in(directory: Path, most: int = MOST, max_days: float = 7.0) -> SegmentWriter:
    return SegmentWriter(directory, most=lambda: most, max_days=max_days)


def segments(directory: Path) -> list[Path]:
    return sorted((directory / "spool").glob("*.segment"))


def read(path: Path, start: int = 0, *, complete: bool = True) -> list[bytes | None]:
    """The payloads after the one that names the writer; None for damage."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return [
            record.payload
            for record in records(descriptor, start, complete=complete)
            if record.header is None or record.header.kind != WRITER
        ]
    finally:
        os.close(descriptor)


@pytest.fixture
def segment(tmp_path):
    """A segment with three records, as bytes, and the positions at which they end."""
    writer = writer_in(tmp_path)
    ends = []
    for payload in (b"first", b"", b"third" * 50):
        writer.append(payload, 1)
        ends.append(segments(tmp_path)[0].stat().st_size)
    writer.close()
    return segments(tmp_path)[0].read_bytes(), ends


@given(st.lists(st.tuples(st.binary(max_size=300), st.integers(0, 1000)), max_size=20))
@settings(max_examples=50)
def test_records_are_read_back_as_they_were_written(tmp_path_factory, batches):
    directory = tmp_path_factory.mktemp("segments")
    writer = writer_in(directory)
    for payload, spans in batches:
        writer.append(payload, spans)
    writer.close()

    found = [payload for path in segments(directory) for payload in read(path)]

    assert found == [payload for payload, _ in batches]
    for path in segments(directory):
        descriptor = os.open(path, os.O_RDONLY)
        assert spans_in(descriptor) == sum(spans for _, spans in batches)
        os.close(descriptor)


def test_the_first_record_names_the_writer(tmp_path):
    writer_in(tmp_path).append(b"x", 1)
    descriptor = os.open(segments(tmp_path)[0], os.O_RDONLY)

    first = next(records(descriptor, complete=False))

    os.close(descriptor)
    assert first.header is not None
    assert first.header.kind == WRITER
    assert f'"pid": {os.getpid()}'.encode() in (first.payload or b"")


def test_reading_continues_at_the_end_of_any_record(tmp_path, segment):
    whole, ends = segment
    path = tmp_path / "copy"
    path.write_bytes(whole)

    assert [read(path, end) for end in ends] == [[b"", b"third" * 50], [b"third" * 50], []]


@pytest.mark.parametrize("complete", [True, False])
def test_a_record_torn_at_any_byte_is_ignored_and_those_before_it_are_read(tmp_path, segment, complete):
    whole, ends = segment
    path = tmp_path / "torn"
    payloads = [b"first", b"", b"third" * 50]

    for size in range(len(whole)):
        path.write_bytes(whole[:size])

        assert read(path, complete=complete) == payloads[: sum(end <= size for end in ends)], size


def test_a_changed_byte_costs_its_record_only_and_is_reported(tmp_path, segment):
    whole, ends = segment
    path = tmp_path / "damaged"
    payloads = [b"first", b"", b"third" * 50]
    first = ends[0] - HEADER_SIZE - len(b"first")

    for place in range(first, len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 0x41
        path.write_bytes(damaged)
        hit = sum(end <= place for end in ends)

        found = read(path)

        assert [payload for payload in found if payload is not None] == [
            payload for number, payload in enumerate(payloads) if number != hit
        ], place
        assert None in found, place


def test_zeros_after_a_power_failure_are_reported_as_damage(tmp_path, segment):
    whole, _ = segment
    path = tmp_path / "zeros"
    path.write_bytes(whole + bytes(5000))

    assert read(path) == [b"first", b"", b"third" * 50, None]


def test_a_mark_inside_a_payload_does_not_mislead_the_reader(tmp_path, segment):
    whole, _ = segment
    writer = writer_in(tmp_path / "nested")
    (tmp_path / "nested").mkdir()
    writer.append(whole, 1)
    writer.append(b"next", 1)
    writer.close()

    assert read(segments(tmp_path / "nested")[0]) == [whole, b"next"]


def test_files_of_another_format_are_refused(tmp_path):
    path = tmp_path / "other"
    path.write_bytes(b"SOMASEG2" + bytes(100))

    with pytest.raises(UnknownFormatError):
        read(path)


def test_files_are_private_with_any_umask(tmp_path):
    before = os.umask(0)
    try:
        writer_in(tmp_path).append(b"x", 1)
        ReportFile(tmp_path).write(b"{}")
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "spool").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "spool").iterdir()} == {0o600}


def test_a_directory_that_others_could_read_becomes_private(tmp_path):
    (tmp_path / "spool").mkdir(0o755)

    writer_in(tmp_path).append(b"x", 1)

    assert stat.S_IMODE((tmp_path / "spool").stat().st_mode) == 0o700


def test_a_link_in_place_of_the_directory_is_not_followed(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "spool").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(OSError, match="spool"):
        writer_in(tmp_path).append(b"x", 1)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_segment_is_locked_until_its_writer_closes_it(tmp_path):
    writer = writer_in(tmp_path)
    writer.append(b"x", 1)
    descriptor = os.open(segments(tmp_path)[0], os.O_RDWR)

    before = lock(descriptor)
    writer.close()

    assert (before, lock(descriptor)) == (False, True)
    os.close(descriptor)


def test_a_moved_directory_gets_no_more_records(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    writer = writer_in(data)
    writer.append(b"before", 1)
    data.rename(tmp_path / "moved")
    with pytest.raises(FileNotFoundError):
        writer.append(b"meanwhile", 1)
    data.mkdir()

    writer.append(b"after", 1)

    assert read(segments(data)[0]) == [b"after"]
    assert read(segments(tmp_path / "moved")[0]) == [b"before"]


def test_a_descriptor_that_the_program_closed_and_reused_is_left_alone(tmp_path):
    writer = writer_in(tmp_path)
    writer.append(b"first", 1)
    writer.append(b"second", 1)
    assert writer._file is not None
    with (tmp_path / "other").open("wb") as other:
        os.dup2(other.fileno(), writer._file.descriptor)

        writer.append(b"third", 1)

        assert os.fstat(other.fileno()).st_size == 0
    assert [read(path) for path in segments(tmp_path)] == [[b"first", b"second"], [b"third"]]


@pytest.mark.slow
@pytest.mark.forks
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_writes_a_segment_of_its_own(tmp_path):
    writer = writer_in(tmp_path)
    writer.append(b"parent", 1)
    if not (child := os.fork()):
        writer.append(b"child", 1)
        os._exit(0)
    os.waitpid(child, 0)

    writer.append(b"parent again", 1)

    assert sorted(read(path) for path in segments(tmp_path)) == [[b"child"], [b"parent", b"parent again"]]


FULL = """
import resource, sys
from pathlib import Path
from somatrace.spool.segment_writer import SegmentWriter
writer = SegmentWriter(Path(sys.argv[1]), most=lambda: 1 << 30, max_days=7)
writer.append(b"fits", 1)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 10**9))
for _ in range(3):
    try:
        writer.append(b"x" * 6000, 1)
    except OSError as error:
        print(error.errno)
resource.setrlimit(resource.RLIMIT_FSIZE, (10**9, 10**9))
writer.append(b"fits again", 1)
"""


@pytest.mark.slow
def test_a_record_that_found_no_room_leaves_nothing_behind(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=True, timeout=180
    )

    assert len(done.stdout.split()) == 3
    assert [read(path) for path in segments(tmp_path)] == [[b"fits"], [b"fits again"]]


def test_over_the_limit_the_oldest_segments_are_deleted_and_their_spans_counted(tmp_path):
    writer = writer_in(tmp_path, most=1_000_000)
    deleted: Counter[str] = Counter()

    for number in range(300):
        deleted += writer.append(number.to_bytes(4) * 5000, 3)
        assert sum(path.stat().st_size for path in segments(tmp_path)) <= 1_000_000
    writer.close()

    kept = [payload[:4] for path in segments(tmp_path) for payload in read(path) if payload]
    assert kept == [number.to_bytes(4) for number in range(300 - len(kept), 300)]
    assert deleted == {"size": 3 * (300 - len(kept))}
    assert 0 < len(kept) < 60


def test_several_writers_share_one_limit_and_never_delete_what_another_one_writes(tmp_path):
    writers = [writer_in(tmp_path, most=1_000_000) for _ in range(4)]
    deleted: Counter[str] = Counter()

    for number in range(400):
        deleted += writers[number % 4].append(bytes(10_000), 1)
    open_ones = [writer._file.path for writer in writers if writer._file is not None]
    size = sum(path.stat().st_size for path in segments(tmp_path))
    kept = sum(len(read(path)) for path in segments(tmp_path))

    assert size <= 1_000_000 + 4 * 76_000
    assert kept + deleted["size"] == 400
    assert all(path.exists() for path in open_ones)


def test_over_the_age_limit_segments_and_reports_are_deleted(tmp_path):
    writer = writer_in(tmp_path)
    writer.append(b"x", 7)
    writer.close()
    ReportFile(tmp_path).write(b"{}")
    for path in (tmp_path / "spool").iterdir():
        time, _, rest = path.name.partition("-")
        path.rename(path.with_name(f"{int(time, 16) - 8 * 86_400 * 10**9:016x}-{rest}"))

    deleted = writer.append(b"y", 1)

    assert deleted == {"age": 7}
    assert [read(path) for path in segments(tmp_path)] == [[b"y"]]
    assert len(list((tmp_path / "spool").iterdir())) == 1


def test_files_of_others_in_the_directory_are_left_alone(tmp_path):
    spool = tmp_path / "spool"
    spool.mkdir()
    for name in ("notes.txt", "zz-zz.segment", "ingest.lock"):
        (spool / name).write_bytes(b"x" * 100_000)

    writer_in(tmp_path, most=1000).append(b"x", 1)

    assert {"notes.txt", "zz-zz.segment", "ingest.lock"} < {path.name for path in spool.iterdir()}


def test_a_report_replaces_the_previous_one_of_its_process(tmp_path):
    file = ReportFile(tmp_path)
    file.write(b"first")
    file.write(b"second")
    ReportFile(tmp_path).write(b"another")

    assert sorted(path.read_bytes() for path in (tmp_path / "spool").glob("*.report")) == [
        b"another",
        b"second",
    ]
    assert not list((tmp_path / "spool").glob("*.tmp"))


def test_a_spool_directory_that_is_missing_is_not_created_by_a_reader(tmp_path):
    with pytest.raises(FileNotFoundError):
        open_spool(tmp_path, create=False)
