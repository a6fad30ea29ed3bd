"""Planted content is recognized verbatim, in fragments and encoded; other text is not."""

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
def test_a_prompt_is_found_in_every_common_encoding(encode):
    canaries = CanarySet.fresh()

    assert canaries.found_in(b"before " + encode(canaries.prompt) + b" after") == ALL


@given(st.binary(max_size=20), st.binary(max_size=20))
def test_a_prompt_is_found_at_any_offset_in_base64(before, after):
    canaries = CanarySet.fresh()

    assert canaries.found_in(base64.b64encode(before + canaries.prompt.encode() + after)) == ALL


@given(st.binary(max_size=2000))
def test_other_bytes_contain_no_canary(haystack):
    assert CanarySet.fresh().found_in(haystack) == []


@pytest.mark.parametrize(
    ("mode", "searched"), [("none", ALL), ("redacted", ["e-mail address", "secret"]), ("full", ["secret"])]
)
def test_permitted_content_is_not_searched_for_but_secrets_always_are(mode, searched):
    canaries = CanarySet.fresh()

    assert canaries.found_in(canaries.prompt.encode(), mode) == searched


def test_the_repr_hides_the_canaries():
    canaries = CanarySet.fresh()

    assert canaries.found_in(repr(canaries).encode()) == []
