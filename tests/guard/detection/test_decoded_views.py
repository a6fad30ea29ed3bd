"""Encoded values are found: escapes, entities, look-alike characters, base64 one level deep."""

from __future__ import annotations

import base64
import gzip
import json
import unicodedata
from collections import Counter
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from somatrace.guard import redact_text
from somatrace.guard.detection.decoded_views import _PIECE, decoded_views
from tests.guard.detection.corpus import ENCODINGS, encoded_texts


def test_at_least_95_of_100_encoded_values_are_found(capsys):
    planted = list(encoded_texts())

    missing = Counter((one.type, one.encoding) for one in planted if one.needle in redact_text(one.text))

    recall = 1 - missing.total() / len(planted)
    with capsys.disabled():
        print(f"\nrecall: {recall:.1%} of {len(planted)} values in {len(ENCODINGS)} and more encodings")
    assert recall >= 0.95, missing


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("ada\\u0040example.com", "[EMAIL]"),
        ("ada\\\\\\\\u0040example.com", "[EMAIL]"),
        ("ada\\x40example.com", "[EMAIL]"),
        ("ada\\u{40}example.com", "[EMAIL]"),
        ("to=ada%40example.com&x=1", "to=[EMAIL]&x=1"),
        ("to=ada%252540example.com", "to=[EMAIL]"),
        ("ada&#64;example.com &#x0040; ada&commat;example.com", "[EMAIL] &#x0040; [EMAIL]"),
        ("password%3Dhunter2%26x%3D1", "password%3D[PASSWORD]%26x%3D1"),
        ("p\u200bassword=hunter2", "p\u200bassword=[PASSWORD]"),
        ("p\u0430ssw\u043erd=hunter2", "p\u0430ssw\u043erd=[PASSWORD]"),
        ("４１１１ １１１１ １１１１ １１１１", "[CARD]"),
        ("4111\u00a01111\u00a01111\u00a01111", "[CARD]"),
        ("٤١١١١١١١١١١١١١١١", "[CARD]"),
        ("+49\u2009151\u200923456789", "[PHONE]"),
    ],
)
def test_encoded_values_are_replaced_and_the_rest_is_unchanged(text, clean):
    assert redact_text(text) == clean


@pytest.mark.parametrize(
    "write",
    [
        lambda text: "".join(f"\\U{ord(one):08x}" for one in text),
        lambda text: "".join(f"%u{ord(one):04X}" for one in text),
        lambda text: "".join(f"\\{ord(one):03o}" for one in text),
        lambda text: "".join(f"\\{ord(one):06x}" for one in text),
        "\u115f".join,
        "\u2800".join,
        "\u0301".join,
        lambda text: quote(full_width(text)),
        lambda text: " " + quote("(" + full_width(text) + ")", safe=""),
    ],
    ids=["U", "percent u", "octal", "css", "hangul filler", "braille blank", "marks", "wide", "odd run"],
)
def test_rare_encodings_are_decoded(write):
    clean = redact_text(f"start {write('ada@example.com')} end")

    assert "[EMAIL]" in clean
    assert clean.startswith("start ")
    assert clean.endswith(" end")


def full_width(text):
    return "".join(chr(ord(one) + 0xFEE0) for one in text)


@pytest.mark.parametrize("name", ["пароль", "мой пароль", "секрет", "- 密码"])
def test_a_percent_encoded_word_of_another_script_is_decoded(name):
    assert "hunter2" not in redact_text(quote(f"{name}: hunter2Secret9", safe=""))


@pytest.mark.parametrize(
    "raw",
    [
        "caf\xe9 KEY=sk-proj-Ab1Ab1Ab1Ab1Ab1Ab1Ab1".encode("latin-1"),
        b"KEY=sk-proj-Ab1Ab1Ab1Ab1Ab1Ab1Ab1\0",
        b"\x1b[32mKEY=sk-proj-Ab1Ab1Ab1Ab1Ab1Ab1Ab1",
        b"\fKEY=sk-proj-Ab1Ab1Ab1Ab1Ab1Ab1Ab1",
        "KEY=sk-proj-Ab1Ab1Ab1Ab1Ab1Ab1Ab1".encode("utf-16-le"),
        "KEY=sk-proj-Ab1Ab1Ab1Ab1Ab1Ab1Ab1".encode("utf-16"),
    ],
)
def test_base64_of_text_other_than_utf_8_is_decoded(raw):
    token = base64.b64encode(raw).decode()

    assert token not in redact_text(f"body {token} end")


