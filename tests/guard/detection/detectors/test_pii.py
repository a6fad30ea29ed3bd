"""E-mail addresses, phone numbers and IP addresses; cards and IBANs by their check digits."""

from __future__ import annotations

import json
import random
import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from somatrace.guard import redact_text
from somatrace.guard.detection.detectors.pii import is_card, is_iban, luhn
from tests.guard.detection.corpus import iban, luhn_card


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("mail ada@example.com.", "mail [EMAIL]."),
        ("<ada.love+tag@mail.example.co.uk>", "<[EMAIL]>"),
        ("mailto:ada@example.com?subject=x", "mailto:[EMAIL]?subject=x"),
        ("jösé@exämple.de and 用户@例子.公司", "[EMAIL] and [EMAIL]"),
        ("O'Neil <o.neil@x.org>", "O'Neil <[EMAIL]>"),
        ('{"t":"one\\nada@example.com\\ntwo"}', '{"t":"one\\n[EMAIL]\\ntwo"}'),
        ("?email=ada@example.com&x=1", "?email=[EMAIL]&x=1"),
    ],
)
def test_e_mail_addresses_are_replaced(text, clean):
    assert redact_text(text) == clean


@pytest.mark.parametrize(
    "text",
    [
        "git@github.com:org/repo",
        "@app.route",
        "a @ b",
        "icon@2x.png",
        "x@y",
        "react@18.2.0",
        "user@",
        "@",
        "a@@b.co",
    ],
)
def test_other_texts_with_an_at_sign_stay(text):
    assert redact_text(text) == text


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


@pytest.mark.parametrize(
    "text",
    [
        "+49 151 23456789",
        "+1 415-555-2671",
        "+1 (415) 555-2671",
        "+442079460958",
        "+33 6 12 34 56 78",
        "0049 30 901820",
        "(415) 555-2671",
        "tel:+4930901820",
    ],
)
def test_phone_numbers_with_a_country_code_are_replaced(text):
    assert redact_text(f"call {text} now").removeprefix("call tel:").removeprefix("call ") == "[PHONE] now"


@pytest.mark.parametrize(
    "text",
    [
        "+0100",
        "+5 points",
        "1+1234567890",
        "+1 000 000 0000",
        "a += 12",
        "+12345",
        "UTC+02:00",
        "+100000000",
        "00 12 34",
    ],
)
def test_sums_and_offsets_stay(text):
    assert redact_text(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "10.0.0.17",
        "192.168.1.1",
        "93.184.216.34",
        "2001:db8::1",
        "fe80::1ff:fe23:4567:890a",
        "2001:db8:85a3:0:0:8a2e:370:7334",
    ],
)
def test_ip_addresses_are_replaced(text):
    assert redact_text(f"from {text}, port 80") == "from [IP_ADDRESS], port 80"
    assert redact_text(f"({text})") == "([IP_ADDRESS])"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("mongodb/8.8.8.8:27017", "mongodb/[IP_ADDRESS]:27017"),
        ("host/10.1.2.3:5432.", "host/[IP_ADDRESS]:5432."),
        ("to db.example/10.1.2.3:80, refused", "to db.example/[IP_ADDRESS]:80, refused"),
        ("client/8.8.8.8", "client/[IP_ADDRESS]"),
        ("Server/8.8.8.8 Host/10.1.2.3", "Server/[IP_ADDRESS] Host/[IP_ADDRESS]"),
    ],
)
def test_an_address_after_a_name_needs_a_port_or_a_host_name(text, clean):
    assert redact_text(text) == clean


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1",
        "0.0.0.0",
        "255.255.255.0",
        "::1",
        "::",
        "v1.2.3.4",
        "version 1.2.3.4",
        "Chrome/120.0.0.0",
        "Chrome/120.0.6099.130",
        "Edg/12.0.1.2 OPR/10.1.2.3: http/1.1 Foo-Server/10.0.1.2",
        "Chrome/120.0.0.0:1.2",
        "1.2.3",
        "1.2.3.4.5",
        "256.1.1.1",
        "12:30:45",
        "std::string",
        "00:1a:2b:3c:4d:5e",
    ],
)
def test_loopback_versions_and_times_stay(text):
    assert redact_text(text) == text


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


def test_digits_of_every_script_are_read() -> None:
    zeros = [chr(code) for code in range(0x660, sys.maxunicode) if unicodedata.digit(chr(code), None) == 0]
    for zero in (one for one in zeros if unicodedata.category(one) == "Nd"):
        card = "".join(chr(ord(zero) + int(digit)) for digit in "4111111111111111")
        assert redact_text(f"card {card}") == "card [CARD]", unicodedata.name(zero)


@pytest.mark.parametrize("hidden", ["\u200b", "\u200d", "\u2060", "\ufeff", "\u00ad"])
def test_e_mail_addresses_are_found_with_invisible_characters_inside(hidden: str) -> None:
    for at in range(1, len("ada@example.com")):
        text = "ada@example.com"[:at] + hidden + "ada@example.com"[at:]
        assert redact_text(f"mail {text} now") == "mail [EMAIL] now"
