"""Dead letters: private, bounded, readable at any time, and without content that may not leave."""

from __future__ import annotations

import multiprocessing
import stat
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from somatrace.delivery.batch import Batch
from somatrace.delivery.dead_letters import DEAD_LETTERS, DeadLetter, DeadLetters, dead_letter_in
from somatrace.delivery.restricted import Restricted
from somatrace.delivery.send_result import SendResult
from somatrace.drain.dead_letter_survey import DeadSpan, dead_segments, spans_of
from tests.delivery.support import batch, dead_in, dead_letters_in, open_segments

REJECTED = SendResult("rejected", status="400", answer="no")


def add(letters: DeadLetters, *names: str, answer: str = "no", restricted: Restricted | None = None) -> bool:
    body = Batch(batch(*names), len(names), 0.0, restricted=restricted)
    return letters.add(body, SendResult("rejected", status="400", answer=answer))


def files(directory: Path) -> list[Path]:
    return sorted((directory / DEAD_LETTERS).rglob("*.segment"))


def spans(directory: Path) -> list[DeadSpan]:
    return list(spans_of(dead_segments(directory, [])))


def test_a_letter_says_what_was_rejected_when_and_why(tmp_path: Path) -> None:
    assert add(dead_letters_in(tmp_path), "bad", answer="no such thing")

    [span] = spans(tmp_path)
    assert (span.name, span.status, span.answer) == ("bad", "400", "no such thing")
    assert (span.service, span.target) == ("svc", "otlp http://collector:4318/v1/traces")
    assert len(span.trace_id) == 32
    assert span.when_ns > 0


def test_files_are_private(tmp_path: Path) -> None:
    add(dead_letters_in(tmp_path), "bad")

    for path in (tmp_path / DEAD_LETTERS).rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


@pytest.mark.parametrize("depth", [1, 2, 3], ids=["dead", "service", "spool"])
def test_no_link_is_followed(tmp_path: Path, depth: int) -> None:
    data = tmp_path / "data"
    data.mkdir()
    add(dead_letters_in(data), "first")
    directory = files(data)[0].parents[3 - depth]
    directory.rename(tmp_path / "elsewhere")
    directory.symlink_to(tmp_path / "elsewhere")

    assert not add(dead_letters_in(data), "second")
    assert len(list((tmp_path / "elsewhere").rglob("*.segment"))) == 1


def test_letters_in_a_row_share_a_file_that_is_not_kept_open(tmp_path: Path) -> None:
    letters = dead_letters_in(tmp_path)
    for number in range(20):
        add(letters, f"bad {number}")
        assert not open_segments(tmp_path)

    assert len(files(tmp_path)) == 1
    assert dead_in(tmp_path) == [f"bad {number}" for number in range(20)]


def test_a_file_that_was_taken_away_meanwhile_is_begun_anew(tmp_path: Path) -> None:
    letters = dead_letters_in(tmp_path)
    add(letters, "first")
    files(tmp_path)[0].unlink()
    add(letters, "second")

    assert dead_in(tmp_path) == ["second"]


def test_a_forked_child_has_a_file_of_its_own(tmp_path: Path) -> None:
    letters = dead_letters_in(tmp_path)
    add(letters, "parent")

    def child() -> None:
        letters.forget()
        add(letters, "child")

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(60)
    add(letters, "parent again")

    assert len(files(tmp_path)) == 2
    assert sorted(dead_in(tmp_path)) == ["child", "parent", "parent again"]


def test_the_oldest_files_are_deleted_above_the_size_limit_and_counted(tmp_path: Path) -> None:
    gone: Counter[str] = Counter()
    letters = dead_letters_in(tmp_path, max_bytes=1 << 20, evicted=gone.update)
    for number in range(200):
        add(letters, f"{number}", "x" * 20_000)

    left = len(dead_in(tmp_path))
    assert sum(path.stat().st_size for path in files(tmp_path)) <= 1 << 20
    assert gone == {"size": 400 - left}
    assert 20 < left < 400


def test_old_files_of_every_service_are_deleted_when_a_service_starts(tmp_path: Path) -> None:
    gone: Counter[str] = Counter()
    add(dead_letters_in(tmp_path, owner={"service": "gone"}), "old")
    [path] = files(tmp_path)
    nine_days_ago = int(path.name[:16], 16) - 9 * 86_400 * 10**9
    path.rename(path.with_name(f"{nine_days_ago:016x}{path.name[16:]}"))
    letters = dead_letters_in(tmp_path, evicted=gone.update)
    add(letters, "new")

    letters.expire()

    assert dead_in(tmp_path) == ["new"]
    assert gone == {"age": 1}


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / DEAD_LETTERS).touch()

    assert not add(dead_letters_in(tmp_path), "bad")
    assert not dead_letters_in(Path("/proc/none")).add(Batch(b"", 1, 0.0), REJECTED)


def test_secrets_and_personal_data_are_removed_from_an_answer(tmp_path: Path) -> None:
    add(dead_letters_in(tmp_path), "bad", answer="bad value of ada@example.com: sk-lf-" + "1a2b3c4d-" * 4)

    [span] = spans(tmp_path)
    assert "ada@example.com" not in span.answer
    assert "1a2b3c4d" not in span.answer
    assert span.answer.startswith("bad value of")


def test_an_answer_to_a_batch_with_content_is_not_kept(tmp_path: Path) -> None:
    restricted = Restricted({"acme": "grant"}, batch("bad"))
    add(dead_letters_in(tmp_path), "bad", answer="cannot store 'the words of acme'", restricted=restricted)

    [span] = spans(tmp_path)
    assert (span.name, span.status, span.answer) == ("bad", "400", "")
    assert b"cannot store" not in files(tmp_path)[0].read_bytes()


def test_a_damaged_letter_costs_itself_only_and_is_reported(tmp_path: Path) -> None:
    letters = dead_letters_in(tmp_path)
    for name in ("one", "two", "three"):
        add(letters, name)
    [path] = files(tmp_path)
    content = bytearray(path.read_bytes())
    content[content.index(b"two") + 1] ^= 0xFF
    path.write_bytes(content)
    problems: list[str] = []

    found = [span.name for span in spans_of(dead_segments(tmp_path, problems))]

    assert found == ["one", "three"]
    assert problems == [f"{path}: damaged spans: 1"]


@given(
    st.text(max_size=9),
    st.text(max_size=50),
    st.binary(max_size=50),
    st.none() | st.builds(Restricted, st.dictionaries(st.text(max_size=9), st.text(max_size=9)), st.binary()),
)
def test_a_letter_is_read_as_it_was_written(
    status: str, answer: str, body: bytes, restricted: Restricted | None
) -> None:
    letter = DeadLetter(status, answer, body, restricted)

    assert dead_letter_in(letter.as_record()) == letter


@given(st.binary(max_size=80))
def test_any_other_record_is_refused(record: bytes) -> None:
    try:
        letter = dead_letter_in(record)
    except ValueError:
        return
    assert isinstance(letter, DeadLetter)
