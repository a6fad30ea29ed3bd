"""Each row of the mapping table in docs/local.md as a test."""

from __future__ import annotations

import json

import pytest

from somatrace.local.otlp.decode import DecodedSpan, SpanOrigin
from somatrace.local.otlp.observation import row


def mapped(attributes=None, *, resource=None, scope="tests", parent=None, status=0, message="", name="work"):
    return row(
        DecodedSpan(
            origin=SpanOrigin(resource or {}, scope, "", {}),
            trace_id="1" * 32,
            span_id="2" * 16,
            parent_id=parent,
            name=name,
            kind=1,
            start_ns=10**18,
            end_ns=10**18 + 10**9,
            status=status,
            status_message=message,
            attributes=attributes or {},
        )
    )


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({}, "SPAN"),
        *(
            ({"langfuse.observation.type": kind}, kind.upper())
            for kind in (
                "generation",
                "event",
                "embedding",
                "agent",
                "tool",
                "chain",
                "retriever",
                "evaluator",
            )
        ),
        ({"langfuse.observation.type": "Agent"}, "SPAN"),
        ({"langfuse.observation.type": "task"}, "SPAN"),
        ({"langfuse.observation.type": 7}, "SPAN"),
        ({"langfuse.observation.type": "span", "gen_ai.request.model": "m"}, "SPAN"),
        ({"openinference.span.kind": "LLM"}, "GENERATION"),
        ({"gen_ai.operation.name": "chat"}, "GENERATION"),
        ({"gen_ai.operation.name": "embeddings"}, "EMBEDDING"),
        ({"gen_ai.operation.name": "invoke_agent"}, "AGENT"),
        ({"gen_ai.operation.name": "execute_tool"}, "TOOL"),
        ({"gen_ai.operation.name": "retrieval"}, "SPAN"),
        ({"gen_ai.tool.name": "search"}, "TOOL"),
        ({"gen_ai.request.model": "m"}, "GENERATION"),
        ({"traceloop.span.kind": "agent"}, "SPAN"),
    ],
)
def test_type(attributes, expected):
    assert mapped(attributes).type == expected


@pytest.mark.parametrize(
    ("attributes", "status", "expected"),
    [
        ({}, 0, "DEFAULT"),
        ({}, 2, "ERROR"),
        ({"langfuse.observation.level": "warn"}, 2, "WARNING"),
        ({"langfuse.observation.level": "fatal"}, 0, "ERROR"),
        ({"langfuse.observation.level": "no such"}, 2, "ERROR"),
    ],
)
def test_level(attributes, status, expected):
    assert mapped(attributes, status=status).level == expected


def test_the_status_message_attribute_wins_over_the_span_status():
    assert mapped(status=2, message="broke").status_message == "broke"
    assert (
        mapped({"langfuse.observation.status_message": "given"}, status=2, message="broke").status_message
        == "given"
    )
    assert mapped().status_message is None


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("prod", "prod"),
        ("Prod", "prod"),
        ("Prod EU!", "default"),
        ("langfuse-x", "x"),
        ("", "default"),
        ("a" * 50, "a" * 40),
    ],
)
def test_environment(given, expected):
    assert mapped(resource={"deployment.environment.name": given}).environment == expected


def test_the_environment_of_the_span_wins_over_the_resource():
    attributes = {"deployment.environment": "span"}
    assert mapped(attributes, resource={"langfuse.environment": "resource"}).environment == "span"


def test_the_response_model_wins_over_the_request_model():
    assert mapped({"gen_ai.request.model": "asked", "gen_ai.response.model": "given"}).model == "given"
    assert (
        mapped({"langfuse.observation.model.name": "named", "gen_ai.response.model": "given"}).model
        == "named"
    )


def test_cached_and_reasoning_tokens_are_subtracted_from_their_sums():
    found = mapped(
        {
            "gen_ai.usage.input_tokens": 100,
            "gen_ai.usage.cache_read.input_tokens": 30,
            "gen_ai.usage.output_tokens": 50,
            "gen_ai.usage.reasoning.output_tokens": 20,
            "gen_ai.usage.cost.amount": 0.5,
        }
    )
    assert json.loads(found.extra)["usage"] == {
        "input": 70,
        "output": 30,
        "input_cached_tokens": 30,
        "output_reasoning_tokens": 20,
        "total": 150,
    }
    assert (found.input_tokens, found.output_tokens, found.total_tokens) == (100, 50, 150)


