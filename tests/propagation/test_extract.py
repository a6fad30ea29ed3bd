"""`incoming` and `outgoing`: trusted callers, joined traces, and ignored headers."""

from __future__ import annotations

import asyncio
import time
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry import baggage, trace
from opentelemetry import context as otel_context

from somatrace import bind, bound, incoming, outgoing, propagation, span
from somatrace.context.tags import Tags
from somatrace.propagation import signing, tag_header
from somatrace.testing import capture
from tests.propagation.conftest import KEY_A, KEY_B
from tests.support.logs import own_records

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
UNSAMPLED = TRACE[:-1] + "0"


def header_of(**tags: str) -> str:
    return tag_header.join(tag_header.encode(Tags(tags))[0], None)


def signed(traceparent: str, *, key: str = KEY_A, now: float | None = None, **tags: str) -> dict[str, str]:
    payload = tag_header.encode(Tags(tags))[0]
    signature = signing.sign(signing.keys(key)[0], payload, traceparent, time.time() if now is None else now)
    return {"traceparent": traceparent, "x-somatrace-tags": tag_header.join(payload, signature)}


def counted(reason: str) -> int:
    return sum(number for what, number in propagation.ignored().items() if reason in what)


def parent() -> trace.SpanContext:
    return trace.get_current_span().get_span_context()


def test_by_default_no_callers_tags_are_trusted_not_even_from_localhost(rules) -> None:
    before = counted("not trusted")
    with incoming({"x-somatrace-tags": header_of(tenant_id="evil")}, peer="127.0.0.1") as caller:
        assert "tenant_id" not in bound()
        assert caller.trusted == ""
    assert counted("not trusted") == before + 1


@pytest.mark.parametrize("network", ["10.0.0.0/8", "::ffff:10.0.0.0/104", "::ffff:10.1.2.3", "::ffff:0:0/96"])
@pytest.mark.parametrize("peer", ["10.1.2.3", ("10.1.2.3", 4711), ["10.1.2.3", 1], "::ffff:10.1.2.3"])
def test_a_caller_in_a_trusted_network_is_trusted_within_the_block(rules, peer, network) -> None:
    rules(trust=(network,))
    headers = {
        "X-Somatrace-Tags": header_of(tenant_id="acme"),
        "X-Correlation-ID": "c-1",
        "x-request-id": "r-1",
    }
    with incoming(headers, peer=peer) as caller:
        assert bound() == {"tenant_id": "acme", "correlation_id": "c-1", "request_id": "r-1"}
        assert caller.trusted == "peer"
    assert bound() == {}


@pytest.mark.parametrize(
    "peer", [None, "", "unix:/run/x", ("11.0.0.1", 1), "2001:db8::1", 7, ("",), b"10.0.0.1"]
)
@pytest.mark.parametrize("network", ["10.0.0.0/8", "::ffff:10.0.0.0/104"])
def test_a_caller_outside_the_networks_is_not_trusted(rules, peer, network) -> None:
    rules(trust=(network,))
    with incoming({"x-somatrace-tags": header_of(tenant_id="evil")}, peer=peer):
        assert "tenant_id" not in bound()


@pytest.mark.parametrize(
    "header",
    [
        "X-Forwarded-For",
        "x-forwarded-proto",
        "Forwarded",
        "X-Real-IP",
        "Via",
        "True-Client-IP",
        "CDN-Loop",
        "X-Azure-ClientIP",
    ],
)
def test_with_a_forwarding_header_only_a_signature_is_trusted(rules, header: str) -> None:
    rules(trust=("10.0.0.0/8",), trust_keys=KEY_A)
    with incoming({"x-somatrace-tags": header_of(tenant_id="evil"), header: "10.0.0.1"}, peer="10.0.0.1"):
        assert "tenant_id" not in bound()
    with incoming({**signed(TRACE, tenant_id="acme"), header: "8.8.8.8"}, peer="10.0.0.1") as caller:
        assert bound()["tenant_id"] == "acme"
        assert caller.trusted == "signature"


def test_networks_can_be_passed_in_the_call(rules) -> None:
    with incoming(
        {"x-somatrace-tags": header_of(tenant_id="acme")}, peer="192.0.2.1", trust=["192.0.2.0/24"]
    ):
        assert bound()["tenant_id"] == "acme"
    with incoming({"x-somatrace-tags": header_of(tenant_id="acme")}, peer="192.0.2.1", trust="192.0.2.1"):
        assert bound()["tenant_id"] == "acme"
    with incoming({"x-somatrace-tags": header_of(tenant_id="x")}, peer="192.0.2.1", trust=["no network"]):
        assert "tenant_id" not in bound()


