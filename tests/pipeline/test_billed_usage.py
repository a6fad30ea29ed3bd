"""Usage is counted once: on the innermost span that has it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, cast

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan

from somatrace import bind, span, usage
from somatrace.context.span_state import SpanState, state_of
from somatrace.context.tags import EMPTY
from somatrace.local.otlp import usage as langfuse
from somatrace.pipeline.billed_request import Counted, RecentRequests, Request
from somatrace.pipeline.token_counts import token_counts
from somatrace.testing import Captured, capture

FRAMEWORK = "pydantic-ai"
OPENAI = "opentelemetry.instrumentation.openai.v1"
GOOGLE = "opentelemetry.instrumentation.google_generativeai"
CHAT = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o"}
EMBEDDING = {"gen_ai.operation.name": "embeddings", "gen_ai.request.model": "ada"}


def tokens(count: int, response: str = "") -> dict[str, Any]:
    named = {"gen_ai.response.id": response} if response else {}
    return {"gen_ai.usage.input_tokens": count, "gen_ai.usage.output_tokens": 1, **named}


def start(name: str, scope: str, attributes: Any = CHAT, above: trace.Span | None = None) -> trace.Span:
    context = None if above is None else trace.set_span_in_context(above)
    return trace.get_tracer(scope).start_span(name, context, attributes=attributes)


@contextmanager
def within(name: str, scope: str, attributes: Any = CHAT) -> Iterator[trace.Span]:
    with trace.get_tracer(scope).start_as_current_span(name, attributes=attributes) as opened:
        yield opened


def end(opened: trace.Span, attributes: Any = None) -> None:
    opened.set_attributes(attributes or {})
    opened.end()


def counted(seen: Captured) -> dict[str, int]:
    """By span, the tokens that Langfuse counts."""
    totals = {one.name: langfuse.usage(one.attributes or {}).total for one in seen.spans}
    return {name: total for name, total in totals.items() if total}


class TestASpanAboveTheClientsSpan:
    def test_loses_its_usage(self) -> None:
        with capture() as seen, within("agent", FRAMEWORK, {}) as agent, within("chat", FRAMEWORK) as chat:
            with within("client", OPENAI) as client:
                client.set_attributes(tokens(10))
            chat.set_attributes(tokens(10))
            agent.set_attributes(tokens(10))

        assert counted(seen) == {"client": 11}

    def test_loses_it_under_all_names(self) -> None:
        given = {
            "llm.token_count.prompt": 10,
            "llm.cost.total": 0.5,
            "llm.usage.total_tokens": 10,
            "gen_ai.usage.cost": 0.5,
            "langfuse.observation.usage_details": '{"input": 10}',
            "langfuse.observation.cost_details": '{"total": 0.5}',
        }
        with capture() as seen, within("chat", FRAMEWORK) as chat:
            with within("client", OPENAI) as client:
                client.set_attributes(tokens(10))
            chat.set_attributes(given)

        attributes = dict(seen.named("chat").attributes or {})
        assert langfuse.usage(attributes).total == 0
        assert not langfuse.cost(attributes).total
        assert not [key for key in given if key in attributes and key != "langfuse.observation.usage_details"]

    def test_says_where_the_usage_is(self) -> None:
        with capture() as seen, within("chat", FRAMEWORK) as chat, within("client", OPENAI) as client:
            client.set_attributes(tokens(10))
            chat.set_attributes(tokens(10))

        assert (seen.named("chat").attributes or {})["somatrace.usage_counted"] == "below"
        assert "somatrace.usage_counted" not in (seen.named("client").attributes or {})

    def test_without_usage_gives_langfuse_nothing_to_count_from_its_texts(self) -> None:
        with capture() as seen, within("chat", FRAMEWORK), within("client", OPENAI) as client:
            client.set_attributes(tokens(10))

        details = (seen.named("chat").attributes or {})["langfuse.observation.usage_details"]
        assert json.loads(str(details)) == {"input": 0, "output": 0}

    def test_without_a_model_is_left_alone(self) -> None:
        with capture() as seen, within("step", FRAMEWORK, {}), within("client", OPENAI) as client:
            client.set_attributes(tokens(10))

        assert not [key for key in seen.named("step").attributes or {} if "usage" in key]

    def test_keeps_its_usage_if_the_client_has_none(self) -> None:
        with capture() as seen, within("chat", FRAMEWORK) as chat, within("client", OPENAI) as client:
            client.set_attributes({"gen_ai.usage.input_tokens": 0})
            chat.set_attributes(tokens(10))

        assert counted(seen) == {"chat": 11}

    def test_keeps_its_usage_if_the_client_has_no_span(self) -> None:
        with capture() as seen, within("agent", FRAMEWORK, {}) as agent:
            for name in ("first", "second"):
                with within(name, FRAMEWORK) as chat:
                    chat.set_attributes(tokens(10))
            agent.set_attributes(tokens(20))

        assert counted(seen) == {"first": 11, "second": 11}

    def test_keeps_a_cost_that_the_program_states_alone(self) -> None:
        with capture() as seen, span("chat", kind="llm"):
            with within("client", OPENAI) as client:
                client.set_attributes(tokens(10))
            usage(model="own", cost=0.5)

        assert langfuse.cost(seen.named("chat").attributes or {}).total == 0.5

    def test_counts_an_embedding_as_another_request(self) -> None:
        with capture() as seen, within("chat", FRAMEWORK) as chat:
            with within("embedding", OPENAI, EMBEDDING) as client:
                client.set_attributes(tokens(2))
            chat.set_attributes(tokens(10))

        assert counted(seen) == {"embedding": 3, "chat": 11}


class TestAClientsSpan:
    def test_keeps_its_usage_above_the_request_of_a_tool_that_it_calls(self) -> None:
        with capture() as seen, within("client", GOOGLE) as client:
            with within("tool", OPENAI) as tool:
                tool.set_attributes(tokens(2))
            client.set_attributes(tokens(10))

        assert counted(seen) == {"tool": 3, "client": 11}

    def test_loses_it_to_a_second_instrumentor_of_the_same_client(self) -> None:
        with capture() as seen, within("first", OPENAI) as first:
            with within("second", "openinference.instrumentation.openai", {}) as second:
                second.set_attributes(tokens(10))
            first.set_attributes(tokens(10))

        assert counted(seen) == {"second": 11}

    @pytest.mark.parametrize(("below", "both"), [("r-1", False), ("r-2", True)])
    def test_is_another_request_if_its_response_has_another_id(self, below: str, both: bool) -> None:
        with capture() as seen, within("first", OPENAI) as first:
            with within("second", OPENAI) as second:
                second.set_attributes(tokens(2, below))
            first.set_attributes(tokens(10, "r-1"))

        assert counted(seen) == ({"second": 3, "first": 11} if both else {"second": 3})

    def test_of_a_gateway_loses_its_usage_to_the_client_below(self) -> None:
        with capture() as seen, within("litellm", "opentelemetry.instrumentation.litellm") as gateway:
            with within("client", OPENAI) as client:
                client.set_attributes(tokens(10))
            gateway.set_attributes(tokens(10))

        assert counted(seen) == {"client": 11}


class TestASpanThatEndsAfterTheOneAbove:
    def test_loses_its_usage_to_it(self) -> None:
        with capture() as seen:
            chat = start("chat", FRAMEWORK)
            stream = start("stream", OPENAI, above=chat)
            end(chat, tokens(10))
            end(stream, tokens(10))

        assert counted(seen) == {"chat": 11}
        assert (seen.named("stream").attributes or {})["somatrace.usage_counted"] == "above"

    def test_keeps_it_if_the_one_above_had_none(self) -> None:
        with capture() as seen:
            chat = start("chat", FRAMEWORK)
            stream = start("stream", OPENAI, above=chat)
            end(chat)
            end(stream, tokens(10))

        assert counted(seen) == {"stream": 11}

    def test_keeps_what_the_one_above_cannot_have_counted(self) -> None:
        with capture() as seen:
            agent = start("agent", FRAMEWORK, {})
            streams = [start(name, OPENAI, above=agent) for name in ("first", "second", "third")]
            end(agent, tokens(21))
            for stream in streams:
                end(stream, tokens(10))

        assert counted(seen) == {"agent": 22, "third": 11}

    def test_keeps_it_if_it_started_after_that_end(self) -> None:
        with capture() as seen:
            agent = start("agent", FRAMEWORK, {})
            end(agent, tokens(10))
            background = start("background", OPENAI, above=agent)
            end(background, tokens(10))

        assert counted(seen) == {"agent": 11, "background": 11}

    def test_is_found_from_a_span_higher_up(self) -> None:
        with capture() as seen:
            agent = start("agent", FRAMEWORK, {})
            step = start("step", FRAMEWORK, {}, above=agent)
            stream = start("stream", OPENAI, above=step)
            end(step)
            end(stream, tokens(10))
            end(agent, tokens(10))

        assert counted(seen) == {"stream": 11}


class TestASumOfSeveralRequests:
    """The total of an agent, of which some requests may have no span."""

    AGENT: ClassVar = {"gen_ai.operation.name": "invoke_agent", "gen_ai.request.model": "gpt-4o"}

    def test_is_counted_below_if_all_its_requests_have_spans(self) -> None:
        with capture() as seen, within("agent", FRAMEWORK, self.AGENT) as agent:
            for name in ("first", "second"):
                with within(name, OPENAI) as client:
                    client.set_attributes(tokens(10))
            agent.set_attributes({**tokens(20), "gen_ai.usage.output_tokens": 2})

        assert counted(seen) == {"first": 11, "second": 11}

    def test_keeps_the_tokens_of_requests_without_spans(self) -> None:
        with capture() as seen, within("agent", FRAMEWORK, self.AGENT) as agent:
            with within("client", OPENAI) as client:
                client.set_attributes(tokens(10))
            agent.set_attributes({**tokens(30), "gen_ai.usage.output_tokens": 3})

        assert counted(seen) == {"client": 11, "agent": 22}
        attributes = seen.named("agent").attributes or {}
        assert attributes["somatrace.usage_counted"] == "partly below"
        assert attributes["gen_ai.usage.input_tokens"] == 20

    def test_keeps_the_parts_of_those_tokens(self) -> None:
        parts = {"gen_ai.usage.cache_read.input_tokens": 12, "gen_ai.usage.reasoning_tokens": 2}
        with capture() as seen, within("agent", FRAMEWORK, self.AGENT) as agent:
            with within("client", OPENAI) as client:
                client.set_attributes({**tokens(10), "gen_ai.usage.cache_read.input_tokens": 4})
            agent.set_attributes({**tokens(30), "gen_ai.usage.output_tokens": 4, **parts})

        details = (seen.named("agent").attributes or {})["langfuse.observation.usage_details"]
        assert json.loads(str(details)) == {
            "input": 12,
            "input_cached_tokens": 8,
            "output": 1,
            "output_reasoning_tokens": 2,
        }

    def test_is_not_reduced_by_the_embeddings_of_its_tools_if_it_is_a_models(self) -> None:
        with capture() as seen, within("chat", FRAMEWORK) as chat:
            with within("embedding", OPENAI, EMBEDDING) as client:
                client.set_attributes(tokens(5))
            chat.set_attributes(tokens(30))

        assert counted(seen) == {"embedding": 6, "chat": 31}

    def test_that_counts_the_output_otherwise_is_no_further_request(self) -> None:
        with capture() as seen, within("agent", FRAMEWORK, self.AGENT) as agent:
            with within("client", OPENAI) as client:
                client.set_attributes(tokens(10))
            agent.set_attributes({**tokens(10), "gen_ai.usage.output_tokens": 3})

        assert counted(seen) == {"client": 11}

    def test_contains_the_rest_of_a_sum_below(self) -> None:
        with capture() as seen, within("outer", FRAMEWORK, self.AGENT) as outer:
            with within("inner", FRAMEWORK, self.AGENT) as inner:
                with within("client", OPENAI) as client:
                    client.set_attributes(tokens(10))
                inner.set_attributes({**tokens(30), "gen_ai.usage.output_tokens": 3})
            outer.set_attributes({**tokens(40), "gen_ai.usage.output_tokens": 4})

        assert counted(seen) == {"client": 11, "inner": 22, "outer": 11}


class TestASecondInstrumentorOfTheSameLibrary:
    OPENINFERENCE = "openinference.instrumentation.openai"
    LLM: ClassVar = {"openinference.span.kind": "LLM", "llm.model_name": "gpt-4o-2024-08-06"}

    def spans(self, scopes: tuple[str, str], *, above: trace.Span | None = None, **changed: Any) -> None:
        """Two spans beside each other, as two wrappers of one call make them."""
        first = start("first", scopes[0], above=above)
        second = start("second", scopes[1], self.LLM, above=above)
        end(second, {"llm.token_count.prompt": 10, "llm.token_count.completion": 1, **changed})
        end(first, tokens(10))

    def test_counts_the_request_once(self) -> None:
        with capture() as seen, within("request", "program", {}) as above:
            self.spans((OPENAI, self.OPENINFERENCE), above=above)

        assert counted(seen) == {"second": 11}
        assert (seen.named("first").attributes or {})["somatrace.usage_counted"] == "beside"

    def test_counts_it_once_if_both_spans_are_roots(self) -> None:
        with capture() as seen:
            self.spans((OPENAI, self.OPENINFERENCE))

        assert counted(seen) == {"second": 11}

    @pytest.mark.parametrize(
        "scopes",
        [
            (OPENAI, "logfire.openai"),
            (OPENAI, "langfuse-sdk"),
            (OPENAI, "opentelemetry.util.genai.handler"),
            ("opentelemetry.instrumentation.anthropic", "openinference.instrumentation.anthropic"),
            ("opentelemetry.instrumentation.langchain", "openinference.instrumentation.langchain"),
            ("opentelemetry.instrumentation.langchain", "langfuse-sdk"),
            ("opentelemetry.instrumentation.litellm", "openinference.instrumentation.litellm"),
        ],
    )
    def test_is_known_by_its_scope(self, scopes: tuple[str, str]) -> None:
        with capture() as seen:
            self.spans(scopes)

        assert counted(seen) == {"second": 11}

    def test_reports_each_of_several_requests_at_the_same_time(self) -> None:
        with capture() as seen, within("request", "program", {}) as above:
            opened = [
                (
                    start(f"first-{n}", OPENAI, above=above),
                    start(f"second-{n}", self.OPENINFERENCE, above=above),
                )
                for n in range(3)
            ]
            for first, second in opened:
                end(second, tokens(10))
                end(first, tokens(10))

        assert counted(seen) == {"second-0": 11, "second-1": 11, "second-2": 11}

    def test_is_one_of_three(self) -> None:
        with capture() as seen, within("request", "program", {}) as above:
            opened = [
                start(scope, scope, above=above) for scope in (OPENAI, self.OPENINFERENCE, "logfire.openai")
            ]
            for one in opened:
                end(one, tokens(10))

        assert counted(seen) == {OPENAI: 11}

    def test_takes_nothing_from_a_sum_above_twice(self) -> None:
        with capture() as seen, within("agent", FRAMEWORK, {}) as agent:
            self.spans((OPENAI, self.OPENINFERENCE), above=agent)
            agent.set_attributes({**tokens(20), "gen_ai.usage.output_tokens": 2})

        assert counted(seen) == {"second": 11, "agent": 11}

    @pytest.mark.parametrize(
        "other",
        [
            {"llm.token_count.prompt": 9},
            {"llm.model_name": "o4-mini"},
            {"openinference.span.kind": "EMBEDDING"},
        ],
        ids=["tokens", "model", "operation"],
    )
    def test_has_reported_another_request_if_it_differs(self, other: dict[str, Any]) -> None:
        with capture() as seen:
            self.spans((OPENAI, self.OPENINFERENCE), **other)

        assert len(counted(seen)) == 2

    def test_has_reported_another_request_at_another_time(self) -> None:
        with capture() as seen:
            end(start("first", OPENAI), tokens(10))
            end(start("second", self.OPENINFERENCE), tokens(10))

        assert len(counted(seen)) == 2

    def test_has_reported_another_request_for_another_tenant(self) -> None:
        with capture() as seen:
            with bind(tenant_id="acme"):
                first = start("first", OPENAI)
            with bind(tenant_id="globex"):
                second = start("second", self.OPENINFERENCE)
            end(first, tokens(10))
            end(second, tokens(10))

        assert len(counted(seen)) == 2

    def test_is_not_the_spans_of_one_instrumentor(self) -> None:
        with capture() as seen:
            opened = [start(name, f"{OPENAI}.{name}") for name in ("first", "second")]
            for one in opened:
                end(one, tokens(10))

        assert len(counted(seen)) == 2

    def test_of_a_framework_reports_the_request_of_the_client_below_it(self) -> None:
        with capture() as seen, within("request", "program", {}) as above:
            self.spans(("openinference.instrumentation.langchain", OPENAI), above=above)

        assert counted(seen) == {"second": 11}

    def test_of_a_framework_reports_the_request_of_a_client_without_a_span_around_it(self) -> None:
        with capture() as seen:
            self.spans(("openinference.instrumentation.langchain", OPENAI))

        assert counted(seen) == {"second": 11}

    def test_of_a_framework_reports_another_request_than_a_client_elsewhere(self) -> None:
        with capture() as seen, within("job", "program", {}) as job:
            chat = start("chat", "openinference.instrumentation.langchain", above=trace.INVALID_SPAN)
            end(start("client", OPENAI, above=job), tokens(10))
            end(chat, tokens(10))

        assert len(counted(seen)) == 2

    def test_is_not_another_librarys(self) -> None:
        with capture() as seen:
            opened = [start("first", OPENAI), start("second", "opentelemetry.instrumentation.litellm")]
            for one in opened:
                end(one, tokens(10))

        assert len(counted(seen)) == 2


class TestSpansOfOneRequestInTracesOfTheirOwn:
    """A framework's span that was never current, or a client that runs in a thread without the context."""

    LANGCHAIN = "opentelemetry.instrumentation.langchain"

    def spans(self, ids: tuple[str, str], *, tenants: tuple[str, str] = ("acme", "acme")) -> None:
        """A framework's span and, within its time, a client's, each below a span of another trace."""
        with bind(tenant_id=tenants[0]):
            job = start("job", "program", {}, above=trace.INVALID_SPAN)
            chat = start("chat", self.LANGCHAIN, above=job)
        with bind(tenant_id=tenants[1]):
            thread = start("thread", "program", {}, above=trace.INVALID_SPAN)
            client = start("client", OPENAI, above=thread)
        end(client, tokens(10, ids[1]))
        end(chat, tokens(10, ids[0]))
        end(thread)
        end(job)

    def test_are_known_by_the_id_of_the_response(self) -> None:
        with capture() as seen:
            self.spans(("r-1", "r-1"))

        assert counted(seen) == {"client": 11}
        assert (seen.named("chat").attributes or {})["somatrace.usage_counted"] == "beside"

    @pytest.mark.parametrize("ids", [("r-1", "r-2"), ("", "r-1"), ("", "")])
    def test_are_of_two_requests_without_the_same_id(self, ids: tuple[str, str]) -> None:
        with capture() as seen:
            self.spans(ids)

        assert counted(seen) == {"client": 11, "chat": 11}

    def test_are_counted_for_each_tenant(self) -> None:
        with capture() as seen:
            self.spans(("r-1", "r-1"), tenants=("acme", "globex"))

        assert counted(seen) == {"client": 11, "chat": 11}

    def test_are_known_by_the_id_if_the_clients_ends_last(self) -> None:
        with capture() as seen:
            chat = start("chat", self.LANGCHAIN, above=trace.INVALID_SPAN)
            stream = start("stream", OPENAI, above=trace.INVALID_SPAN)
            end(chat, tokens(10, "r-1"))
            end(stream, tokens(10, "r-1"))

        assert counted(seen) == {"chat": 11}

    def test_are_of_two_requests_at_the_same_time_if_the_clients_ends_last_without_an_id(self) -> None:
        with capture() as seen:
            chat = start("chat", self.LANGCHAIN, above=trace.INVALID_SPAN)
            stream = start("stream", OPENAI, above=trace.INVALID_SPAN)
            end(chat, tokens(10))
            end(stream, tokens(10))

        assert counted(seen) == {"chat": 11, "stream": 11}

    def test_count_each_of_several_requests_at_the_same_time(self) -> None:
        with capture() as seen:
            chats = [start(f"chat-{n}", self.LANGCHAIN, above=trace.INVALID_SPAN) for n in range(3)]
            for n, chat in enumerate(chats):
                end(start(f"client-{n}", OPENAI, above=trace.INVALID_SPAN), tokens(10))
                end(chat, tokens(10))

        assert counted(seen) == {"client-0": 11, "client-1": 11, "client-2": 11}

    def test_of_a_trace_that_came_from_another_process_are_one_request(self) -> None:
        remote = trace.NonRecordingSpan(
            trace.SpanContext(7, 7, is_remote=True, trace_flags=trace.TraceFlags(1))
        )
        with capture() as seen:
            chat = start("chat", "openinference.instrumentation.langchain", above=remote)
            end(start("client", OPENAI, above=remote), tokens(10))
            end(chat, tokens(10))

        assert counted(seen) == {"client": 11}

    def test_reduce_the_sum_above_the_frameworks_span(self) -> None:
        with capture() as seen:
            agent = start("agent", self.LANGCHAIN, {}, above=trace.INVALID_SPAN)
            chat = start("chat", self.LANGCHAIN, above=agent)
            end(start("client", OPENAI, above=trace.INVALID_SPAN), tokens(10, "r-1"))
            end(chat, tokens(10, "r-1"))
            end(agent, tokens(10))

        assert counted(seen) == {"client": 11}