def test_given_usage_details_win():
    found = mapped(
        {"langfuse.observation.usage_details": '{"input": 3, "output": 4}', "gen_ai.usage.input_tokens": 100}
    )
    assert (found.input_tokens, found.output_tokens, found.total_tokens) == (3, 4, 7)


@pytest.mark.parametrize(
    "given",
    [
        {
            "prompt_tokens": 100,
            "prompt_tokens_details": {"cached_tokens": 30, "audio_tokens": None},
            "completion_tokens": 50,
            "completion_tokens_details": {"reasoning_tokens": 20},
            "total_tokens": 150,
        },
        {
            "input_tokens": 100,
            "input_tokens_details": {"cached_tokens": 30},
            "output_tokens": 50,
            "output_tokens_details": {"reasoning_tokens": 20},
            "total_tokens": 150,
        },
    ],
)
def test_the_usage_object_of_openai_is_taken_apart(given):
    found = mapped({"langfuse.observation.usage_details": json.dumps(given)})

    assert json.loads(found.extra)["usage"] == {
        "input": 70,
        "input_cached_tokens": 30,
        "output": 30,
        "output_reasoning_tokens": 20,
        "total": 150,
    }


@pytest.mark.parametrize(
    "given", ["{", "[1]", '{"input": -1}', '{"input": "many"}', '{"input": true}', "null"]
)
def test_usage_that_is_not_a_count_is_ignored(given):
    assert mapped({"langfuse.observation.usage_details": given}).total_tokens is None


def test_unreported_usage_is_none_and_not_zero():
    assert mapped({"gen_ai.request.model": "m"}).input_tokens is None
    assert mapped({"llm.usage.total_tokens": 9}).total_tokens is None


def test_cost_is_summed_when_no_total_is_given():
    found = mapped({"langfuse.observation.cost_details": '{"input": 0.5, "output": 0.25}'})
    assert (found.input_cost, found.output_cost, found.total_cost) == (0.5, 0.25, 0.75)
    assert mapped({"gen_ai.usage.cost": 0.125}).total_cost == 0.125


@pytest.mark.parametrize("operation", ["invoke_agent", "agent_step"])
def test_spans_that_aggregate_their_children_have_no_model_usage_or_cost(operation):
    found = mapped(
        {
            "gen_ai.operation.name": operation,
            "gen_ai.request.model": "m",
            "gen_ai.usage.input_tokens": 5,
            "langfuse.observation.cost_details": '{"total": 1}',
        }
    )
    assert (found.model, found.input_tokens, found.total_cost) == (None, None, None)


def test_trace_metadata_overwrites_observation_metadata():
    found = json.loads(
        mapped(
            {
                "langfuse.observation.metadata.k": "observation",
                "langfuse.trace.metadata.k": "trace",
                "langfuse.observation.metadata": '{"whole": {"a": 1}}',
                "langfuse.trace.metadata": "no object",
                "number": 5,
                "list": ["a", 1],
            }
        ).metadata
    )
    assert found == {"k": "trace", "whole": '{"a":1}', "attributes.number": "5", "attributes.list": '["a",1]'}


def test_other_attributes_of_langfuses_own_sdk_are_not_kept():
    assert json.loads(mapped({"x": 1, "langfuse.trace.metadata.y": 2}, scope="langfuse-sdk").metadata) == {
        "y": "2"
    }


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["a", "b"], ["a", "b"]),
        ('["a", "b"]', ["a", "b"]),
        ("a, b", ["a", "b"]),
        ("a", ["a"]),
        ("[broken", ["[broken"]),
        (7, []),
    ],
)
def test_tags(given, expected):
    assert json.loads(mapped({"langfuse.trace.tags": given}).tags) == expected


