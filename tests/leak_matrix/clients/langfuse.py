"""The langfuse SDK: observations with all their fields, scores, and its own span processor."""

from __future__ import annotations

import os

from langfuse import Langfuse, observe, propagate_attributes

from somatrace import span
from tests.leak_matrix.canary import Planted
from tests.leak_matrix.harness import case, failing

langfuse = Langfuse(
    public_key="pk-lf-other", secret_key="sk-lf-other", base_url=os.environ["MATRIX_SECOND"], timeout=2
)


@case("input", "output")
def observed(c: Planted) -> None:
    @observe()
    def joke(question: str) -> str:
        return question + c("output")

    @observe(as_type="generation")
    def fail(question: str) -> str:
        raise ValueError(f"{question} {c('error')}")

    joke(c("input"))
    with failing():
        fail(c("input"))


@case("input", "output", "metadata")
def observations(c: Planted) -> None:
    with langfuse.start_as_current_observation(
        name="answer", as_type="generation", model="gpt-4o", input=[{"role": "user", "content": c("input")}]
    ) as made:
        made.update(
            output=c("output"),
            metadata={"customer": c("metadata"), "nested": {"deep": [c("deep")]}},
            model_parameters={"stop": c("stop"), "temperature": 1},
            usage_details={"input": 11, "output": 7},
            cost_details={"total": 0.25},
            status_message=c("status"),
            level="WARNING",
        )
    with langfuse.start_as_current_observation(name="look", as_type="tool", input={"q": c("input")}) as tool:
        tool.update(output={"found": [c("output")]})


@case()
def propagated(c: Planted) -> None:
    # langfuse writes what it propagates on the current span, too: here one of this tenant
    with (
        span("asked"),
        propagate_attributes(
            user_id=c.email("user"),
            session_id="s-1",
            metadata={"customer": c.word("metadata")},
            tags=[c.email("tag")],
        ),
        langfuse.start_as_current_observation(name="inside"),
    ):
        pass


@case()
def scores_and_events(c: Planted) -> None:
    with langfuse.start_as_current_observation(name="root") as root:
        root.create_event(name="looked", input=c("input"), output=c("output"), metadata={"a": c("metadata")})
