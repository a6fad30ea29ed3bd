"""A pseudonym identifies one value of one tenant, everywhere and always."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from somatrace.guard import redact_text
from somatrace.guard.redaction.pseudonyms import Pseudonym

KEY = "a key of the platform"
ACME, OTHER = Pseudonym(KEY, "acme"), Pseudonym(KEY, "other")


def test_the_same_value_has_the_same_pseudonym_everywhere():
    first = redact_text("mail ada@example.com", pseudonym=ACME)
    second = redact_text('{"to": "ADA@Example.com"} ada%40example.com', pseudonym=ACME)

    [token] = set(re.findall(r"\[EMAIL:[0-9a-f]{8}\]", first + second))
    assert first == f"mail {token}"
    assert second == f'{{"to": "{token}"}} {token}'


def test_case_spaces_and_separators_make_no_difference():
    assert ACME("CARD", "4111 1111-1111 1111") == ACME("CARD", "4111111111111111")
    assert ACME("IBAN", "de89 3704 0044 0532 0130 00") == ACME("IBAN", "DE89370400440532013000")
    assert ACME("EMAIL", "Ada@Example.COM") == ACME("EMAIL", "ada@example.com")


@given(st.text(max_size=30))
def test_pseudonyms_differ_by_tenant_key_and_type(value):
    tokens = {
        ACME("EMAIL", value),
        OTHER("EMAIL", value),
        Pseudonym(KEY + "2", "acme")("EMAIL", value),
        ACME("PHONE", value + "1"),
    }

    assert len(tokens) == 4


def test_a_pseudonym_is_the_same_in_another_process():
    code = (
        "from somatrace.guard.redaction.pseudonyms import Pseudonym\n"
        f"print(Pseudonym({KEY!r}, 'acme')('EMAIL', 'a@b.co'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=180
    )

    assert done.stdout.strip() == ACME("EMAIL", "a@b.co")


def test_a_pseudonym_is_not_a_plain_digest():
    plain = {hashlib.new(name, b"a@b.co").hexdigest()[:8] for name in ("md5", "sha1", "sha256", "sha512")}

    assert ACME("EMAIL", "a@b.co") not in plain


def test_secrets_get_no_pseudonym():
    assert redact_text("password=hunter2", pseudonym=ACME) == "password=[PASSWORD]"


def test_redacting_a_text_with_pseudonyms_changes_nothing():
    once = redact_text("ada@example.com 4111111111111111 password=hunter2 10.0.0.9", pseudonym=ACME)

    assert redact_text(once, pseudonym=ACME) == once
    assert redact_text(once) == once


def test_a_short_key_is_rejected_and_no_key_is_shown():
    with pytest.raises(ValueError, match="16 characters"):
        Pseudonym("short", "acme")
    assert KEY not in repr(vars(ACME) if hasattr(ACME, "__dict__") else ACME)
