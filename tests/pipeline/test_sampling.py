"""Rules by tenant and workflow decide at a span's end what is sent; what is counted does not depend on it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased

from somatrace import semconv
from somatrace.context.span_state import SpanState
from somatrace.context.tags import EMPTY, Tags
from somatrace.pipeline.sampling import rule_sampler_of
from tests.support.otlp_server import otlp_server
from tests.support.programs import otlp_env, run_program

PROGRAM = """
from somatrace import *
init_tracing("svc")
def work(tenant, name="chat", failing=False):
    with bind(tenant_id=tenant), span(name, kind="workflow"), span(f"step of {tenant}"):
        if failing:
            fail("code")
"""


def sent_by(program: str, rules: str, **more: str) -> list[tuple[str | None, str]]:
    """The tenants and names of the spans that arrive."""
    with otlp_server() as server:
        run_program(PROGRAM + program + "\nassert flush(60), status()", rules_env(server.url, rules, **more))
        return sorted((str(found.attributes.get(semconv.TENANT)), found.name) for found in server.spans)


def rules_env(url: str, rules: str, **more: str) -> dict[str, str]:
    return otlp_env(url, SOMATRACE_SAMPLE_RULES=rules, **more)


def test_a_tenant_at_rate_zero_sends_only_what_failed_and_one_that_is_off_nothing() -> None:
    sent = sent_by(
        """
        for tenant in ("paying", "free", "opposed"):
            work(tenant)
            work(tenant, failing=True)
        """.replace("\n        ", "\n"),
        "tenant=free:0, tenant=opposed:off",
    )

    assert sent == [
        ("free", "step of free"),
        *[("paying", "chat")] * 2,
        *[("paying", "step of paying")] * 2,
    ]


def test_the_first_matching_rule_is_in_force_and_may_name_a_tenant_a_workflow_or_both() -> None:
    sent = sent_by(
        """
        work("acme", "GET /health")
        work("acme", "nightly run")
        work("free-1", "nightly run")
        work("free-1", "chat")
        """.replace("\n        ", "\n"),
        "tenant=acme:1, workflow=GET /health:off, tenant=free-* workflow=nightly*:off",
    )

    assert [name for tenant, name in sent if tenant == "acme"] == ["GET /health", "nightly run"] + [
        "step of acme"
    ] * 2
    assert [name for tenant, name in sent if tenant == "free-1"] == ["chat", "step of free-1"]


def test_a_root_without_a_tenant_goes_with_the_only_tenant_below_it() -> None:
    sent = sent_by(
        """
        for tenant in ("free", "paying"):
            with span(f"request of {tenant}"):
                work(tenant)
        """.replace("\n        ", "\n"),
        "tenant=free:0",
    )

    assert {tenant for tenant, _ in sent} == {"paying"}
    assert "request of paying" in {name for _, name in sent}


def test_a_request_is_of_the_workflow_that_names_its_trace() -> None:
    sent = sent_by(
        """
        with span("POST /ask"), span("ask", kind="workflow"):
            pass
        with span("POST /health"), span("inner"):
            pass
        """.replace("\n        ", "\n"),
        "workflow=ask:off, workflow=POST /health:off",
    )

    assert sent == []


def test_listeners_receive_what_rules_and_rates_leave_out_of_the_usage_of_model_calls() -> None:
    with otlp_server() as server:
        done = run_program(
            """
            from opentelemetry import trace
            from somatrace import *
            heard = []
            def listener(record):
                if record.phase == "ended":
                    heard.append((record.name, record.attributes.get("gen_ai.usage.input_tokens")))
            init_tracing("svc", listeners=[listener])
            with bind(tenant_id="free"), span("ruled out", kind="llm"):
                usage(input_tokens=3)
            clients = trace.get_tracer("opentelemetry.instrumentation.openai.v1")
            with span("a step"), clients.start_as_current_span("openai.chat") as call:
                call.set_attribute("gen_ai.usage.input_tokens", 5)
                with trace.get_tracer("app").start_as_current_span("below"):
                    pass
            assert flush(60), status()
            print(sorted(heard), status().lost)
            """,
            otlp_env(server.url, SOMATRACE_SAMPLE_RATE="0", SOMATRACE_SAMPLE_RULES="tenant=free:off"),
        )

    assert done.stdout == "[('openai.chat', 5), ('ruled out', 3)] {'not_sampled': 2}\n"
    assert server.spans == []


def test_a_span_that_is_not_sampled_keeps_its_operation() -> None:
    done = run_program(
        """
        from opentelemetry import trace
        from somatrace import *
        init_tracing("svc", config=Config(target="none", sample_rate=0.0))
        call = trace.get_tracer("app").start_span("call", attributes={"gen_ai.operation.name": "chat", "a": 1})
        print(call.is_recording(), dict(call.attributes))
        """
    )

    assert done.stdout == "False {'gen_ai.operation.name': 'chat'}\n"


def test_without_listeners_spans_that_are_not_sampled_cost_nothing() -> None:
    with otlp_server() as server:
        done = run_program(
            """
            from somatrace import *
            init_tracing("svc")
            with span("call", kind="llm") as call:
                print(call.is_recording())
            """,
            otlp_env(server.url, SOMATRACE_SAMPLE_RATE="0"),
        )

    assert done.stdout == "False\n"


def state_of_tenant(tenant: str | None) -> SpanState:
    return SpanState(EMPTY if tenant is None else Tags({semconv.TENANT: tenant}), None)


@given(st.integers(0, 2**128 - 1), st.floats(0, 1))
def test_a_rule_keeps_the_traces_that_a_ratio_sampler_keeps(trace_id: int, rate: float) -> None:
    rules = rule_sampler_of((f"tenant=*:{rate!r}",), "unknown")
    assert rules is not None

    kept = rules.keeps(trace_id, state_of_tenant("acme"), failed=False)

    result = TraceIdRatioBased(rate).should_sample(None, trace_id, "")
    assert kept is (result.decision is Decision.RECORD_AND_SAMPLE)


def test_work_without_a_tenant_is_of_the_default_tenant() -> None:
    rules = rule_sampler_of(("tenant=house:0",), "house")
    assert rules is not None

    assert not rules.keeps(1, state_of_tenant(None), failed=False)
    assert rules.keeps(1, state_of_tenant("acme"), failed=False)


def test_many_tenants_take_no_more_memory_than_a_few_thousand() -> None:
    rules = rule_sampler_of(("tenant=*5:0",), "unknown")
    assert rules is not None

    kept = [rules.keeps(1, state_of_tenant(f"tenant-{number}"), failed=False) for number in range(10_000)]

    assert kept.count(False) == 1000
    assert len(rules._bounds) <= 4096
