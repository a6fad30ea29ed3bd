"""E-mail addresses, phone numbers and IP addresses."""

from __future__ import annotations

import sys
import unicodedata

import pytest

from somatrace.guard import redact_text


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
