"""The program's own spans: somatrace's API, and everything OpenTelemetry's API accepts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, TraceFlags, TraceState
from opentelemetry.trace.status import Status, StatusCode

from somatrace import bind, content, event, fail, span, usage
from tests.leak_matrix.canary import Planted
from tests.leak_matrix.harness import case, failing


@dataclass
class Note:
    text: str


def tracer(**attributes: Any) -> trace.Tracer:
    return trace.get_tracer("app", "1.0", attributes=attributes or None)


@case("input", "output")
def words(c: Planted) -> None:
    with span("answer", kind="llm", customer_mail=c.email("attribute"), api_key=c.key("attribute")):
        content(input={"ask": c("input")}, output=[c("output")])
        usage(model="gpt-4o", input_tokens=11, output_tokens=7, cost=0.1)
        event("looked_up", mail=c.email("event"), card=c.card("event"), password=c.key("event"))
        fail("upstream_failed", c("failure"), retryable=True)


@case()
def secrets_in_tags(c: Planted) -> None:
    with bind(user_id=c.email("user"), session_id=c.key("session"), order=int(c.card("order"))), span("one"):
        pass


@case()
def values_of_other_types(c: Planted) -> None:
    with span("work", error=ValueError(c("exception")), items=[Note(c("item"))], options={"a": c("map")}):
        event("happened", error=KeyError(c("event exception")), note=Note(c("note")), raw=c("raw").encode())
        usage(model=Note(c("model")))  # type: ignore[arg-type]
        fail(RuntimeError(c("code")))  # type: ignore[arg-type]
    with failing(), span("work", kind=c("kind")):  # type: ignore[arg-type]
        raise type(c("class name"), (LookupError,), {"__module__": c("module name")})


@case("error", "cause", "group")
def failing_blocks(c: Planted) -> None:
    with failing(), span("one"):
        raise ValueError(c("error"))

    @span("two", kind="tool")
    def two(_: str) -> None:
        try:
            raise KeyError(c("cause"))
        except KeyError as error:
            raise RuntimeError(c("error")) from error

    with failing():
        two(c("argument"))
    with failing(), tracer().start_as_current_span("three"):
        raise ExceptionGroup(c("group"), [ValueError(c("member")), TypeError(c("member"))])


@case("text", "list")
def attributes(c: Planted) -> None:
    with tracer().start_as_current_span("work") as one:
        one.set_attribute("app.text", c("text"))
        one.set_attribute("app.list", [c("list"), "b"])
        one.set_attribute("app.pair", (c("list"), "b"))
        one.set_attribute("app.map", {"key": c("map"), c("map key"): 1, "deep": {"er": [c("map")]}})
        one.set_attribute("app.bytes", c("bytes").encode())
        one.set_attribute("app.json", '{"a": "' + c("json") + '"}')
        one.set_attribute(c("key of text"), "text")
        one.set_attribute(c("key of number"), 7)
        one.set_attribute(f"app.{c.email('key')}", 7)
        one.set_attribute(f"app.{c.key('key')}", True)
        one.set_attribute("app.card", int(c.card("number")))
        one.set_attribute("app.cards", [int(c.card("number")), 1])
        one.set_attribute("app.real", float(c.card("real")))
        one.set_attribute("password", c.key("password"))
        one.set_attribute("http.request.header.authorization", [c.key("header")])


@case()
def safe_keys_that_hold_content(c: Planted) -> None:
    with tracer().start_as_current_span("work") as one:
        for key in ("gen_ai.request.model", "gen_ai.tool.name", "error.type", "http.route", "db.name"):
            one.set_attribute(key, c(key))
            one.set_attribute(key + "s", [c(key)])
        for key in ("gen_ai.response.id", "session.id", "user.id", "server.address", "db.sql.table"):
            one.set_attribute(key, c.email(key))
        for key in ("gen_ai.agent.name", "gen_ai.conversation.id", "messaging.message.id", "public_key"):
            one.set_attribute(key, c.key(key))
        for key in ("gen_ai.response.id", "user.id", "gen_ai.tool.call.id"):
            one.set_attribute(key, c.card(key))
        one.set_attribute("gen_ai.response.finish_reasons", ["stop", c("reasons")])
        one.set_attribute("langfuse.observation.usage_details", '{"' + c("usage") + '": 1}')


@case()
def names(c: Planted) -> None:
    with tracer().start_as_current_span(c("name")) as one:
        one.update_name(c("later name"))
        one.add_event(c("event name"), {c("event key"): 1, "app.text": c("event")})
    with tracer().start_as_current_span(f"POST {c('address')}", kind=SpanKind.CLIENT):
        pass
    with span(c("declared"), kind="agent"):
        pass


@case("event", "link", "status")
def events_links_and_status(c: Planted) -> None:
    with tracer().start_as_current_span("other") as other:
        pass
    link = Link(other.get_span_context(), {"app.text": c("link"), c("link key"): 1})
    with tracer().start_as_current_span("work", links=[link]) as one:
        one.add_event("gen_ai.user.message", {"content": c("event"), "number": 7})
        one.add_event("looked", {"somatrace.declared": True, "mail": c("forged"), "pw": c.key("forged")})
        one.add_link(other.get_span_context(), {"gen_ai.prompt": c("link")})
        one.set_status(Status(StatusCode.ERROR, c("status")))
        one.record_exception(ValueError(c("exception")), {"exception.note": c("note")})


@case()
def scope_and_tracestate(c: Planted) -> None:
    with tracer(customer=c("scope"), number=7).start_as_current_span("work"):
        pass
    named = trace.get_tracer(c("scope name"), c("scope version"), schema_url="https://x.example/1")
    with named.start_as_current_span("work"):
        pass
    state = TraceState([("vendor", c.word("tracestate")), ("ot", "th:8")])
    remote = SpanContext(0xABC, 0xDEF, True, TraceFlags(1), state)
    with tracer().start_as_current_span(
        "work", context=trace.set_span_in_context(NonRecordingSpan(remote)), links=[Link(remote)]
    ):
        pass


#: What libraries that are not installed here record with content switched off, by scope.
FOUND_ELSEWHERE = {
    "opentelemetry.instrumentation.crewai.instrumentation": (
        "gen_ai.input.messages gen_ai.output.messages traceloop.entity.output crewai.crew.result "
        "crewai.crew.tasks_output crewai.agent.goal crewai.agent.backstory crewai.task.description"
    ),
    "opentelemetry.instrumentation.openai.v1": (
        "gen_ai.input.messages gen_ai.output.messages gen_ai.system_instructions gen_ai.headers gen_ai.user "
        "gen_ai.prompt.prompt_filter_results gen_ai.request.structured_output_schema gen_ai.openai.api_base"
    ),
    "opentelemetry.instrumentation.llamaindex": "tool.arguments tool.description",
    "opentelemetry.instrumentation.haystack": "gen_ai.prompt.0.user gen_ai.prompt.0.content",
    "opentelemetry.instrumentation.vertexai": "gen_ai.prompt.0.user",
    "opentelemetry.instrumentation.bedrock": "gen_ai.tool.definitions",
    "opentelemetry.instrumentation.google_generativeai": "gen_ai.request.structured_output_schema",
    "opentelemetry.instrumentation.agno": "tool.description",
    "opentelemetry.instrumentation.openai_agents": "error.message gen_ai.task.input gen_ai.task.output",
    "opentelemetry.instrumentation.marqo": "db.marqo.search.query",
    "opentelemetry.instrumentation.milvus": "db.milvus.query.filter db.query.result",
    "opentelemetry.instrumentation.pinecone": "pinecone.query.filter pinecone.query.queries",
    "opentelemetry.instrumentation.lancedb": "db.lancedb.query db.lancedb.filter",
    "opentelemetry.instrumentation.qdrant": "db.qdrant.query.filter db.qdrant.search.query",
    "opentelemetry.instrumentation.weaviate": "db.weaviate.query.filter db.weaviate.query.raw",
    "opentelemetry.instrumentation.redis": "db.statement db.query.text",
    "openinference.instrumentation.openai": "input.value output.value llm.input_messages.0.message.content",
    "com.anthropic.sdk.python": "gen_ai.input.messages gen_ai.output.messages",
}


@case()
def keys_of_libraries_not_installed(c: Planted) -> None:
    for scope, keys in FOUND_ELSEWHERE.items():
        name = f"{scope.rpartition('.')[2]}.workflow"
        with trace.get_tracer(scope).start_as_current_span(name) as one:
            for key in keys.split():
                one.set_attribute(key, c(key))
            one.add_event("db.query.result", {"db.query.result.document": c("document"), "metadata": c("m")})
    crew = trace.get_tracer("opentelemetry.instrumentation.crewai.instrumentation")
    with crew.start_as_current_span(f"Greet {c.word('task')}.task"), crew.start_as_current_span("crewai.llm"):
        pass
