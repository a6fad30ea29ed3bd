"""The workflow of a request names its trace, and a root without a tenant shows the one below it."""

from __future__ import annotations

import httpx
import pytest
from opentelemetry import trace
from opentelemetry.trace import SpanKind

from somatrace import bind, flush, propagation, span
from somatrace.config import Settings
from somatrace.context.span_state import SpanState, attach_state
from somatrace.context.tags import Tags
from somatrace.guard import Guard
from somatrace.guard.policy.model import Grant, PolicyEntry
from somatrace.pipeline.guarded_copy import SpanCopier
from somatrace.testing import capture
from tests.guard.test_guard import made
from tests.support.web import serving

with capture():
    from fastapi import BackgroundTasks, FastAPI
    from fastapi.responses import StreamingResponse

TRACE_NAME = "langfuse.trace.name"


def attribute(seen, key: str) -> dict[str, str]:
    """The attribute of each span by the span's name, except for requests that are sent."""
    return {found.name: found.attributes[key] for found in seen.spans if found.kind is not SpanKind.CLIENT}


def names(seen) -> dict[str, str]:
    return attribute(seen, TRACE_NAME)


def tenants(seen) -> dict[str, str]:
    return attribute(seen, "tenant_id")


def post(app: FastAPI, path: str = "/ask") -> None:
    with serving(app) as url, httpx.Client(base_url=url) as client:
        client.post(path)


# -- names ------------------------------------------------------------------------------------------------


def test_a_workflow_in_a_route_names_the_request_and_all_that_ends_after_it_began() -> None:
    app = FastAPI()

    @app.post("/ask")
    async def ask() -> None:
        with span("authorize"):
            pass
        flush(60)
        with span("ask", kind="workflow"), span("plan"):
            pass
        with span("log"):
            pass

    with capture() as seen:
        post(app)

    before = {"authorize": "POST /ask"}
    assert names(seen) == {**before, "plan": "ask", "ask": "ask", "log": "ask", "POST /ask": "ask"}
    assert seen.named("POST /ask").attributes["workflow_name"] == "ask"
    assert "workflow:ask" in seen.named("POST /ask").attributes["langfuse.trace.tags"]


def test_a_workflow_that_is_bound_in_a_route_names_the_request() -> None:
    app = FastAPI()

    @app.post("/ask")
    async def ask() -> None:
        with bind(workflow_name="ask"):
            pass

    with capture() as seen:
        post(app)

    assert names(seen) == {"POST /ask": "ask"}


def test_a_trace_has_one_name_and_each_span_its_own_workflow() -> None:
    with capture() as seen, span("job"):
        with span("first", kind="workflow"):
            pass
        with span("second", kind="workflow"):
            pass

    assert names(seen) == {"first": "first", "second": "first", "job": "first"}
    assert seen.named("second").attributes["workflow_name"] == "second"


def test_work_after_the_end_of_a_request_keeps_the_name_of_its_trace() -> None:
    app = FastAPI()

    def index() -> None:
        with span("index", kind="workflow"):
            pass

    @app.post("/ask")
    async def ask(tasks: BackgroundTasks) -> None:
        tasks.add_task(index)

    with capture() as seen:
        post(app)

    # OpenTelemetry's instrumentation of FastAPI, once used in a process, adds a span around each such task
    found = names(seen)
    assert (found["POST /ask"], found["index"]) == ("POST /ask", "POST /ask")


@pytest.fixture
def local_callers():
    propagation.configure(Settings(trust=("127.0.0.0/8",)))
    yield
    propagation.configure(Settings())


def test_the_name_reaches_inner_services_also_from_outside_the_workflows_block(local_callers) -> None:
    inner, outer = FastAPI(), FastAPI()

    @inner.post("/rank")
    async def rank() -> None:
        with span("score"):
            pass

    with serving(inner) as inside, capture() as seen:

        @outer.post("/ask")
        def ask() -> None:
            with span("ask", kind="workflow"):
                pass
            httpx.post(f"{inside}/rank")

        post(outer)

    assert set(names(seen).values()) == {"ask"}
    assert seen.named("score").attributes["workflow_name"] == "ask"


# -- tenants ----------------------------------------------------------------------------------------------


def test_a_root_without_a_tenant_shows_the_only_one_below_it_and_nothing_inherits_it() -> None:
    app = FastAPI()

    @app.post("/ask")
    async def ask() -> None:
        with span("wf-a", kind="workflow", tenant_id="acme"):
            pass
        with span("later"):
            pass

    with capture() as seen:
        post(app)

    assert tenants(seen) == {"wf-a": "acme", "later": "unknown", "POST /ask": "acme"}
    assert "tenant:acme" in seen.named("POST /ask").attributes["langfuse.trace.tags"]


