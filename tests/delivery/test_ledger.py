"""The counts of tenants: bounded, complete, and by guarded names only."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from somatrace.delivery.ledger import MAX_TENANTS, OTHER_TENANTS, Ledger
from somatrace.delivery.tenant_shares import TenantShare, divided, noted, parsed, spans_of
from tests.support.programs import otlp_env, run_program

TENANTS = st.dictionaries(st.text(max_size=5), st.integers(1, 50), max_size=6)


def test_tenants_above_the_limit_are_counted_together():
    ledger = Ledger()
    for number in range(MAX_TENANTS + 50):
        ledger.keep({f"tenant {number}": 2})
        ledger.deliver({f"tenant {number}": 1}, 0.0)

    found = ledger.tenants()

    assert len(found) == MAX_TENANTS + 1
    assert found[OTHER_TENANTS].delivered == found[OTHER_TENANTS].waiting == 50
    assert sum(one.delivered for one in found.values()) == MAX_TENANTS + 50


@given(tenants=TENANTS, number=st.integers(0, 300))
def test_spans_of_which_it_is_not_known_which_are_those_of_the_largest_tenants(
    tenants: dict[str, int], number: int
) -> None:
    taken, rest = divided(tenants, number)

    assert Counter(taken) + Counter(rest) == Counter(tenants)
    assert sum(taken.values()) == min(number, sum(tenants.values()))
    assert all(tenants[one] >= tenants[other] for one in taken for other in tenants.keys() - taken.keys())


@given(TENANTS)
def test_what_tenants_have_is_read_as_it_was_noted(tenants: dict[str, int]) -> None:
    shares = {tenant: TenantShare(spans, 7 * spans, spans % 3) for tenant, spans in tenants.items()}

    assert parsed(noted(shares)) == shares


@given(st.binary(max_size=40))
def test_a_note_that_cannot_be_read_leaves_spans_of_unknown_tenants(note: bytes) -> None:
    shares = parsed(note) if note[:1] != b"{" else {}

    assert sum(spans_of(shares, 5).values()) == 5


def test_a_span_that_was_dropped_at_once_is_counted_under_the_name_that_its_tenant_is_shown_by():
    done = run_program(
        """
        import time
        from somatrace import *
        def until_known(spans):
            while sum(one.ended for one in status().tenants.values()) < spans:
                time.sleep(0.01)
        init_tracing("svc", config=Config(queue_size=4))
        for _ in range(50):
            with bind(tenant_id="ada@example.com"), span("work"):
                pass
        until_known(50)
        with bind(tenant_id="acme"), span("work"):
            pass
        until_known(51)
        shutdown()
        now = status()
        [(name, found)] = [one for one in now.tenants.items() if one[0] != "acme"]
        assert "ada" not in str(now.tenants), now.tenants
        assert found.lost == dict(now.lost), now
        assert found.ended == 50 == found.delivered + found.left + sum(found.lost.values()), found
        assert now.tenants["acme"].ended == 1
        """,
        otlp_env("http://127.0.0.1:9"),
    )

    assert "Traceback" not in done.stderr, done.stderr
