"""What of the langfuse SDK's attributes leaves: with content off, everything that is no content."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.otlp_server import OtlpServer, otlp_server
from tests.support.programs import run_program

pytest.importorskip("langfuse", reason="the extra langfuse")

from langfuse._client.attributes import LangfuseOtelSpanAttributes

CONTENT = "PROMPT-CANARY-7f3a of Zoe"
PROGRAM = f"""
    from datetime import datetime, timedelta, timezone
    from somatrace import Config, bind, flush, init_tracing
    until = (datetime.now(timezone.utc) + timedelta(days=9)).date().isoformat()

    def policy(tenant):
        return {{"content": tenant, "reason": "test", **({{"until": until}} if tenant == "full" else {{}})}}

    init_tracing("svc", config=Config(content_policy=policy))
    from langfuse import Langfuse, get_client, propagate_attributes
    langfuse = Langfuse()
    CONTENT = {CONTENT!r}

    def work():
        with propagate_attributes(
            user_id="u-17", session_id="s-17", version="1.4.2", environment="staging", tags=["nightly"],
            trace_name="answering", prompt={{"name": "support/answer", "version": 3}},
            metadata={{"region": "eu-west-1", "attempt": 2, "customer": "Zoe", "note": CONTENT}},
        ), langfuse.start_as_current_observation(
            name="call", as_type="generation", model="gpt-4o", input=CONTENT, level="WARNING",
            model_parameters={{"temperature": 0.5, "max_tokens": 100, "stop": CONTENT}},
            metadata={{"tier": "gold", "score": 0.5, "cached": True, "question": CONTENT, "who": "Zoe"}},
        ) as made:
            made.update(output=CONTENT, status_message=CONTENT, usage_details={{"input": 1, "output": 2}},
                        cost_details={{"total": 0.25}}, completion_start_time=datetime.now(timezone.utc))
            made.set_trace_as_public()
        langfuse.run_experiment(
            name="Capital cities quiz gpt-4o", run_name="Capital cities quiz gpt-4o - run 7",
            description=CONTENT, metadata={{"note": CONTENT}},
            data=[{{"input": CONTENT, "expected_output": CONTENT, "metadata": {{"source": CONTENT}}}}],
            task=lambda **_: CONTENT,
        )

    for mode in ("none", "redacted", "full"):
        with bind(tenant_id=mode):
            work()
    assert flush(60)