def test_signatures_of_outgoing_are_accepted_by_incoming_even_after_key_rotation(rules) -> None:
    rules(trust_keys=KEY_A)
    with capture(), bind(tenant_id="acme", job_id="j"), span("work", kind="workflow"):
        headers = outgoing()
        here = parent()
    rules(trust_keys=f"{KEY_B},{KEY_A}")
    with incoming(headers):
        assert bound()["tenant_id"] == "acme"
        assert bound()["job_id"] == "j"
        assert bound()["workflow_name"] == "work"
        assert parent().trace_id == here.trace_id
        assert parent().span_id == here.span_id
    rules(trust_keys=KEY_B)
    with incoming(headers):
        assert "tenant_id" not in bound()


def test_an_expired_replayed_or_altered_signature_is_ignored_and_counted(rules) -> None:
    rules(trust_keys=KEY_A)
    good = signed(TRACE, tenant_id="acme")
    other_trace = TRACE.replace("4bf9", "aaaa")
    altered = {**good, "x-somatrace-tags": good["x-somatrace-tags"].replace("1;", "1;AA", 1)}
    for reason, headers in (
        ("expired", signed(TRACE, now=time.time() - 301, tenant_id="acme")),
        ("wrong", {**good, "traceparent": other_trace}),
        ("without a trace", {"x-somatrace-tags": good["x-somatrace-tags"]}),
        ("wrong", altered),
        ("unknown key", signed(TRACE, key=KEY_B, tenant_id="acme")),
    ):
        before = counted(reason)
        with incoming(headers):
            assert "tenant_id" not in bound()
        assert counted(reason) == before + 1


def test_a_signature_covers_only_the_tags(rules) -> None:
    rules(trust_keys=KEY_A)
    headers = {**signed(TRACE, tenant_id="acme"), "x-correlation-id": "planted", "baggage": "k=v"}
    with incoming(headers) as caller:
        assert bound()["correlation_id"] != "planted"
        assert caller.attributes == {"client.correlation_id": "planted"}
        assert baggage.get_all() == {}


def test_an_untrusted_correlation_id_is_kept_separately_and_a_new_one_generated(rules) -> None:
    with incoming({"x-correlation-id": "client-77", "x-request-id": "r"}) as caller:
        minted = bound()["correlation_id"]
        assert minted == caller.correlation_id != "client-77"
        assert "request_id" not in bound()
        assert caller.attributes == {"client.correlation_id": "client-77"}
    with incoming({}):
        assert bound()["correlation_id"] not in ("", minted)


@pytest.mark.parametrize("value", ["a b", "x" * 65, "é", "a\r\nSet-Cookie: x", "", "<script>"])
def test_a_correlation_id_with_other_characters_is_dropped(rules, value: str) -> None:
    with incoming({"x-correlation-id": value}) as caller:
        assert caller.attributes == {}


def test_an_untrusted_trace_is_joined_but_its_sampling_flag_is_ignored(rules) -> None:
    with incoming({"traceparent": UNSAMPLED}):
        assert parent().is_remote
        assert parent().trace_flags.sampled
    rules(sampler="parentbased_traceidratio", sample_rate=0.0)
    with incoming({"traceparent": TRACE}):
        assert not parent().trace_flags.sampled


def test_a_trusted_callers_sampling_decision_is_followed(rules) -> None:
    rules(trust=("10.0.0.0/8",))
    with incoming({"traceparent": UNSAMPLED}, peer="10.0.0.1"):
        assert not parent().trace_flags.sampled


def test_spans_of_an_untrusted_unsampled_request_are_recorded(rules) -> None:
    with capture() as seen, incoming({"traceparent": UNSAMPLED}), span("served"):
        pass
    assert format(seen.named("served").context.trace_id, "032x") == TRACE[3:35]


def test_at_the_edge_a_new_trace_starts_and_the_claimed_one_is_returned_for_a_link(rules) -> None:
    rules(edge=True, trust=("0.0.0.0/0",), trust_keys=KEY_A)
    headers = {**signed(TRACE, tenant_id="acme"), "x-correlation-id": "c", "baggage": "a=b"}
    with capture() as seen, incoming(headers, peer="10.0.0.1") as caller, span("served"):
        assert "tenant_id" not in bound()
        assert bound()["correlation_id"] != "c"
        assert baggage.get_all() == {}
        assert caller.trusted == ""
        assert format(caller.claimed.trace_id, "032x") == TRACE[3:35]
    served = seen.named("served")
    assert served.parent is None
    assert format(served.context.trace_id, "032x") != TRACE[3:35]


