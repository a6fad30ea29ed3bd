"""Signatures: the first key signs, all verify, for one trace and five minutes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from somatrace.propagation.signing import Signature, SigningKey, fault, keys, sign
from tests.propagation.conftest import KEY_A, KEY_B

A, B = keys(f"{KEY_A},{KEY_B}")
TRACE = "00-" + "1" * 32 + "-" + "2" * 16 + "-01"
PAYLOADS = st.from_regex(r"[A-Za-z0-9_-]{2,200}", fullmatch=True)


@given(PAYLOADS, st.integers(0, 2**33), st.integers(-30, 300))
def test_a_signature_is_valid_for_five_minutes_with_any_known_key(
    payload: str, signed_at: int, age: int
) -> None:
    for key in (A, B):
        signature = sign(key, payload, TRACE, signed_at)
        assert fault((A, B), signature, payload, TRACE, signed_at + age) == ""


def test_an_old_signature_and_one_from_the_future_are_invalid() -> None:
    signature = sign(A, "tags", TRACE, 10_000)
    assert fault((A,), signature, "tags", TRACE, 10_301) == "signature expired"
    assert fault((A,), signature, "tags", TRACE, 9_969) == "signature expired"


@given(PAYLOADS, PAYLOADS)
def test_a_signature_is_invalid_for_other_tags(payload: str, other: str) -> None:
    wrong = fault((A,), sign(A, payload, TRACE, 100), other, TRACE, 100)
    assert wrong == ("" if payload == other else "signature wrong")


def test_a_replay_cannot_join_another_trace_or_omit_the_trace() -> None:
    signature = sign(A, "tags", TRACE, 100)
    other = TRACE.replace("1" * 32, "3" * 32)
    assert fault((A,), signature, "tags", other, 100) == "signature wrong"
    assert fault((A,), sign(A, "tags", "", 100), "tags", "", 100) == "signed without a trace"


@given(st.integers(0, 42), st.sampled_from("AZaz09-_"))
def test_an_altered_signature_time_or_key_is_invalid(position: int, character: str) -> None:
    good = sign(A, "tags", TRACE, 100)
    altered = good.mac[:position] + character + good.mac[position + 1 :]
    wrong = fault((A, B), good._replace(mac=altered), "tags", TRACE, 100)
    assert wrong == ("" if altered == good.mac else "signature wrong")
    assert fault((A, B), good._replace(time="101"), "tags", TRACE, 100) == "signature wrong"
    assert fault((A, B), good._replace(key_id="b"), "tags", TRACE, 100) == "signature wrong"
    assert fault((A, B), good._replace(key_id="c"), "tags", TRACE, 100) == "signed with an unknown key"


def test_keys_shorter_than_128_bits_are_skipped_and_no_repr_shows_a_key() -> None:
    assert keys("short:YWJj,nobase64:***,:" + KEY_A.partition(":")[2]) == ()
    assert "aaaa" not in repr(A)
    assert isinstance(sign(A, "x", TRACE, 1), Signature)
    assert isinstance(A, SigningKey)
