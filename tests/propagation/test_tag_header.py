"""The tag header: round trips, and rejection of anything else."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from somatrace.context.tags import Tags
from somatrace.propagation import signing, tag_header

NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True)
TEXTS = st.text(max_size=60).filter(lambda text: text.isprintable() and bool(text.strip()))
VALUES = (
    TEXTS
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
)
TAGS = st.builds(
    Tags, st.dictionaries(NAMES, VALUES, min_size=1, max_size=5), st.dictionaries(NAMES, VALUES, max_size=2)
)


@given(TAGS)
def test_decoding_returns_the_encoded_tags(tags: Tags) -> None:
    payload, left_out = tag_header.encode(tags)
    found = tag_header.decode(payload)
    assert (dict(found.bound), dict(found.derived), left_out) == (dict(tags.bound), dict(tags.derived), 0)


@given(st.dictionaries(NAMES, st.text(max_size=200), max_size=32))
def test_the_header_is_one_bounded_line_of_plain_characters_for_any_tags(
    tags: dict[str, str],
) -> None:
    payload, _ = tag_header.encode(Tags(tags))
    key = signing.SigningKey("k" * 64, b"k" * 16)
    header = tag_header.join(payload, signing.sign(key, payload, "t" * 55, 1.0))
    assert len(header) <= tag_header.MAX_HEADER
    assert all("!" <= character <= "~" for character in header)


def test_tags_that_do_not_fit_are_dropped_and_the_required_ones_kept() -> None:
    tags = {f"extra_{number}": "x" * 200 for number in range(20)} | {"tenant_id": "acme", "agent_id": "a"}
    payload, left_out = tag_header.encode(Tags(tags))
    found = tag_header.decode(payload)
    assert found["tenant_id"] == "acme"
    assert found["agent_id"] == "a"
    assert left_out == 22 - len(found) > 0


def test_no_header_without_tags() -> None:
    assert tag_header.encode(Tags()) == ("", 0)


def test_names_bound_to_none_are_sent_only_on_request() -> None:
    tags = Tags().binding(run_id="r", tenant_id=None, user_id=None)
    plain, message = (tag_header.encode(tags, with_unbound=unbound)[0] for unbound in (False, True))
    assert tag_header.decode(plain).unbound == frozenset()
    assert tag_header.decode(message).unbound == {"tenant_id", "user_id"}
    assert dict(tag_header.decode(message)) == {"run_id": "r"}


def _packed(document: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()


@pytest.mark.parametrize(
    "payload",
    [
        "",
        "!!!!",
        "AAAA",
        _packed([]),
        _packed("acme"),
        _packed({"b": []}),
        _packed({"b": {"tenant_id": None}}),
        _packed({"b": {"tenant_id": {"deep": 1}}}),
        _packed({"b": {"tenant_id": "a\nb"}}),
        _packed({"b": {"tenant_id": "x" * 201}}),
        _packed({"b": {"bad name": 1}}),
        _packed({"b": {"langfuse.release": "1"}}),
        _packed({"b": {f"t{number}": 1 for number in range(33)}}),
        _packed({"b": {"tenant_id": float("inf")}}),
        _packed({"b": {"n": 2**63}}),
        _packed({"b": {}, "more": 1}),
        _packed({"b": {"tenant_id": 7}}),
        _packed({"d": {"tenant_id": "acme"}}),
        _packed({"n": "tenant_id"}),
        _packed({"n": {"tenant_id": None}}),
        _packed({"n": ["langfuse.user.id"]}),
        _packed({"n": [["tenant_id"]]}),
        _packed({"b": {"tenant_id": "acme"}, "n": ["tenant_id"]}),
        base64.urlsafe_b64encode(b'{"b":{"n":1e999}}').rstrip(b"=").decode(),
        base64.urlsafe_b64encode(b"[" * 1200).rstrip(b"=").decode(),
        base64.urlsafe_b64encode(b'{"b":{"t":"\\ud800"}}').rstrip(b"=").decode(),
    ],
)
def test_a_payload_the_encoder_would_not_produce_is_rejected(payload: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        tag_header.decode(payload)


@given(st.text(max_size=300) | st.from_regex(r"1;[A-Za-z0-9_-]{0,40}(;[a-z0-9]*){0,4}", fullmatch=True))
def test_any_header_is_decoded_or_raises_value_error(header: str) -> None:
    try:
        payload, _ = tag_header.split(header)
        tag_header.decode(payload)
    except ValueError:
        pass
    else:
        assert header.startswith("1;")
