"""Names that libraries make leave as an identifier or as an operation and one word; others are content."""

from __future__ import annotations

import pytest
from opentelemetry import semconv_ai, trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.semconv._incubating.attributes import (
    gen_ai_attributes,
    graphql_attributes,
    http_attributes,
    messaging_attributes,
)

from somatrace import event, semconv, span
from somatrace.guard import Guard, name_forms
from somatrace.testing import capture

UNKNOWN = "some.library"

LEAVE = [
    "work", "anthropic.chat", "/users.Users/Get", "tasks.add", "run/tasks.add", "/users/{id}", "a:b-c_d",
    "x" * 64, "GET /users/{id}", "chat gpt-4o", "execute_tool lookup", "invoke_agent planner",
    "embeddings text-embedding-3",
    "SELECT orders", "INSERT public.orders", "find orders", "publish orders", "send orders.created",
    "process queue-1", "tools/call lookup", "query user", "text_completion meta/llama-3:free",
]  # fmt: skip
STAY = [
    "Greet Ada", "Summarize the contract of Ada Lovelace", "tell me", "plan the answer", "x" * 65,
    "Ada's", "GET /users/ada lovelace", "chat with Ada", "execute_tool look up", "chat gpt-4o now",
    "Chat gpt-4o", "SELECT name FROM users", "SELECT /var/data/acme.db", "SELECT *", "GET /users?name=ada",
    "chat a@b.example", "名前", "café", "https://example.com/ada", "GET https://example.com/ada", "chat ",
    " chat", "chat  gpt-4o", "",
    "line\nbreak", "chat gpt-4o\n", "work\n", "a+b", "<prompt>", "HTTP GET http://example.com/",
]  # fmt: skip


@pytest.mark.parametrize("name", LEAVE)
def test_identifiers_and_operations_leave(name: str) -> None:
    assert Guard().name(name, UNKNOWN, "span") == name


@pytest.mark.parametrize("name", ["Agent Workflow", "Realtime Session"])
def test_the_names_that_the_instrumentor_of_openai_agents_gives_leave_for_it_alone(name: str) -> None:
    scope = "opentelemetry.instrumentation.openai_agents"

    assert Guard().name(name, scope, "span") == name
    assert Guard().name(name, UNKNOWN, "span") == f"{UNKNOWN}.span"


@pytest.mark.parametrize("name", STAY)
def test_other_names_of_libraries_do_not_leave_from_the_first_one_on(name: str) -> None:
    assert Guard().name(name, UNKNOWN, "tool") == f"{UNKNOWN}.tool"


@pytest.mark.parametrize("scope", [semconv.SCOPE, __name__])
@pytest.mark.parametrize("name", ["plan the answer", "Grüße senden", "a+b"])
def test_the_programs_own_names_may_be_a_few_words(name: str, scope: str) -> None:
    assert Guard().name(name, scope, "span") == name


def test_an_identifier_that_holds_a_secret_does_not_leave() -> None:
    key = "sk-proj-" + "Ab1" * 16

    assert Guard().name(key, UNKNOWN, "span") == f"{UNKNOWN}.span"


def test_refused_names_do_not_use_up_the_limit_of_a_scope() -> None:
    guard = Guard()
    for scope in (UNKNOWN, semconv.SCOPE):
        for number in range(500):
            guard.name(f"please tell me what you know about order {number} of Ada", scope, "span")

    assert guard.name("work", UNKNOWN, "span") == "work"
    assert guard.name("work", semconv.SCOPE, "span") == "work"
    assert guard.name("plan the next answer", semconv.SCOPE, "span") == "plan the next answer"


def test_counting_tightens_the_rule_for_identifiers() -> None:
    guard = Guard()

    names = {guard.name(f"customer{number}", UNKNOWN, "span") for number in range(1000)}

    assert len(names) == 201


def test_the_operations_are_those_of_the_semantic_conventions() -> None:
    conventions = {
        value.value
        for values in (
            gen_ai_attributes.GenAiOperationNameValues,
            messaging_attributes.MessagingOperationTypeValues,
            graphql_attributes.GraphqlOperationTypeValues,
            semconv_ai.GenAICustomOperationName,
        )
        for value in values
    }

    assert conventions <= name_forms._OPERATIONS


def test_the_http_methods_are_those_of_the_semantic_conventions() -> None:
    values = {value.value for value in http_attributes.HttpRequestMethodValues}

    assert values - {"_OTHER"} <= semconv.HTTP_METHODS


@pytest.mark.parametrize(
    ("scope", "name", "expected"),
    [
        ("opentelemetry.instrumentation.crewai.instrumentation", "Greet Ada.task", "crewai.task"),
        ("opentelemetry.instrumentation.crewai.instrumentation", "Ada.agent", "crewai.agent"),
        ("opentelemetry.instrumentation.crewai.instrumentation", "crewai.workflow", "crewai.workflow"),
        ("openinference.instrumentation.crewai", "Greet Ada.kickoff", "crewai.kickoff"),
        (
            "openinference.instrumentation.crewai._event_listener",
            "Ada.Greet._execute_core",
            "crewai._execute_core",
        ),
        ("openinference.instrumentation.crewai", "Ada", "openinference.instrumentation.crewai.span"),
        ("opentelemetry.instrumentation.langchain", "goto finish", "goto finish"),
        ("some.library", "goto finish", "some.library.span"),
        ("opentelemetry.instrumentation.sqlalchemy", "SELECT orders", "SELECT orders"),
        (
            "opentelemetry.instrumentation.sqlalchemy",
            "SELECT /data/acme.db",
            "opentelemetry.instrumentation.sqlalchemy.span",
        ),
    ],
)
def test_some_libraries_have_rules_of_their_own(scope: str, name: str, expected: str) -> None:
    assert Guard().name(name, scope, "span") == expected


def test_events_follow_the_rule_of_their_span_unless_the_program_declared_them() -> None:
    with capture() as seen:
        with trace.get_tracer(UNKNOWN).start_as_current_span("work") as found:
            found.add_event("Ada asked this")
            found.add_event("gen_ai.user.message")
            event("order was placed")
        with span("own") as found:
            found.add_event("cache is cold")

    first, second = seen.spans
    names = [one.name for one in first.events]
    assert names == [f"{UNKNOWN}.event", "gen_ai.user.message", "order was placed"]
    assert [one.name for one in second.events] == ["cache is cold"]
    assert [one.name for one in seen.records if one.phase == "event"] == ["order was placed"]


def test_a_name_made_later_follows_the_same_rule_everywhere() -> None:
    with capture() as seen, trace.get_tracer(UNKNOWN).start_as_current_span("work") as found:
        with span("inner"):
            pass
        found.update_name("Summarize the file of Ada")

    inner, outer = seen.spans
    assert outer.name == outer.attributes["workflow_name"] == f"{UNKNOWN}.span"
    assert inner.attributes["workflow_name"] in ("work", f"{UNKNOWN}.span")
    assert b"Ada" not in seen.bytes
    assert "Ada" not in repr(seen.records)


def test_a_span_without_a_scope_is_a_librarys() -> None:
    assert TracerProvider().get_tracer("").start_span("x").instrumentation_scope.name == ""
    assert Guard().name("Greet Ada", "", "span") == ".span"
