"""Each call of a real LLM client over a real socket becomes one tagged span."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from somatrace.libraries import INSTRUMENTED, Library
from tests.support.llm_server import CANARIES, INPUT_TOKENS, OUTPUT_TOKENS, LlmServer, llm_server
from tests.support.otlp_server import OtlpServer, Received, otlp_server
from tests.support.programs import otlp_env, run_program

MODEL = "gen_ai.request.model"

PRELUDE = f"""
    import asyncio, json, sys, somatrace
    from somatrace import bind, init_tracing, span
    PROMPT, SYSTEM, ANSWER, KEY = {CANARIES!r}
    MESSAGES = [{{"role": "system", "content": SYSTEM}}, {{"role": "user", "content": PROMPT}}]
    USER = MESSAGES[1:]

    def fails(call):
        try:
            call()
        except Exception:
            return
        raise SystemExit("the call should have failed")
    """

CLIENTS = (
    PRELUDE
    + """
    import openai  # one library before init, one after it
    init_tracing("clients")
    import anthropic
    from opentelemetry import context
    context.attach(context.set_value("override_enable_content_tracing", True))

    o, oa = openai.OpenAI(max_retries=0), openai.AsyncOpenAI(max_retries=0)
    a, aa = anthropic.Anthropic(max_retries=0), anthropic.AsyncAnthropic(max_retries=0)
    usage = {"include_usage": True}
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD" + PROMPT}}
    headers = {"x-mine": KEY}

    async def asynchronous():
        await oa.chat.completions.create(model="openai-async", messages=MESSAGES)
        async for _ in await oa.chat.completions.create(
            model="openai-async-stream", messages=MESSAGES, stream=True, stream_options=usage): pass
        await aa.messages.create(model="anthropic-async", max_tokens=5, system=SYSTEM, messages=USER)
        # a synchronous client inside a running loop
        o.chat.completions.create(model="openai-in-loop", messages=MESSAGES)

    with bind(tenant_id="acme", workflow_name="w", agent_id="a", user_id="u-1"):
        o.chat.completions.create(model="openai-chat", messages=MESSAGES, extra_headers=headers)
        for _ in o.chat.completions.create(
            model="openai-stream", messages=MESSAGES, stream=True, stream_options=usage): pass
        o.chat.completions.create(model="openai-image", messages=[
            {"role": "user", "content": [{"type": "text", "text": PROMPT}, image]}])
        o.embeddings.create(model="openai-embedding", input=PROMPT)
        o.responses.create(model="openai-responses", input=PROMPT, instructions=SYSTEM)
        for _ in o.responses.create(model="openai-responses-stream", input=PROMPT, stream=True): pass
        a.messages.create(model="anthropic-messages", max_tokens=5, system=SYSTEM, messages=USER)
        for _ in a.messages.create(model="anthropic-stream", max_tokens=5, messages=USER, stream=True): pass
        with a.messages.stream(model="anthropic-manager", max_tokens=5, messages=USER) as stream:
            for _ in stream: pass
        asyncio.run(asynchronous())
        for status in (400, 401, 500):
            fails(lambda: o.chat.completions.create(
                model=f"fail-{status}-openai", messages=MESSAGES, user=PROMPT))
            fails(lambda: o.embeddings.create(model=f"fail-{status}-embedding", input=PROMPT))
            fails(lambda: o.responses.create(model=f"fail-{status}-responses", input=PROMPT))
            fails(lambda: a.messages.create(
                model=f"fail-{status}-anthropic", max_tokens=5, system=SYSTEM, messages=USER))
    from opentelemetry.instrumentation.openai.v1 import responses_wrappers
    print(json.dumps({"kept": len(responses_wrappers.responses), "headers": headers,
                      "status": dict(somatrace.status().instruments),
                      "problems": somatrace.status().problems}))
    """
)
CALLS = (
    "openai-chat",
    "openai-stream",
    "openai-image",
    "openai-responses",
    "openai-responses-stream",
    "openai-async",
    "openai-async-stream",
    "openai-in-loop",
    "anthropic-messages",
    "anthropic-stream",
    "anthropic-manager",
    "anthropic-async",
)
FAILURES = tuple(
    f"fail-{status}-{call}"
    for status in (400, 401, 500)
    for call in ("openai", "embedding", "responses", "anthropic")
)

FRAMEWORKS = (
    PRELUDE
    + """
    init_tracing("frameworks")
    import litellm  # imports openai in the middle of its own import
    from langchain_openai import ChatOpenAI
    from langchain_core.prompts import ChatPromptTemplate
    litellm.suppress_debug_info = True

    evil = {"tenant_id": "evil", "workflow_name": "evil", "agent_id": "evil", "user_id": "evil"}
    usage = {"include_usage": True}

    def add(a: int, b: int) -> int:
        "Adds."
        return a + b

    async def asynchronous():
        await litellm.acompletion(model="openai/litellm-async", messages=MESSAGES)
        await ChatOpenAI(model="langchain-async").ainvoke(PROMPT)

    with bind(tenant_id="acme", workflow_name="w", agent_id="a", user_id="u-1"):
        litellm.completion(model="openai/litellm-openai", messages=MESSAGES)
        for _ in litellm.completion(
            model="openai/litellm-stream", messages=MESSAGES, stream=True, stream_options=usage): pass
        litellm.completion(model="anthropic/litellm-anthropic", messages=MESSAGES)
        litellm.embedding(model="openai/litellm-embedding", input=[PROMPT])
        fails(lambda: litellm.completion(model="openai/fail-401-litellm", messages=MESSAGES, max_retries=0))
        chat = ChatOpenAI(model="langchain-openai", max_retries=0)
        chat.bind_tools([add]).invoke(PROMPT, config={"metadata": evil})
        for _ in ChatOpenAI(model="langchain-stream", stream_usage=True).stream(PROMPT): pass
        chain = ChatPromptTemplate.from_messages([("system", SYSTEM), ("user", "{q}")])
        (chain | ChatOpenAI(model="langchain-chain")).invoke({"q": PROMPT}, config={"metadata": evil})
        fails(lambda: ChatOpenAI(model="fail-400-langchain", max_retries=0).invoke(PROMPT))
        asyncio.run(asynchronous())
        unused = [m for m in ("langgraph.pregel", "langchain.agents", "anthropic") if m in sys.modules]
        from langchain.agents import create_agent
        agent = create_agent(ChatOpenAI(model="agent-model"), tools=[add], system_prompt=SYSTEM)
        agent.invoke({"messages": USER})
    print(json.dumps({"unused": unused, "problems": somatrace.status().problems}))
    """
)


@dataclass
class Run:
    """The requests and spans of one program."""

    llm: LlmServer
    otlp: OtlpServer
    done: subprocess.CompletedProcess[str]

    def of(self, model: str) -> list[Received]:
        """The spans with tokens, or a failure, of calls to `model` (litellm puts the provider first)."""
        calls = [s for s in self.otlp.spans if str(s.attributes.get(MODEL)).rpartition("/")[2] == model]
        return [
            span for span in calls if span.status_code == 2 or "gen_ai.usage.input_tokens" in span.attributes
        ]


def _run(source: str, data: Path) -> Iterator[Run]:
    with llm_server() as llm, otlp_server() as otlp:
        env = {
            **llm.env,
            "TRACELOOP_TRACE_CONTENT": "true",
            "SOMATRACE_CONTENT": "never",
            "SOMATRACE_DATA_DIR": str(data),
        }
        yield Run(llm, otlp, run_program(source, otlp_env(otlp.url, **env), timeout=280))


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    yield from _run(CLIENTS, tmp_path_factory.mktemp("clients"))


@pytest.fixture(scope="module")
def frameworks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    yield from _run(FRAMEWORKS, tmp_path_factory.mktemp("frameworks"))


@pytest.mark.slow
class TestOpenaiAndAnthropic:
    @pytest.mark.parametrize("call", CALLS)
    def test_a_call_is_one_span_with_model_tokens_and_finish_reason(self, clients: Run, call: str) -> None:
        (span,) = clients.of(call)

        assert span.attributes["gen_ai.response.model"] == call
        assert span.attributes["gen_ai.usage.input_tokens"] == INPUT_TOKENS
        assert span.attributes["gen_ai.usage.output_tokens"] == OUTPUT_TOKENS
        assert span.attributes["gen_ai.response.finish_reasons"] == ["stop"]

    def test_an_embedding_is_one_span_with_its_input_tokens(self, clients: Run) -> None:
        (span,) = clients.of("openai-embedding")

        assert span.attributes["gen_ai.usage.input_tokens"] == INPUT_TOKENS

    @pytest.mark.parametrize("call", FAILURES)
    def test_a_failed_call_is_one_failed_span_with_its_error_type(self, clients: Run, call: str) -> None:
        (span,) = clients.of(call)

        assert span.status_code == 2
        assert span.attributes["error.type"].endswith("Error")
        assert span.status_message == span.attributes["error.type"]

    def test_every_span_carries_the_tags(self, clients: Run) -> None:
        spans = clients.otlp.spans

        assert len(spans) == len(CALLS) + 1 + len(FAILURES)
        for span in spans:
            tags = {
                name: span.attributes[name] for name in ("tenant_id", "workflow_name", "agent_id", "user_id")
            }
            assert tags == {"tenant_id": "acme", "workflow_name": "w", "agent_id": "a", "user_id": "u-1"}

    @pytest.mark.parametrize("canary", CANARIES)
    def test_no_prompt_answer_or_key_leaves_even_if_environment_and_context_request_it(
        self, clients: Run, canary: str
    ) -> None:
        assert clients.otlp.spans
        assert canary.encode() not in clients.otlp.bytes

    def test_the_instrumentors_do_not_even_record_content(self, clients: Run) -> None:
        removed = " ".join(str(s.attributes.get("somatrace.guard.removed")) for s in clients.otlp.spans)

        assert "messages" not in removed

    def test_providers_get_no_trace_headers(self, clients: Run) -> None:
        assert clients.llm.headers
        assert not [h for h in clients.llm.headers if h.keys() & {"traceparent", "baggage", "tracestate"}]

    def test_headers_passed_by_the_program_are_unchanged(self, clients: Run) -> None:
        assert '"headers": {"x-mine": "sk-KEYCANARY5d81aa"}' in clients.done.stdout

    def test_finished_responses_are_not_kept_in_memory(self, clients: Run) -> None:
        assert '"kept": 0' in clients.done.stdout

    def test_status_lists_the_libraries_that_are_on(self, clients: Run) -> None:
        assert '"openai": "on"' in clients.done.stdout
        assert '"anthropic": "on"' in clients.done.stdout
        assert '"cohere": "waiting for import"' in clients.done.stdout
        assert '"problems": []' in clients.done.stdout


@pytest.mark.slow
class TestLitellmAndLangchain:
    @pytest.mark.parametrize(
        "call",
        [
            "litellm-openai",
            "litellm-stream",
            "litellm-anthropic",
            "litellm-async",
            "langchain-openai",
            "langchain-stream",
            "langchain-chain",
            "langchain-async",
            "agent-model",
        ],
    )
    def test_a_call_through_a_framework_has_its_tokens_on_one_span(self, frameworks: Run, call: str) -> None:
        (span,) = frameworks.of(call)

        assert span.attributes["gen_ai.response.model"] == call
        assert span.attributes["gen_ai.usage.input_tokens"] == INPUT_TOKENS
        assert span.attributes["gen_ai.usage.output_tokens"] == OUTPUT_TOKENS
        assert span.attributes["gen_ai.response.finish_reasons"] == ["stop"]

    @pytest.mark.parametrize("call", ["fail-401-litellm", "fail-400-langchain"])
    def test_a_failed_call_is_one_failed_span(self, frameworks: Run, call: str) -> None:
        (span,) = frameworks.of(call)

        assert span.status_code == 2

    def test_tags_follow_the_span_state_and_not_the_metadata_of_a_chain(self, frameworks: Run) -> None:
        assert frameworks.otlp.spans
        assert {span.attributes["tenant_id"] for span in frameworks.otlp.spans} == {"acme"}
        assert {span.attributes["user.id"] for span in frameworks.otlp.spans} == {"u-1"}
        assert b"evil" not in frameworks.otlp.bytes

    @pytest.mark.parametrize("canary", CANARIES)
    def test_no_prompt_answer_or_key_leaves(self, frameworks: Run, canary: str) -> None:
        assert canary.encode() not in frameworks.otlp.bytes

    def test_langgraph_is_instrumented_when_used_and_not_imported_before(self, frameworks: Run) -> None:
        assert '"unused": []' in frameworks.done.stdout
        assert [span for span in frameworks.otlp.spans if "LangGraph" in span.name or "agent" in span.name]
        assert '"problems": []' in frameworks.done.stdout


@pytest.mark.slow
def test_vector_store_database_and_mcp_calls_are_spans_without_their_texts(tmp_path: Path) -> None:
    source = (
        PRELUDE
        + """
    init_tracing("stores")
    import chromadb
    import sqlalchemy
    from mcp.server.fastmcp import FastMCP
    from mcp.shared.memory import create_connected_server_and_client_session

    server = FastMCP("tools")

    @server.tool()
    def look_up(q: str) -> str:
        return ANSWER

    async def ask():
        async with create_connected_server_and_client_session(server._mcp_server) as session:
            await session.call_tool("look_up", {"q": PROMPT})

    with bind(tenant_id="acme"):
        settings = chromadb.Settings(anonymized_telemetry=False)
        store = chromadb.EphemeralClient(settings).create_collection("notes", embedding_function=None)
        store.add(ids=["1"], embeddings=[[0.1, 0.2]], documents=[PROMPT], metadatas=[{"who": SYSTEM}])
        store.query(query_embeddings=[[0.1, 0.2]], n_results=1, where={"who": SYSTEM})
        with sqlalchemy.create_engine("sqlite://").connect() as connection:
            connection.execute(sqlalchemy.text(f"select '{PROMPT}'"))
        asyncio.run(ask())
    """
    )
    with otlp_server() as otlp:
        run_program(source, otlp_env(otlp.url, SOMATRACE_DATA_DIR=str(tmp_path)), timeout=280)

        names = {span.name for span in otlp.spans}
        assert {"chroma.add", "chroma.query"} <= names
        assert any("look_up" in name for name in names)
        assert any(span.scope.endswith("sqlalchemy") for span in otlp.spans)
        assert {span.attributes["tenant_id"] for span in otlp.spans} == {"acme"}
        assert not [canary for canary in CANARIES if canary.encode() in otlp.bytes]


@pytest.mark.slow
def test_clients_created_before_init_and_imports_in_threads_are_covered(tmp_path: Path) -> None:
    source = (
        PRELUDE
        + """
    import threading
    from anthropic import Anthropic
    early = Anthropic(max_retries=0)
    def load():
        from openai import OpenAI
        with bind(tenant_id="acme"):
            OpenAI().chat.completions.create(model="threaded", messages=MESSAGES)
    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads: thread.start()
    init_tracing("early")
    for thread in threads: thread.join()
    load()
    with bind(tenant_id="acme"):
        early.messages.create(model="early", max_tokens=5, messages=USER)
    assert not somatrace.status().problems, somatrace.status().problems
    """
    )
    with llm_server() as llm, otlp_server() as otlp:
        env = otlp_env(otlp.url, SOMATRACE_DATA_DIR=str(tmp_path), **llm.env)
        run_program(source, env, timeout=280)

        assert len(otlp.named("anthropic.chat")) == 1
        assert len([span for span in otlp.spans if span.scope.startswith("com.anthropic")]) == 0
        assert otlp.named("openai.chat")


def test_installed_libraries_that_are_not_imported_are_not_loaded() -> None:
    done = run_program(
        """
        import sys, somatrace
        somatrace.init_tracing("bare")
        with somatrace.span("work"):
            pass
        somatrace.flush(60)
        watched = ("openai", "anthropic", "litellm", "langchain", "langgraph", "traceloop", "langfuse", "mcp",
                   "chromadb", "sqlalchemy", "botocore", "pydantic", "requests", "httpx",
                   "opentelemetry.instrumentation.openai", "opentelemetry.instrumentation.anthropic")
        print([name for name in watched if name in sys.modules])
        """,
        {"SOMATRACE_TARGET": "none"},
    )

    assert done.stdout == "[]\n"
    assert done.stderr == ""


def test_an_instrumentor_that_fails_to_load_is_reported_and_the_import_succeeds(tmp_path: Path) -> None:
    for name in ("chromadb", "groq"):  # modules with that name that no instrumentor can instrument
        (tmp_path / f"{name}.py").write_text("useful = 42\n")

    done = run_program(
        """
        import sys, somatrace
        somatrace.init_tracing("broken")
        sys.modules["opentelemetry.instrumentation.groq"] = None
        import chromadb, groq
        print(chromadb.useful + groq.useful)
        print(somatrace.status().instruments["chromadb"])
        print(somatrace.status().problems)
        print(somatrace.status().instruments["groq"])
        """,
        {"SOMATRACE_TARGET": "none", "PYTHONPATH": str(tmp_path)},
    )

    answer, chromadb, problems, groq = done.stdout.splitlines()
    assert answer == "84"
    assert chromadb.startswith("failed (ModuleNotFoundError")
    assert "chromadb: its instrumentation failed to load" in problems
    assert groq == "off: needs `pip install opentelemetry-instrumentation-groq`"


@pytest.mark.skipif(
    importlib.util.find_spec("mcp") is None, reason="mcp is not installed in this environment"
)
def test_a_failing_hook_of_an_instrumentor_does_not_fail_the_import() -> None:
    done = run_program(
        """
        import somatrace
        somatrace.init_tracing("hooks")
        import mcp
        from opentelemetry.instrumentation.mcp import instrumentation
        def hook(module):
            raise AttributeError("no streamablehttp_client")
        instrumentation.register_post_import_hook(hook, "colorsys")
        import colorsys
        print(colorsys.__name__, somatrace.status().instruments["mcp"])
        """,
        {"SOMATRACE_TARGET": "none"},
    )

    assert done.stdout == "colorsys failed (AttributeError: no streamablehttp_client)\n"


@pytest.mark.skipif(
    importlib.util.find_spec("mcp") is None, reason="mcp is not installed in this environment"
)
def test_a_library_that_makes_its_own_spans_is_not_instrumented_as_well(tmp_path: Path) -> None:
    newer = tmp_path / "mcp-2.3.0.dist-info"
    newer.mkdir()
    (newer / "METADATA").write_text("Metadata-Version: 2.1\nName: mcp\nVersion: 2.3.0\n")

    done = run_program(
        """
        import os, sys
        sys.path.insert(0, os.environ["NEWER"])
        import somatrace
        somatrace.init_tracing("svc")
        import mcp
        print(somatrace.status().instruments["mcp"])
        print(somatrace.status().problems, "opentelemetry.instrumentation.mcp" in sys.modules)
        """,
        {"SOMATRACE_TARGET": "none", "NEWER": str(tmp_path)},
    )

    state, rest = done.stdout.splitlines()
    assert state == "on (spans of its own: opentelemetry-instrumentation-mcp supports mcp below 2)"
    assert rest == "() False"


def _trees(package: str) -> list[ast.Module]:
    """The modules of an installed instrumentor, which need not be importable here."""
    spec = importlib.util.find_spec(f"opentelemetry.instrumentation.{package}")
    if spec is None or spec.origin is None:
        pytest.skip("its distribution is not installed in this environment")
    return [ast.parse(file.read_text()) for file in Path(spec.origin).parent.rglob("*.py")]


@pytest.mark.parametrize("row", INSTRUMENTED, ids=lambda row: row.name)
def test_every_row_names_an_existing_instrumentor(row: Library) -> None:
    classes = {
        node.name for tree in _trees(row.package) for node in ast.walk(tree) if isinstance(node, ast.ClassDef)
    }

    assert row.instrumentor in classes


@pytest.mark.parametrize("package", [row.package for row in INSTRUMENTED])
def test_content_switches_are_functions_whose_body_can_be_replaced(package: str) -> None:
    """A release that reads the switch in another way must fail here, not in production."""
    reading = [
        node
        for tree in _trees(package)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and _reads_switch(node)
    ]

    for function in reading:
        assert function.name == "should_send_prompts"
        assert not function.decorator_list
        assert not function.args.args


def _reads_switch(function: ast.FunctionDef) -> bool:
    docstring = ast.get_docstring(function, clean=False)
    for node in ast.walk(function):
        if isinstance(node, ast.Name) and node.id.endswith("TRACE_CONTENT"):
            return True
        if isinstance(node, ast.Constant) and node.value != docstring and "TRACE_CONTENT" in str(node.value):
            return True
    return False


def test_an_mcp_server_error_reaches_the_program_as_it_does_without_tracing() -> None:
    done = run_program(
        """
        import anyio
        from somatrace import init_tracing
        init_tracing("svc")
        from mcp.server.fastmcp import FastMCP
        from mcp.shared.exceptions import McpError
        from mcp.shared.memory import create_connected_server_and_client_session
        server = FastMCP("tools")
        async def main():
            async with create_connected_server_and_client_session(server._mcp_server) as session:
                try:
                    print("returned", await session.read_resource("memo://nowhere"))
                except McpError as error:
                    print("raised McpError")
        anyio.run(main)
        """,
        {"SOMATRACE_TARGET": "none"},
    )
    assert done.stdout == "raised McpError\n"


@pytest.mark.slow
def test_a_program_that_turns_warnings_into_errors_is_instrumented_and_keeps_its_filters() -> None:
    source = """
    import openai, warnings
    from somatrace import init_tracing, status
    warnings.simplefilter("error")
    before = list(warnings.filters)
    init_tracing("strict")
    assert warnings.filters == before
    print(status().instruments["openai"], status().problems)
    """
    with otlp_server() as otlp:
        done = run_program(source, otlp_env(otlp.url))

    assert done.stdout == "on ()\n"