def test_baggage_is_joined_only_from_a_trusted_address(rules) -> None:
    rules(trust=("10.0.0.0/8",))
    with incoming({"baggage": "plan=gold"}, peer="10.0.0.1"):
        assert baggage.get_all() == {"plan": "gold"}
    with incoming({"baggage": "plan=gold"}, peer="11.0.0.1"):
        assert baggage.get_all() == {}


def test_repeated_overlong_and_malformed_headers_are_ignored_and_counted(rules) -> None:
    rules(trust=("10.0.0.0/8",))
    for reason, headers in (
        ("x-somatrace-tags: more than once", [("x-somatrace-tags", header_of(tenant_id="a"))] * 2),
        ("x-somatrace-tags: too long", {"x-somatrace-tags": "1;" + "A" * 5000}),
        ("x-somatrace-tags: malformed", {"x-somatrace-tags": "1;@@@@"}),
        ("x-somatrace-tags: malformed", {"x-somatrace-tags": header_of(tenant_id="a") + ", 1;AAAA"}),
        ("traceparent: more than once", [(b"traceparent", TRACE.encode()), (b"Traceparent", TRACE.encode())]),
        ("traceparent: malformed", {"traceparent": "00-zz-zz-01"}),
        ("traceparent: too long", {"traceparent": TRACE + "-" + "a" * 300}),
    ):
        before = counted(reason)
        with incoming(headers, peer="10.0.0.1"):
            assert "tenant_id" not in bound()
            assert not parent().is_valid
        assert counted(reason) > before, reason


@pytest.mark.parametrize(
    "headers", [None, 7, "text", b"bytes", [1, 2], [("a",)], {"x": None}, {1: 2}, {"baggage": object()}]
)
def test_no_headers_argument_raises(rules, headers) -> None:
    with incoming(headers, peer=object()):
        assert set(bound()) == {"correlation_id"}


ADDRESSES = st.ip_addresses().map(str)
HOSTILE = st.text(max_size=80) | st.sampled_from(
    [
        TRACE,
        UNSAMPLED,
        header_of(tenant_id="evil"),
        header_of(agent_id="evil", correlation_id="evil"),
        "tenant_id=evil",
    ]
)
HEADER_NAMES = st.sampled_from(
    ["traceparent", "tracestate", "baggage", "x-somatrace-tags", "X-Correlation-Id", "x-request-id",
     "X-Forwarded-For", "Forwarded", "tenant_id", "x-tenant-id"]
)  # fmt: skip


