"""Recordings hold placeholders, and a replay plants the canaries of its own tenants in their place."""

from __future__ import annotations

import copy
from typing import Any

from tests.leak_matrix.canary import Canary, Planted, found
from tests.leak_matrix.placeholders import Blanks, planted
from tests.leak_matrix.recordings import shape

SPAN: dict[str, Any] = {
    "scope": ["library", "1", {}],
    "kind": "CLIENT",
    "name": "chat gpt-4o",
    "parent": None,
    "attributes": {"id": "8e977442-5bf0-4f61-80c2-eed042d677ab", "prompt.0": "hello"},
}


def blank(text: str, canaries: dict[str, Canary], longest: int = 1000) -> Any:
    return Blanks(canaries, "http://127.0.0.1:4711").fill(text, longest)


def test_a_replay_has_its_own_canaries_in_the_recorded_places() -> None:
    recorded: dict[str, Canary] = {}
    replayed: dict[str, Canary] = {}
    text = f"asked: {Planted('recording', 'chat', recorded)('prompt')}"

    again = planted(blank(text, recorded), Planted("closed", "chat", replayed))

    assert {canary.tenant for canary in replayed.values()} == {"closed"}
    assert found(again.encode()) == set(replayed)
    assert len(replayed) == 4


def test_addresses_of_a_run_are_not_recorded() -> None:
    filled = Blanks({}, "http://127.0.0.1:4711").fill({"url": "http://127.0.0.1:4711/v1", "port": 4711}, 1000)

    assert filled == {"url": "http://127.0.0.1:8000/v1", "port": 8000}


def test_a_cut_leaves_no_half_of_a_placeholder_or_an_address() -> None:
    canaries: dict[str, Canary] = {}
    text = Planted("recording", "chat", canaries)("prompt")
    whole = blank(text, canaries)

    for longest in range(len(whole)):
        cut = blank(text, canaries, longest)
        assert whole.startswith(cut)
        assert cut.count("⟦") == cut.count("⟧")
        assert not cut.endswith("@example")


def recording(span: dict[str, Any]) -> dict[str, Any]:
    return {"cases": [{"name": "chat", "spans": [span], "requests": []}]}


def test_ids_do_not_make_two_runs_different() -> None:
    other = copy.deepcopy(SPAN)
    other["attributes"]["id"] = "9e6948d1-b7a2-4fc0-b7a9-eac6252334b1"

    assert shape(recording(other)) == shape(recording(SPAN))


def test_a_new_key_and_a_new_scope_make_two_runs_different() -> None:
    key, scope = copy.deepcopy(SPAN), copy.deepcopy(SPAN)
    key["attributes"]["customer"] = "ada"
    scope["scope"][0] = "library.v2"

    assert shape(recording(key)) != shape(recording(SPAN))
    assert shape(recording(scope)) != shape(recording(SPAN))