def test_a_decorated_stream_shows_its_tenant_on_the_request() -> None:
    app = FastAPI()

    @span("stream", kind="workflow", tenant_id="acme")
    async def parts():
        with span("part"):
            yield "text"

    @app.post("/ask")
    async def ask() -> StreamingResponse:
        return StreamingResponse(parts())

    with capture() as seen:
        post(app)

    assert tenants(seen) == {"part": "acme", "stream": "acme", "POST /ask": "acme"}


@pytest.mark.parametrize("block", [bind, lambda **tags: span("inner", **tags)])
def test_a_root_with_several_tenants_below_it_says_so(block) -> None:
    with capture() as seen, trace.get_tracer("app").start_as_current_span("loop", kind=SpanKind.CONSUMER):
        for tenant in ("acme", "globex"):
            with block(tenant_id=tenant), span("job"):
                pass

    assert seen.named("loop").attributes["tenant_id"] == "several"


def test_a_root_bound_to_no_tenant_shows_none() -> None:
    with capture() as seen, bind(tenant_id=None), span("loop"), span("job", tenant_id="acme"):
        pass

    assert tenants(seen) == {"job": "acme", "loop": "unknown"}


def test_the_tenant_below_a_root_opens_no_content_of_it() -> None:
    grants = {"acme": Grant("full")}
    guard = Guard(resolve=lambda tenant: grants.get(tenant, Grant("none")))
    copier = SpanCopier(guard, service_name="svc", default_tenant="unknown", resource=lambda found: found)
    span_of_root = made({"gen_ai.prompt.0.content": "PROMPT-CANARY"})
    root = SpanState(Tags(), None)
    attach_state(span_of_root, root)

    root.note_below(Tags({"tenant_id": "acme"}))
    copy = copier.copy(span_of_root)

    assert copy.attributes["tenant_id"] == "acme"
    assert "PROMPT-CANARY" not in str(copy.attributes)


def test_a_trace_named_by_a_tenants_workflow_does_not_show_its_terms_elsewhere() -> None:
    grants = {"acme": PolicyEntry("none", terms=("falcon",)).grant()}
    guard = Guard(resolve=lambda tenant: grants.get(tenant, Grant("none")))
    copier = SpanCopier(guard, service_name="svc", default_tenant="unknown", resource=lambda found: found)
    span_of_root = made({})
    root = SpanState(Tags(), None)
    attach_state(span_of_root, root)

    root.note_below(Tags({"tenant_id": "acme"}, {"workflow_name": "falcon-ask"}))
    copy = copier.copy(span_of_root)

    assert copy.attributes[TRACE_NAME] == "[TERM]-ask"
    assert "falcon" not in str(copy.attributes)


# -- what the program sets itself -------------------------------------------------------------------------


def test_a_trace_name_set_by_the_program_wins_on_all_spans_that_end_later() -> None:
    with capture() as seen, span("request"), span("ask", kind="workflow"):
        with span("plan") as plan:
            plan.set_attribute(TRACE_NAME, "quarterly-report")
        with span("write"):
            pass

    assert set(names(seen).values()) == {"quarterly-report"}
    assert seen.named("write").attributes["workflow_name"] == "ask"


@pytest.mark.parametrize("given", [["beta", "vip"], '["beta", "vip"]', "beta, vip"])
@pytest.mark.parametrize("key", ["langfuse.trace.tags", "langfuse.tags"])
def test_trace_tags_set_by_the_program_are_kept_beside_the_labels(key: str, given: object) -> None:
    with capture() as seen, bind(tenant_id="acme", workflow_name="ask"), span("work") as work:
        work.set_attribute(key, given)

    tags = seen.named("work").attributes["langfuse.trace.tags"]
    assert tags == ("tenant:acme", "workflow:ask", "agent:test", "beta", "vip")


def test_a_trace_tag_of_the_program_does_not_name_another_tenant() -> None:
    with capture() as seen, bind(tenant_id="acme"), span("work") as work:
        work.set_attribute("langfuse.trace.tags", ["tenant:globex", "beta"])

    tags = seen.named("work").attributes["langfuse.trace.tags"]
    assert [tag for tag in tags if tag.startswith("tenant:")] == ["tenant:acme"]
    assert "beta" in tags


def test_a_user_and_session_of_one_span_win_over_bound_ones() -> None:
    with capture() as seen, bind(user_id="bound", session_id="s-bound"):
        with span("own") as own:
            own.set_attributes({"user.id": "u-own", "langfuse.session.id": "s-own"})
        with span("other"):
            pass

    found = seen.named("own").attributes
    assert (found["user.id"], found["langfuse.session.id"]) == ("u-own", "s-own")
    other = seen.named("other").attributes
    assert (other["user.id"], other["session.id"]) == ("bound", "s-bound")