def test_an_escape_before_base64_stays_whole():
    token = base64.b64encode(b"(AKIAIOSFODNN7EXAMPLE)").decode()

    assert redact_text(json.dumps(["\u200b" + token, "\n" + token])) == (
        '["\\u200b[AWS_KEY_ID]", "\\n[AWS_KEY_ID]"]'
    )


def test_compressed_data_in_base64_is_not_decoded():
    """A limit documented in docs/detection.md."""
    token = base64.b64encode(gzip.compress(b"mail ada@example.com", mtime=0)).decode()

    assert redact_text(token) == token


def test_base64_is_decoded_one_level_deep():
    once = base64.b64encode(b"mail ada@example.com").decode()
    twice = base64.b64encode(once.encode()).decode()

    assert redact_text(f"x {once} y") == "x [EMAIL] y"
    assert redact_text(f"data:text/plain;base64,{once}") == "data:text/plain;base64,[EMAIL]"
    assert redact_text(f"x {twice} y") == f"x {twice} y"


def test_base64_of_a_json_document_is_replaced_entirely():
    token = base64.urlsafe_b64encode(json.dumps({"password": "hunter2", "ä": "ü"}).encode()).decode()

    assert redact_text(json.dumps({"body": token})) == '{"body": "[PASSWORD]"}'


@pytest.mark.parametrize(
    "token",
    [
        base64.b64encode(bytes(range(256))).decode(),
        base64.b64encode(b"nothing to see in here, move along").decode(),
        "internationalizationandlocalization",
        "a" * 64,
    ],
)
def test_base64_without_a_value_stays(token):
    assert redact_text(token) == token


@pytest.mark.parametrize(
    "text", ["plain text", "", "Die Straße, naïve café", "Привет, мир", "東京タワー", "a, b: c; d"]
)
def test_plain_text_has_no_decoded_view(text):
    assert list(decoded_views(text)) == []


def test_a_value_that_continues_beyond_its_view_is_followed():
    long = "a" * 300 + "1b2c3d"

    assert redact_text(f"token\\u003d{long}") == "token\\u003d[SECRET]"


@given(st.text(max_size=60), st.sampled_from(sorted(ENCODINGS)))
@settings(max_examples=300, deadline=None)
def test_every_character_of_a_view_maps_to_the_original(text, encoding):
    try:
        encoded = ENCODINGS[encoding](text)
    except UnicodeEncodeError:
        return
    for view in decoded_views(encoded):
        assert len(view.offsets) == len(view.text) + 1
        assert view.offsets == sorted(view.offsets)
        assert 0 <= view.offsets[0] <= view.offsets[-1] <= len(encoded)


ZEROS = [chr(point) for point in range(0x600, 0x1A00) if unicodedata.decimal(chr(point), None) == 0]


@pytest.mark.parametrize("zero", ZEROS)
def test_a_card_in_the_digits_of_any_script_is_found(zero):
    card = "".join(chr(ord(zero) + int(digit)) for digit in "4111111111111111")

    assert redact_text(f"card {card}") == "card [CARD]"


def test_circled_letters_and_dot_leaders_hide_nothing():
    assert redact_text("ⓟⓐⓢⓢⓦⓞⓡⓓ: hunter2x") == "ⓟⓐⓢⓢⓦⓞⓡⓓ: [PASSWORD]"
    assert redact_text("mail ada@example\u2024com now") == "mail [EMAIL] now"


@pytest.mark.parametrize("before", range(2 * _PIECE - 40, 2 * _PIECE + 10, 3))
def test_a_value_across_two_pieces_of_a_long_text_is_found(before):
    text = f"{'да' * (before // 2)} ada.lovelace\\u0040example\\u002ecom и дальше"

    redacted = redact_text(text)

    assert "lovelace" not in redacted
    assert redacted.endswith(" и дальше")
