"""The allow-list: what may leave without being searched must hold nothing that a search would find."""

from __future__ import annotations

import random

import pytest

from somatrace.guard import redact_text
from somatrace.guard.allow_list import fits, is_response_id, shape_of
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


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("http.route", "customers/<str:name>"),  # django
        ("mcp.session.id", "40721135-d544-4399-a9fc-992f15d3e226"),  # begins like a number
        ("error.type", "-32602"),  # JSON-RPC
        ("error.type", "<class 'openai.BadRequestError'>"),  # OpenTelemetry's instrumentor of openai
    ],
)
def test_values_as_instrumentors_write_them_leave(key, text):
    shape = shape_of(key)

    assert shape is not None
    assert fits(shape, text)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("http.route", "ada@example.com"),
        ("mcp.session.id", "4111111111111111"),
        ("http.route", "please cancel my order"),
        ("http.route", "4111111111111111"),
        ("error.type", "-4111111111111111"),
        ("error.type", "<class 'a b'>"),
    ],
)
def test_values_of_another_form_do_not(key, text):
    shape = shape_of(key)

    assert shape is not None
    assert not fits(shape, text)
