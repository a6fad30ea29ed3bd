"""What a real FastAPI service does for its tenants is found, listed and summed under their names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from somatrace.local.ingest.fresh_store import FreshStore
from somatrace.local.queries import overview, traces
from somatrace.local.queries.overview import OverviewScope
from somatrace.local.queries.traces import TraceFilter
from somatrace.local.store.store import Store
from tests.support.llm_server import INPUT_TOKENS, llm_server
from tests.support.programs import run_program

PROGRAM = """
    import os
    from somatrace import flush, init_tracing, span
    init_tracing("svc")
    import http.client, openai  # a caller without spans of its own
    from fastapi import FastAPI
    from fastapi.responses import StreamingResponse
    from tests.support.web import serving

    app, client = FastAPI(), openai.OpenAI(max_retries=0)

    def ask(model="m"):
        client.chat.completions.create(model=model, messages=[{"role": "user", "content": "hello"}])

    @app.post("/ask")
    def route():
        with span("wf-a", kind="workflow", tenant_id="acme"):
            ask()

    @span("wf-stream", kind="workflow", tenant_id="globex")
    def parts():
        ask()
        yield "text"

    @app.post("/stream")
    def stream():
        return StreamingResponse(parts())

    @app.post("/both")
    def both():
        for tenant in ("acme", "globex"):
            with span("wf-both", kind="workflow", tenant_id=tenant):
                ask()

    @app.post("/retry")
    def retry():
        with span("wf-retry", kind="workflow", tenant_id="acme"):
            try:
                ask("fail-500")
            except openai.OpenAIError:
                ask()

    @app.post("/broken")
    def broken():
        with span("wf-broken", kind="workflow", tenant_id="globex"):
            ask("fail-500")

    with serving(app) as url:
        for path in ("ask", "stream", "both", "retry", "broken"):
            caller = http.client.HTTPConnection(url.removeprefix("http://"))
            caller.request("POST", f"/{path}")
            caller.getresponse().read()
    flush(60)
    """


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Iterator[Store]:
    data = tmp_path_factory.mktemp("store")
    env = {"SOMATRACE_DATA_DIR": str(data), "SOMATRACE_TARGET": "local", "PYTHONPATH": str(root)}
    with llm_server() as llm:
        run_program(PROGRAM, {**env, **llm.env}, timeout=280)
    found = FreshStore(data)
    yield found
    found.close()


def listed(store: Store, **chosen: str) -> list[str]:
    found = store.read(lambda connection: traces.search(connection, TraceFilter(service="svc", **chosen)))
    return sorted(row["name"] for row in found.rows)


def sums(store: Store, **chosen: str) -> dict[str, float]:
    scope = OverviewScope(0, 2**31, **chosen)
    return dict(store.read(lambda connection: overview.read(connection, scope)).whole.sums)


@pytest.mark.slow
def test_a_trace_is_listed_for_every_tenant_that_has_a_span_in_it(store: Store) -> None:
    assert listed(store, tenant="acme") == ["wf-a", "wf-both", "wf-retry"]
    assert listed(store, tenant="globex") == ["wf-both", "wf-broken", "wf-stream"]
    assert listed(store, tenant="unknown") == []


@pytest.mark.slow
def test_a_trace_shows_its_only_tenant_or_several(store: Store) -> None:
    found = store.read(lambda connection: traces.search(connection, TraceFilter()))

    tenants = {row["name"]: row["tenant_id"] for row in found.rows}
    assert tenants == {
        "wf-a": "acme",
        "wf-stream": "globex",
        "wf-both": "several",
        "wf-retry": "acme",
        "wf-broken": "globex",
    }


@pytest.mark.slow
def test_tokens_and_calls_are_those_of_the_tenant_whose_span_made_them(store: Store) -> None:
    acme, globex, all_of_them = sums(store, tenant="acme"), sums(store, tenant="globex"), sums(store)

    assert (acme["calls"], acme["input_tokens"]) == (4, 3 * INPUT_TOKENS)
    assert (globex["calls"], globex["input_tokens"]) == (3, 2 * INPUT_TOKENS)
    assert all_of_them["input_tokens"] == 5 * INPUT_TOKENS
    assert sums(store, tenant="unknown")["input_tokens"] == 0


@pytest.mark.slow
def test_the_list_of_a_tenant_has_its_own_tokens_in_a_trace_of_several(store: Store) -> None:
    found = store.read(lambda connection: traces.search(connection, TraceFilter(tenant="acme")))

    tokens = {row["name"]: row["input_tokens"] for row in found.rows}
    assert tokens["wf-both"] == INPUT_TOKENS
    assert sum(tokens.values()) == sums(store, tenant="acme")["input_tokens"]


@pytest.mark.slow
def test_a_failure_is_that_of_its_tenant_and_a_recovered_error_is_none(store: Store) -> None:
    acme, globex = sums(store, tenant="acme"), sums(store, tenant="globex")

    assert (acme["failed"], acme["recovered"]) == (0, 1)
    assert (globex["failed"], globex["recovered"]) == (1, 0)
    assert listed(store, tenant="globex", status="failed") == ["wf-broken"]
    assert listed(store, status="recovered") == ["wf-retry"]


@pytest.mark.slow
@pytest.mark.parametrize("workflow", ["wf-a", "wf-stream", "wf-both", "wf-retry", "wf-broken"])
def test_overview_and_list_agree_on_a_workflow_in_a_route(store: Store, workflow: str) -> None:
    assert listed(store, workflow=workflow) == [workflow]
    assert sums(store, workflow=workflow)["traces"] == 1


@pytest.mark.slow
def test_each_trace_has_one_name(store: Store) -> None:
    named = store.read(
        lambda connection: connection.execute(
            "SELECT count(DISTINCT trace_name) FROM spans WHERE service = 'svc' GROUP BY trace_id"
        ).fetchall()
    )

    assert {count for (count,) in named} == {1}
