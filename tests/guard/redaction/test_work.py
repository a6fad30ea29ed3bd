"""The work of redaction is bounded for each text and each span, whatever their contents."""

from __future__ import annotations

import pytest

from somatrace.guard import Guard, redact_text
from somatrace.guard.detection.engine import MAX_EXAMINED
from somatrace.guard.policy.model import Grant
from somatrace.guard.redaction.redact import OVERFLOW
from somatrace.guard.redaction.work import MAX_WORK, Work, shared_work
from somatrace.guard.terms import dictionary, pattern

KEY = "sk-proj-" + "aB3" * 16
#: Texts in which careless detectors read the same characters over and over.
HOSTILE = (
    "?key=", "?_key=", "keykey", "://a:", "key=", "sig=", "auth:", "sk-", "password: ", "secret=a&", "@",
    "::", "a:a", "0000 ", "0", '"password","', '{"name":"password",', "-----BEGIN PRIVATE KEY-----", "%40",
    "\\u0040", "eyJ.", "Cookie: a=b", "Authorization: ", "пароль: ", "[1,", "\u200b@", "AKIA", "mysql -p",
)  # fmt: skip
FEW = ("?key=", "password: ", "%40", "sk-")


def examined(text: str) -> tuple[str, int]:
    work = Work()
    with shared_work(work):
        return redact_text(text), work.examined


@pytest.mark.usefixtures("unmeasured")  # many times the same search
@pytest.mark.parametrize("seed", HOSTILE)
def test_a_hostile_text_is_examined_a_bounded_number_of_times(seed: str) -> None:
    found, characters = examined(seed * (200_000 // len(seed)))

    assert characters <= 4 * MAX_EXAMINED + 1_000_000
    assert found


@pytest.mark.parametrize("seed", FEW)
def test_a_text_above_the_limit_keeps_its_beginning_and_says_how_much_is_removed(seed: str) -> None:
    text = f"mail ada@example.com {seed * (240_000 // len(seed))} {KEY}"
    found, _ = examined(text)

    begin, _, end = found.rpartition(" [TRUNCATED ")
    assert begin.startswith("mail [EMAIL] ")
    assert end.endswith("]")
    assert 10_000 < len(begin) < len(text) - int(end[:-1]) + 20
    assert "aB3" not in found


@pytest.mark.parametrize("seed", FEW)
def test_the_result_depends_on_the_text_alone_and_stays(seed: str) -> None:
    text = seed * (200_000 // len(seed))
    found = redact_text(text)

    assert redact_text(text) == found
    assert redact_text(found) == found


def test_no_value_is_halved_where_the_rest_is_removed() -> None:
    step = len(KEY) + 40
    for shift in range(0, step, 7):
        text = "k" * shift + ("?key= " * 6 + KEY + " ") * 3000
        found, _ = examined(text)
        assert "aB3" not in found


def test_ordinary_texts_are_far_below_the_limit() -> None:
    logprobs = '{"token":" the","logprob":-0.31,"bytes":[32,116]},' * 5000
    records = '{"key":"colour","value":"red"},' * 8000
    links = "https://example.com/a/path?page=2&sort=name " * 5000
    for text in (logprobs, records, links):
        found, characters = examined(text)
        assert "TRUNCATED" not in found[: 90 * 1024]
        assert characters < 4 * MAX_EXAMINED


def test_custom_terms_and_patterns_count_as_work() -> None:
    extra = [dictionary(["Bluebird"])] + [pattern(f"TICKET{n}", rf"AB{n}-\d{{4,6}}") for n in range(40)]
    work = Work()
    with shared_work(work):
        found = redact_text(("plain words " * 500 + "for Bluebird, AB7-12345 ") * 40, extra=extra)

    assert "[TRUNCATED" in found
    assert "Bluebird" not in found
    assert "AB7-12345" not in found


def test_a_pattern_matches_across_the_pieces_in_which_a_text_is_searched() -> None:
    ticket = pattern("TICKET", r"\bAB-\d{4,6}\b")
    for length in range(2036, 2056):
        text = "x" * length + " AB-12345 " + "y" * 3000
        assert redact_text(text, extra=[ticket]) == "x" * length + " [TICKET] " + "y" * 3000


def test_a_span_with_many_hostile_texts_loses_the_last_ones() -> None:
    content_filter = Guard(resolve=lambda _: Grant("redacted")).content_filter("acme")
    hostile = {f"text.{number}": f"{number} " + "key=" * 50_000 for number in range(6)}
    work = Work()
    with shared_work(work):
        kept, _ = content_filter.attributes(
            {"first": "mail ada@example.com", **hostile, "last": "plain words"}
        )
    afterwards, _ = content_filter.attributes({"last": "plain words"})

    assert kept["first"] == "mail [EMAIL]"
    assert kept["text.0"].startswith("0 key=key=")
    assert kept["text.5"] == OVERFLOW
    assert kept["last"] == OVERFLOW
    assert work.examined < MAX_WORK + 3 * MAX_EXAMINED
    assert afterwards["last"] == "plain words"


def test_tags_and_short_declared_texts_are_never_removed_for_work() -> None:
    content_filter = Guard(resolve=lambda _: Grant("redacted")).content_filter("acme")
    work = Work()
    work.examined = MAX_WORK + 1
    with shared_work(work):
        assert content_filter.words("a name") == "a name"
        assert content_filter.terms.values_of_tags({"tenant_id": "acme", "session_id": "s-1"}) == {
            "tenant_id": "acme",
            "session_id": "s-1",
        }