@given(
    st.lists(
        st.tuples(st.lists(st.tuples(HEADER_NAMES, HOSTILE), max_size=8), ADDRESSES), min_size=1, max_size=4
    ),
    st.booleans(),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_sequence_of_untrusted_requests_changes_a_tag(rules, requests, edge: bool) -> None:
    rules(trust=("203.0.113.0/24",), trust_keys=KEY_A, edge=edge)
    with capture() as seen:
        for headers, peer in requests:
            if ip_address(peer) in ip_network("203.0.113.0/24"):
                continue
            with (
                incoming(headers, peer=peer),
                span("served", kind="workflow"),
                bind(tenant_id="acme"),
                span("inner"),
            ):
                pass
        with span("afterwards"):
            pass
    allowed = {
        "tenant_id": {"acme", "unknown"},
        "workflow_name": {"served", "afterwards"},
        "agent_id": {"test"},
    }
    for found in seen.spans:
        for name, values in allowed.items():
            assert found.attributes[name] in values
        assert "evil" not in str(found.attributes)
        assert not {"request_id", "user_id", "session.id", "user.id"} & set(found.attributes)
    assert "correlation_id" not in seen.named("afterwards").attributes


def test_a_tracestate_with_too_many_members_is_counted_and_logs_nothing(rules, caplog) -> None:
    members = [f"k{number}=v" for number in range(33)]
    for count in (32, 33):
        with incoming({"traceparent": TRACE, "tracestate": ",".join(members[:count])}):
            state = trace.get_current_span().get_span_context().trace_state
            assert len(state) == (32 if count == 32 else 0)
    assert propagation.ignored()["tracestate: too long"] == 1
    assert own_records(caplog) == []


def test_a_decorated_generator_has_the_callers_tags_in_each_step(rules) -> None:
    rules(trust=("10.0.0.0/8",))

    @incoming({"x-somatrace-tags": header_of(tenant_id="acme")}, peer="10.0.0.1")
    def served():
        yield bound().get("tenant_id")
        yield bound().get("tenant_id")

    steps = served()
    assert next(steps) == "acme"
    assert bound() == {}
    assert next(steps) == "acme"
    assert otel_context.get_current() == {}


async def _as_async(headers: dict[str, str]) -> object:
    async with incoming(headers, peer="10.0.0.1"):
        return bound().get("tenant_id")


def test_incoming_works_as_an_async_block(rules) -> None:
    rules(trust=("10.0.0.0/8",))
    assert asyncio.run(_as_async({"x-somatrace-tags": header_of(tenant_id="acme")})) == "acme"


def test_outgoing_is_empty_without_tags_and_never_contains_a_line_break(rules) -> None:
    assert outgoing() == {}
    with bind(tenant_id="a", correlation_id="b"):
        headers = outgoing()
    assert set(headers) == {"x-somatrace-tags", "x-correlation-id"}
    with bind(tenant_id="grün", correlation_id="grün"):
        assert "x-correlation-id" not in outgoing()
        assert outgoing()["x-somatrace-tags"].isascii()


def test_propagators_none_omits_the_trace_context(rules) -> None:
    rules(propagators=(), trust_keys=KEY_A)
    with capture(), bind(tenant_id="acme"), span("work"):
        assert set(outgoing()) == {"x-somatrace-tags"}
    with incoming({"traceparent": TRACE}):
        assert not parent().is_valid


@pytest.mark.parametrize("propagators", [(), ("baggage",)], ids=["none", "baggage"])
def test_a_signature_is_not_trusted_where_no_trace_is_joined(rules, propagators) -> None:
    """A copy of the headers would be trusted in any new trace."""
    rules(trust_keys=KEY_A, propagators=propagators)
    before = counted("not joined")

    with incoming(signed(TRACE, tenant_id="acme")) as caller:
        assert "tenant_id" not in bound()

    assert caller.trusted == ""
    assert counted("not joined") == before + 1


def test_a_signature_is_not_trusted_if_another_instrumentation_has_joined_another_trace(rules) -> None:
    rules(trust_keys=KEY_A)
    headers = signed(TRACE, tenant_id="acme")

    with capture(), span("a server span in a trace of its own"):
        scope = propagation.ExtractedScope(headers, None, join=False)

    assert scope.caller.trusted == ""


def test_a_signature_for_one_trace_is_not_trusted_for_another_that_was_extracted(rules) -> None:
    """As with a propagator of another format, whose header is not signed."""
    rules(trust_keys=KEY_A, sampler="parentbased_traceidratio", sample_rate=1.0)
    other = trace.SpanContext(7, 8, is_remote=True, trace_flags=trace.TraceFlags(0))
    extracted = trace.set_span_in_context(trace.NonRecordingSpan(other), otel_context.Context())

    joined = propagation.accepted(extracted, otel_context.Context(), signed(TRACE, tenant_id="acme"), None)

    assert trace.get_current_span(joined).get_span_context().trace_flags.sampled


def joined_with(trace_id: int, **headers: str) -> trace.SpanContext:
    with incoming({"traceparent": f"00-{trace_id:032x}-00f067aa0ba902b7-01", **headers}, peer="192.0.2.1"):
        return parent()


@pytest.mark.parametrize(
    "trusted", [{"trust_keys": KEY_A}, {"trust": ("10.0.0.0/8",)}], ids=["keys", "address"]
)
def test_an_outsiders_choice_of_the_trace_id_does_not_decide_what_is_recorded(rules, trusted) -> None:
    rules(sampler="parentbased_traceidratio", sample_rate=0.5, **trusted)
    always = [joined_with((number << 64) + number).trace_flags.sampled for number in range(1, 201)]
    never = [joined_with(((number + 1) << 64) - number).trace_flags.sampled for number in range(1, 201)]

    for decisions in (always, never):
        assert 40 < sum(decisions) < 160
    again = [joined_with((number << 64) + number).trace_flags.sampled for number in range(1, 201)]
    assert again == always


def test_where_nobody_is_trusted_services_agree_on_what_is_recorded(rules) -> None:
    rules(sampler="parentbased_traceidratio", sample_rate=0.5)

    assert joined_with(1).trace_flags.sampled
    assert not joined_with((1 << 64) - 1).trace_flags.sampled


def test_an_untrusted_callers_sampling_threshold_is_not_passed_on(rules) -> None:
    rules()

    joined = joined_with(7, tracestate="ot=th:0;rv:ffffffffffffff,vendor=1")

    assert dict(joined.trace_state) == {"vendor": "1"}


def test_a_trusted_callers_sampling_threshold_is_passed_on(rules) -> None:
    rules(trust=("192.0.2.0/24",))

    assert dict(joined_with(7, tracestate="ot=th:8").trace_state) == {"ot": "th:8"}
