"""The search finds a planted text in every encoding that could leave a process."""

from __future__ import annotations

import base64
import gzip
import html
import json
from collections.abc import Callable
from urllib.parse import quote

import pytest

from somatrace.guard import redact_text
from tests.leak_matrix.canary import Canary, Planted, dump, found, load

WRITINGS: dict[str, Callable[[str], bytes]] = {
    "as it is": str.encode,
    "upper case": lambda text: text.upper().encode(),
    "in an address": lambda text: quote(text).encode(),
    "twice in an address": lambda text: quote(quote(text)).encode(),
    "JSON": lambda text: json.dumps({"a": text}).encode(),
    "JSON in JSON": lambda text: json.dumps(json.dumps([text])).encode(),
    "every character escaped": lambda text: "".join(f"\\u{ord(c):04x}" for c in text).encode(),
    "HTML": lambda text: "".join(f"&#{ord(c)};" for c in text).encode() + html.escape(text).encode(),
    "hex": lambda text: text.encode().hex().encode(),
    "base64": lambda text: base64.b64encode(text.encode()),
    "base64 in the middle": lambda text: b"key=" + base64.b64encode(b"x" + text.encode()) + b";",
    "base64 for addresses": lambda text: base64.urlsafe_b64encode(b"\xff\xfe" + text.encode()),
    "among bytes": lambda text: b"\x00\x80\xff" + text.encode() + b"\x80\x00",
}


@pytest.mark.parametrize("writing", WRITINGS)
def test_all_four_canaries_of_a_text_are_found(writing: str) -> None:
    canaries: dict[str, Canary] = {}
    text = _text(canaries)

    kinds = {canaries[needle].kind for needle in found(WRITINGS[writing](text)) if needle in canaries}

    assert kinds == {"word", "email", "card", "key"}


def test_a_card_is_found_in_groups_of_four() -> None:
    canaries: dict[str, Canary] = {}
    card = Planted("none", "chat", canaries).card("prompt")

    assert card in found(" ".join(card[i : i + 4] for i in range(0, 16, 4)).encode())


def test_other_texts_contain_no_canary() -> None:
    assert found(gzip.compress(b"nothing planted" * 50) + b"4111111111111111 plain words") <= {
        "4111111111111111"
    }


def test_the_guard_removes_sensitive_canaries_and_keeps_the_word() -> None:
    canaries: dict[str, Canary] = {}
    left = found(redact_text(_text(canaries)).encode())

    assert {canaries[needle].kind for needle in left} == {"word"}


def test_canaries_survive_serialization() -> None:
    canaries: dict[str, Canary] = {}
    _text(canaries)

    assert load(dump(canaries)) == canaries


def _text(canaries: dict[str, Canary]) -> str:
    return Planted("none", "chat", canaries)("prompt")
