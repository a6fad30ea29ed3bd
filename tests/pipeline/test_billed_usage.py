"""Usage is counted once: on the innermost span that has it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from opentelemetry import trace

from somatrace import span, usage
from somatrace.context.span_state import state_of
from somatrace.local.otlp import usage as langfuse
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


class TestMemory:
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