def test_user_session_and_trace_name_come_from_the_span_itself():
    found = mapped({"user.id": "u", "session.id": "s", "langfuse.trace.name": "t"}, parent="3" * 16)
    assert (found.user_id, found.session_id, found.trace_name) == ("u", "s", "t")
    assert mapped({"gen_ai.conversation.id": "c"}).session_id == "c"
    assert mapped({"traceloop.association.properties.session_id": "x"}).session_id is None


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"gen_ai.tool.name": "search", "genkit:name": "flow", "logfire.msg": "asked"}, "search"),
        ({"genkit:name": "flow", "logfire.msg": "asked"}, "flow"),
        ({"logfire.msg": "asked"}, "asked"),
        ({"logfire.msg": ""}, "work"),
    ],
)
def test_the_name_is_that_of_a_tool_or_of_another_instrumentation(attributes, expected):
    assert mapped(attributes).name == expected


def test_a_trace_is_named_after_its_root_and_not_after_a_child():
    assert mapped(name="root").trace_name == "root"
    assert mapped(name="child", parent="3" * 16).trace_name is None


def test_an_app_root_below_a_remote_parent_is_a_root():
    assert mapped({"langfuse.internal.is_app_root": True}, parent="3" * 16).is_root
    assert not mapped(parent="3" * 16).is_root


def test_our_tags_become_columns_as_metadata_or_plain_attributes():
    assert (
        mapped({"tenant_id": "plain", "langfuse.trace.metadata.tenant_id": "metadata"}).tenant_id
        == "metadata"
    )
    assert mapped({"tenant_id": "plain", "workflow_name": "w", "agent_id": 7})[14:17] == ("plain", "w", "7")


@pytest.mark.parametrize(
    ("attributes", "given", "answered"),
    [
        ({"langfuse.observation.input": "i", "gen_ai.prompt.0.content": "no"}, "i", None),
        ({"traceloop.entity.output": "o"}, None, "o"),
        ({"input.value": "i", "output.value": "o"}, "i", "o"),
        (
            {
                "gen_ai.prompt.1.content": "second",
                "gen_ai.prompt.0.content": "first",
                "gen_ai.completion.0.role": "a",
            },
            '[{"content":"first"},{"content":"second"}]',
            '[{"role":"a"}]',
        ),
        ({"gen_ai.prompt.999999999.content": "far"}, '[{"content":"far"}]', None),
        ({"gen_ai.input.messages": "[]", "gen_ai.output.messages": "[1]"}, "[]", "[1]"),
    ],
)
def test_input_and_output(attributes, given, answered):
    found = mapped(attributes)
    assert (found.input, found.output) == (given, answered)
    used = {f"attributes.{key}" for key in attributes if found.input != "i" or "prompt" not in key}
    assert not used & json.loads(found.metadata).keys()


def test_the_prompt_is_linked_only_on_generations():
    attributes = {"langfuse.observation.prompt.name": "p", "langfuse.observation.prompt.version": 3}
    assert mapped(attributes).prompt_name is None
    found = mapped(attributes | {"langfuse.observation.type": "generation"})
    assert (found.prompt_name, found.prompt_version) == ("p", 3)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("2001-09-09T01:46:40.500Z", 10**18 + 500_000_000),
        ('"2001-09-09T01:46:40.500Z"', 10**18 + 500_000_000),
        ("2001-09-09T01:46:40.500", 10**18 + 500_000_000),
        ("soon", None),
        (5, None),
    ],
)
def test_the_time_of_the_first_token(given, expected):
    assert mapped({"langfuse.observation.completion_start_time": given}).first_token_ns == expected


def test_release_and_version_fall_back_to_the_resource():
    resource = {"service.version": "1.2", "langfuse.release": "r"}
    assert mapped(resource=resource)[10:12] == ("1.2", "r")
    assert mapped({"langfuse.version": "v"}, resource=resource).version == "v"


def test_request_parameters_become_model_parameters():
    found = mapped({"gen_ai.request.model": "m", "gen_ai.request.temperature": 0.5})
    assert json.loads(found.extra)["parameters"] == {"temperature": 0.5}
