"""Cards and IBANs by their check digits."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from somatrace.guard import redact_text
from somatrace.guard.detection.detectors.financial import is_card, is_iban, luhn
from tests.guard.detection.corpus import iban, luhn_card


@pytest.mark.parametrize(
    "text",
    [
        "4111111111111111",
        "4111 1111 1111 1111",
        "4111-1111-1111-1111",
        "378282246310005",
        "3782 822463 10005",
        "5555555555554444",
        "2221000000000009",
        "6011111111111117",
        "30569309025904",
        "3530111333300000",
        "6200000000000005",
        "4222222222222",
    ],
)
def test_published_test_card_numbers_are_replaced(text):
    assert redact_text(text) == "[CARD]"
    assert redact_text(f"paid with {text}, thanks") == "paid with [CARD], thanks"


CARD = [4, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]


@pytest.mark.parametrize(
    "numbers",
    [
        CARD,
        [4111, 1111, 1111, 1111],
        [3782, 822463, 10005],
        list(map(str, CARD)),
        ["4111", "1111", "1111", "1111"],
        [*map(int, "30569309025904")],
    ],
    ids=str,
)
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("depth", range(3))
def test_a_card_as_a_list_of_digits_or_groups_is_replaced(numbers, indent, depth):
    text = json.dumps({"pan": numbers, "next": 1}, indent=indent)
    for _ in range(depth):
        text = json.dumps({"body": text})

    clean = redact_text(text)

    for _ in range(depth):
        clean = json.loads(clean)["body"]
    assert json.loads(clean) == {"pan": ["[CARD]"], "next": 1}


def test_groups_without_their_leading_zeros_are_a_card_only_beside_the_word():
    assert redact_text('{"card": [5500, 0, 0, 4]}') == '{"card": ["[CARD]"]}'
    assert redact_text('{"sizes": [5500, 0, 0, 4]}') == '{"sizes": [5500, 0, 0, 4]}'


@pytest.mark.parametrize(
    "text",
    [
        "[4, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2]",
        "[4, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 7]",
        "[4096, 2048, 1024, 512]",
        "[2019, 2020, 2021, 2022]",
        "[15339, 1917, 374, 264, 1296]",
        '{"token_ids": [4, 8, 15, 16, 23, 42]}',
        "(4111, 1111, 1111)",
        "[5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5]",
        '["4111", "1111", "1111", "1112"]',
    ],
)
def test_other_lists_of_numbers_stay(text):
    assert redact_text(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "4111111111111112",
        "1234567812345670",
        "0000000000000000",
        "41111111111111111111",
        "x4111111111111111",
        "0.4111111111111111",
        "1700000000000",
        "627710811656952604",
        "4275463906382541835",
    ],
)
def test_numbers_other_than_cards_stay(text):
    assert redact_text(text) == text


@given(st.integers(0, 10**6))
@settings(max_examples=100, deadline=None)
def test_a_card_with_one_digit_changed_is_not_a_card(seed):
    rng = random.Random(seed)
    card = luhn_card(rng, "4", 16)
    at = rng.randrange(16)
    changed = card[:at] + str((int(card[at]) + 1 + rng.randrange(8)) % 10) + card[at + 1 :]

    assert luhn(card)
    assert is_card(card)
    assert not luhn(changed)


@pytest.mark.parametrize(
    "text",
    [
        "DE89370400440532013000",
        "GB82 WEST 1234 5698 7654 32",
        "FR1420041010050500013M02606",
        "nl91abna0417164300",
    ],
)
def test_the_registrys_example_ibans_are_replaced(text):
    assert redact_text(f"to {text}.") == "to [IBAN]."


@pytest.mark.parametrize(
    "text", ["a5dfaa1e-5fe5-4ea0-be26-3acb9cdf8379", "DE93ABCDEFGHIJKLMNOPQR", "be263acb9cdf8379"]
)
def test_a_text_without_its_countrys_format_is_not_an_iban(text):
    assert redact_text(f"id {text} x") == f"id {text} x"


@given(st.integers(0, 10**6))
@settings(max_examples=100, deadline=None)
def test_an_iban_with_two_digits_exchanged_is_not_an_iban(seed):
    value = iban(random.Random(seed), "DE", 22)
    at = next((at for at in range(4, 21) if value[at] != value[at + 1]), None)
    assert is_iban(value)
    if at is not None:
        assert not is_iban(value[:at] + value[at + 1] + value[at] + value[at + 2 :])


GAPS = [" ", "-", ".", "\t", "  "]


@pytest.mark.parametrize("gap", GAPS, ids=["space", "dash", "dot", "tab", "two spaces"])
@pytest.mark.parametrize("groups", ["4111 1111 1111 1111", "3782 822463 10005", " ".join("4111111111111111")])
def test_cards_are_found_with_any_gap_between_groups_or_digits(gap: str, groups: str) -> None:
    card = groups.replace(" ", gap)

    assert redact_text(f"paid with {card} today") == "paid with [CARD] today"
    assert redact_text(f"it was {card}.") == "it was [CARD]."


@pytest.mark.parametrize(
    "text",
    [
        " ".join(map(str, range(1, 20))),
        "9 " + " ".join("4111111111111111"),  # seventeen digits
        "4 1 1 1-1 1 1 1 1 1 1 1 1 1 1 1",
        "1.1111.1111.1111",
        "4111.1111 1111.1111",
        "0.4111.1111.1111.1112",
    ],
)
def test_other_spaced_numbers_stay(text: str) -> None:
    assert redact_text(text) == text
