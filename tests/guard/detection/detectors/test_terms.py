"""Custom terms: a dictionary, and patterns that provably take linear time."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from somatrace.guard import redact_text
from somatrace.guard.detection.detectors.own_terms import MAX_TERMS, check_linear, dictionary, pattern


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("about Project Falcon.", "about [TERM]."),
        ("PROJECT\n  falcon!", "[TERM]!"),
        ("the projects falcon", "the projects falcon"),
        ("project falconry", "project falconry"),
        ("a C++ and a c# person", "a [TERM] and a c# person"),
        ("für die straße", "für die [TERM]"),
        ("我在天狼星计划工作", "我在[TERM]工作"),
        ("Falcon Nine Heavy", "[TERM]"),
        ("Falcon Nine", "[TERM]"),
        ("Falcon", "Falcon"),
    ],
)
def test_a_term_is_found_whole_regardless_of_case_and_spacing(text, clean):
    terms = dictionary(["Project Falcon", "C++", "Strasse", "天狼星计划", "Falcon Nine", "falcon nine heavy"])

    assert redact_text(text, extra=[terms]) == clean


def test_ten_thousand_terms_are_looked_up_together():
    terms = dictionary(f"term {number}" for number in range(MAX_TERMS))

    assert redact_text("x term 9999 y", extra=[terms]) == "x [TERM] y"


@pytest.mark.parametrize("terms", [[""], ["  "], ["x" * 201], ["a " * 30], ["x"] * (MAX_TERMS + 1)])
def test_an_invalid_term_is_rejected(terms):
    with pytest.raises(ValueError, match="term"):
        dictionary(terms)


@given(
    st.lists(st.text("ab c", min_size=1, max_size=6).filter(str.strip), max_size=5),
    st.text("ab c", max_size=60),
)
@settings(max_examples=200, deadline=None)
def test_the_dictionary_finds_the_same_as_a_search_for_each_term(terms, text):
    found = redact_text(text, extra=[dictionary(terms)]) != text

    alone = [re.search(r"(?<!\w)" + r"\s+".join(term.split()) + r"(?!\w)", text) for term in terms]

    assert found == any(alone)


@pytest.mark.parametrize(
    ("expression", "text", "clean"),
    [
        (r"[A-Z]{2}-\d{6}", "order AB-123456 sent", "order [ORDER] sent"),
        (r"(?:case|ticket) #\d{1,8}", "see ticket #42", "see [ORDER]"),
        (r"(?i)acme(?:corp)?", "AcmeCorp", "[ORDER]"),
    ],
)
def test_a_pattern_of_bounded_work_is_accepted(expression, text, clean):
    assert redact_text(text, extra=[pattern("ORDER", expression)]) == clean


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        (r"a+", "bound repetition"),
        (r"(a*)*b", "bound repetition"),
        (r"(a{1,9}){1,9}b", "256 ways"),
        (r"(a|a){1,20}b", "256 ways"),
        (r"a{0,99}a{0,99}b", "256 ways"),
        (r"(a)\1", "backreferences"),
        (r"(?=a)b", "lookaround"),
        (r"(?<!a)b", "lookaround"),
        (r"(a)?(?(1)b|c)", "conditions"),
        (r"a?", "everywhere"),
        (r"[", "not a pattern"),
        (r"a{1,99999999999}", "not a pattern|bound repetition"),
        ("x" * 501, "longer"),
    ],
)
def test_a_potentially_slow_pattern_is_rejected_with_the_reason(expression, reason):
    with pytest.raises(ValueError, match=reason):
        check_linear(expression)


def test_the_name_of_a_marker_is_checked():
    with pytest.raises(ValueError, match="A-Z"):
        pattern("my name", "abc")


def test_a_term_gets_a_pseudonym_like_any_other_value():
    terms = dictionary(["Project Falcon"])

    assert (
        redact_text("project  falcon", extra=[terms], pseudonym=lambda type_, value: "12345678")
        == "[TERM:12345678]"
    )
