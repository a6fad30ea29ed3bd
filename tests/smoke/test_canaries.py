"""Planted content is recognised as it is, in pieces and encoded; other text is not."""

from __future__ import annotations

import base64
import json
import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from somatrace.smoke.canaries import CanarySet

ALL = ["e-mail address", "secret", "prompt"]


@pytest.mark.parametrize(
    "encode",
    [
        str.encode,
        lambda text: text.upper().encode(),
        lambda text: json.dumps(json.dumps(text)).encode(),
        lambda text: urllib.parse.quote(text).encode(),
        lambda text: text.encode().hex().encode(),
        lambda text: text.encode("utf-16-le"),
    ],
)
def test_a_prompt_is_found_in_any_usual_encoding(encode):
    canaries = CanarySet.fresh()

    assert canaries.found_in(b"before " + encode(canaries.prompt) + b" after") == ALL


@given(st.binary(max_size=20), st.binary(max_size=20))
def test_base64_is_found_wherever_in_it_the_prompt_stands(before, after):
    canaries = CanarySet.fresh()

    assert canaries.found_in(base64.b64encode(before + canaries.prompt.encode() + after)) == ALL


@given(st.binary(max_size=2000))
def test_other_bytes_hold_none(haystack):
    assert CanarySet.fresh().found_in(haystack) == []


@pytest.mark.parametrize(
    ("mode", "looked_for"), [("none", ALL), ("redacted", ["e-mail address", "secret"]), ("full", ["secret"])]
)
def test_what_the_policy_grants_is_not_looked_for_and_a_secret_always_is(mode, looked_for):
    canaries = CanarySet.fresh()

    assert canaries.found_in(canaries.prompt.encode(), mode) == looked_for


def test_no_repr_shows_them():
    canaries = CanarySet.fresh()

    assert canaries.found_in(repr(canaries).encode()) == []