class TestAnAgentsSpan:
    """Langfuse ignores the usage of spans whose operation is `invoke_agent`."""

    def test_with_usage_is_an_agent_by_its_type_only(self) -> None:
        with capture() as seen, span("planner", kind="agent"):
            usage(model="own", input_tokens=10, output_tokens=1)

        attributes = seen.named("planner").attributes or {}
        assert "gen_ai.operation.name" not in attributes
        assert attributes["langfuse.observation.type"] == "agent"

    def test_with_a_cost_alone_is_an_agent_by_its_type_only(self) -> None:
        with capture() as seen, span("planner", kind="agent"):
            usage(model="own", cost=0.5)

        assert "gen_ai.operation.name" not in (seen.named("planner").attributes or {})

    def test_of_a_framework_with_usage_is_an_agent_by_its_type_only(self) -> None:
        with capture() as seen:
            end(start("agent", FRAMEWORK, {"gen_ai.operation.name": "invoke_agent"}), tokens(10))

        attributes = seen.named("agent").attributes or {}
        assert "gen_ai.operation.name" not in attributes
        assert attributes["langfuse.observation.type"] == "agent"

    def test_without_usage_keeps_its_operation(self) -> None:
        with capture() as seen, span("planner", kind="agent"):
            pass

        assert (seen.named("planner").attributes or {})["gen_ai.operation.name"] == "invoke_agent"

    def test_whose_usage_is_counted_below_keeps_its_operation(self) -> None:
        with capture() as seen, span("planner", kind="agent"):
            with within("client", OPENAI) as client:
                client.set_attributes(tokens(10))
            usage(model="own", input_tokens=10, output_tokens=1)

        assert (seen.named("planner").attributes or {})["gen_ai.operation.name"] == "invoke_agent"


class TestMemory:
    def test_many_requests_keep_a_bounded_number_of_them(self) -> None:
        recent = RecentRequests()
        for number in range(2000):
            opened = start("client", OPENAI)
            end(opened, tokens(number))
            counts = token_counts(tokens(number))
            recent.add(Counted(cast(ReadableSpan, opened), {}, Request(), counts, SpanState(EMPTY, None)))

        assert len(recent) <= 512

    def test_work_handed_on_from_span_to_span_keeps_a_bounded_number_of_states(self) -> None:
        with capture():
            states = []
            current = start("first", FRAMEWORK, {})
            for _ in range(1000):
                following = start("next", FRAMEWORK, {}, above=current)
                states.append(state_of(current))
                current.end()
                current = following

            depth, above = 0, state_of(current)
            while above is not None:
                depth, above = depth + 1, above.above
            current.end()

        assert depth < 200

    def test_a_long_lived_span_keeps_a_bounded_number_of_requests(self) -> None:
        with capture(timeout=60):
            loop = start("loop", FRAMEWORK, {})
            for number in range(500):
                end(start("client", OPENAI, above=loop), tokens(1, f"r-{number}"))
            state = state_of(loop)
            end(loop)

        assert state is not None
        assert len(state.billing.below) < 50
