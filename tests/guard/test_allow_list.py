"""The allow-list: what may leave without being searched must hold nothing that a search would find."""

from __future__ import annotations

import random

import pytest

from somatrace.guard import redact_text
from somatrace.guard.allow_list import is_response_id
from tests.guard.detection.corpus import EXACT

PREFIXES = ("chatcmpl-", "cmpl-", "resp_", "msg_", "msg_bdrk_", "req_", "gen_", "run_", "call_", "toolu_")


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("kind", EXACT)
def test_a_secret_behind_the_prefix_of_a_response_id_is_not_taken_for_one(prefix, kind):
    for seed in range(20):
        text = prefix + EXACT[kind](random.Random(seed))
        assert redact_text(text) == text or not is_response_id(text)


@pytest.mark.parametrize("text", ["chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT", "toolu_01A09q90qw90lq917835lq9"])
def test_a_response_id_of_a_provider_is_known_at_a_glance(text):
    assert is_response_id(text)