"""
#: Attributes of the model call, by whether they leave with content off; with content on, all leave.
KEPT: dict[str, Any] = {
    "user.id": "u-17",
    "session.id": "s-17",
    "langfuse.version": "1.4.2",
    "langfuse.environment": "staging",
    "langfuse.trace.public": True,
    "langfuse.trace.metadata.region": '"eu-west-1"',
    "langfuse.trace.metadata.attempt": "2",
    "langfuse.observation.type": "generation",
    "langfuse.observation.level": "WARNING",
    "langfuse.observation.model.name": "gpt-4o",
    "langfuse.observation.prompt.name": "support/answer",
    "langfuse.observation.prompt.version": 3,
    "langfuse.observation.usage_details": '{"input": 1, "output": 2}',
    "langfuse.observation.cost_details": '{"total": 0.25}',
    "langfuse.observation.metadata.tier": '"gold"',
    "langfuse.observation.metadata.score": "0.5",
    "langfuse.observation.metadata.cached": "true",
}
REMOVED = (
    "langfuse.observation.input",
    "langfuse.observation.output",
    "langfuse.observation.status_message",
    "langfuse.observation.metadata.question",
    "langfuse.observation.metadata.who",
    "langfuse.trace.metadata.customer",
    "langfuse.trace.metadata.note",
)
PARAMETERS = "langfuse.observation.model.parameters"
TIME_KEY = "langfuse.observation.completion_start_time"
#: The same for the spans of an experiment. Ids are the SDK's own.
EXPERIMENT_KEPT: dict[str, Any] = {
    "langfuse.experiment.name": "Capital cities quiz gpt-4o - run 7",
    "langfuse.observation.metadata.experiment_name": '"Capital cities quiz gpt-4o"',
    "langfuse.observation.metadata.experiment_run_name": '"Capital cities quiz gpt-4o - run 7"',
    "langfuse.environment": "sdk-experiment",
}
EXPERIMENT_IDS = (
    "langfuse.experiment.id",
    "langfuse.experiment.item.id",
    "langfuse.experiment.item.root_observation_id",
)
EXPERIMENT_REMOVED = (
    "langfuse.experiment.description",
    "langfuse.experiment.metadata",
    "langfuse.experiment.item.expected_output",
    "langfuse.experiment.item.metadata",
)
#: Those of datasets of the server, those that the SDK does not write here, and those that tags decide.
ELSEWHERE = (
    "langfuse.trace.input",
    "langfuse.trace.output",
    "langfuse.trace.name",
    "langfuse.trace.tags",
    "langfuse.experiment.dataset.id",
    "langfuse.experiment.item.version",
    "langfuse.release",
    "langfuse.internal.as_root",
    "langfuse.internal.is_app_root",
)


class Run:
    def __init__(self, otlp: OtlpServer) -> None:
        self.otlp = otlp

    def call(self, mode: str) -> dict[str, Any]:
        (found,) = [
            span.attributes
            for span in self.otlp.spans
            if span.name == "call" and span.attributes["tenant_id"] == mode
        ]
        return found

    def experiment(self, mode: str) -> dict[str, Any]:
        """The attributes of all spans of an experiment together."""
        found: dict[str, Any] = {}
        for span in self.otlp.spans:
            if span.name != "call" and span.attributes["tenant_id"] == mode:
                found |= span.attributes
        return found


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    with otlp_server() as otlp:
        env = {
            "LANGFUSE_BASE_URL": otlp.url,
            "LANGFUSE_PUBLIC_KEY": "pk-lf-1",
            "LANGFUSE_SECRET_KEY": "sk-lf-1",
        }
        run_program(PROGRAM, env)
        yield Run(otlp)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["none", "redacted", "full"])
class TestAnAttributeOfTheSdk:
    @pytest.mark.parametrize("key", KEPT)
    def test_that_is_no_content_leaves(self, run: Run, mode: str, key: str) -> None:
        assert run.call(mode).get(key) == KEPT[key]

    @pytest.mark.parametrize("key", REMOVED)
    def test_that_is_content_leaves_with_content_on_only(self, run: Run, mode: str, key: str) -> None:
        assert (key in run.call(mode)) == (mode != "none")

    def test_of_parameters_leaves_without_texts_of_the_program(self, run: Run, mode: str) -> None:
        parameters = json.loads(run.call(mode)[PARAMETERS])

        stop = {"stop": CONTENT} if mode != "none" else {}
        assert parameters == {"temperature": 0.5, "max_tokens": 100, **stop}

    def test_with_the_time_of_the_first_token_leaves(self, run: Run, mode: str) -> None:
        assert TIME_KEY in run.call(mode)

    @pytest.mark.parametrize("key", EXPERIMENT_KEPT)
    def test_that_names_an_experiment_leaves(self, run: Run, mode: str, key: str) -> None:
        assert run.experiment(mode).get(key) == EXPERIMENT_KEPT[key]

    @pytest.mark.parametrize("key", EXPERIMENT_IDS)
    def test_that_is_an_id_of_an_experiment_leaves(self, run: Run, mode: str, key: str) -> None:
        assert run.experiment(mode).get(key)

    @pytest.mark.parametrize("key", EXPERIMENT_REMOVED)
    def test_that_is_content_of_an_experiment_leaves_with_content_on_only(
        self, run: Run, mode: str, key: str
    ) -> None:
        found = any(name == key or name.startswith(key + ".") for name in run.experiment(mode))
        assert found == (mode != "none")


def test_each_attribute_of_the_sdk_is_decided() -> None:
    decided = {*KEPT, *REMOVED, PARAMETERS, TIME_KEY, *EXPERIMENT_KEPT, *EXPERIMENT_IDS}
    decided |= {*EXPERIMENT_REMOVED, *ELSEWHERE}
    known = {
        value
        for name, value in vars(LangfuseOtelSpanAttributes).items()
        if isinstance(value, str) and name.isupper()
    }

    metadata = {"langfuse.trace.metadata", "langfuse.observation.metadata"}
    assert known - decided == metadata, "by their names below"
