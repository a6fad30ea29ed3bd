"""Only the configured target and the program's own model provider are contacted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.llm_server import CANARIES, llm_server
from tests.support.otlp_server import otlp_server
from tests.support.programs import run_program

#: Refuses and reports every address that is not allowed. In a network namespace without routes, lookups
#: and attempts would go unnoticed.
AUDIT = """
    import json, os, sys
    allowed = {("127.0.0.1", int(port)) for port in os.environ["ALLOWED_PORTS"].split(",")}
    refused, contacted = [], set()

    def audit(event, args):
        if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
            address = args[1]
            if isinstance(address, tuple) and address[:2] in allowed:
                contacted.add(address[:2])
                return
        elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
            if args[0] in ("127.0.0.1", "localhost", None):
                return
            address = args[0]
        else:
            return
        refused.append(f"{event} {address!r}")
        raise PermissionError(f"{event} {address!r}")

    sys.addaudithook(audit)
    """

WORK = (
    AUDIT
    + f"""
    import asyncio, warnings
    PROMPT, SYSTEM, ANSWER, KEY = {CANARIES!r}
    from somatrace import bind, flush, init_tracing, span, status
    init_tracing("svc")
    import anthropic, openai
    from langchain_openai import ChatOpenAI
    from langfuse import get_client, observe
    from traceloop.sdk.decorators import workflow

    user = [{{"role": "user", "content": PROMPT}}]
    picture = {{"type": "image_url", "image_url": {{"url": "data:image/png;base64,QUJD"}}}}

    @workflow(name="flow")
    @observe()
    def work():
        client = openai.OpenAI(max_retries=0)
        client.chat.completions.create(model="gpt-4o", messages=user)
        client.chat.completions.create(model="gpt-4o", messages=[{{"role": "user", "content": [picture]}}])
        for _ in client.chat.completions.create(model="gpt-4o", messages=user, stream=True):
            pass  # a stream without usage, which some libraries count with a downloaded table
        client.embeddings.create(model="text-embedding-3-small", input=PROMPT)
        anthropic.Anthropic(max_retries=0).messages.create(model="claude", max_tokens=5, messages=user)
        ChatOpenAI(model="gpt-4o").invoke(PROMPT)
        try:
            client.chat.completions.create(model="fail-500", messages=user)
        except openai.InternalServerError:
            pass

    with bind(tenant_id="acme"), span("all", kind="workflow"):
        work()
    get_client().flush()
    flush(60)
    assert not [name for name in ("litellm", "chromadb") if name in sys.modules]
    assert status().delivered == status().created, status()
    print(json.dumps({{"refused": refused, "contacted": sorted(port for _, port in contacted)}}))
    """
)


def _environment(target: str, provider: str, data: Path, llm_env: dict[str, str]) -> dict[str, str]:
    ports = ",".join(url.rpartition(":")[2] for url in (target, provider))
    return {
        "LANGFUSE_PUBLIC_KEY": "pk-lf-1",
        "LANGFUSE_SECRET_KEY": "sk-lf-1",
        "LANGFUSE_BASE_URL": target,
        "SOMATRACE_DATA_DIR": str(data),
        "ALLOWED_PORTS": ports,
        **llm_env,
    }


@pytest.mark.slow
def test_only_the_target_and_the_model_provider_are_contacted(tmp_path: Path) -> None:
    with llm_server() as llm, otlp_server() as target:
        done = run_program(WORK, _environment(target.url, llm.url, tmp_path, llm.env), timeout=280)

        report = json.loads(done.stdout)
        assert report["refused"] == []
        assert len(report["contacted"]) == 2
        assert {"all", "flow.workflow", "work", "openai.chat", "anthropic.chat", "ChatOpenAI.chat"} <= {
            span.name for span in target.spans
        }
        assert set(target.paths) == {"/api/public/otel/v1/traces"}


@pytest.mark.slow
def test_the_same_work_succeeds_in_a_network_without_routes(root: Path, tmp_path: Path) -> None:
    isolated = ["unshare", "--map-root-user", "--net", "--"]
    if subprocess.run(
        [*isolated, "ip", "link", "set", "lo", "up"], capture_output=True, check=False
    ).returncode:
        pytest.skip("this machine does not allow network namespaces")
    inside = f"""
import pathlib, sys
sys.path.insert(0, {str(root)!r})
from tests.instrumentation.test_egress import WORK, _environment
from tests.support.llm_server import llm_server
from tests.support.otlp_server import otlp_server
from tests.support.programs import run_program
with llm_server() as llm, otlp_server() as target:
    data = pathlib.Path({str(tmp_path)!r})
    run_program(WORK, _environment(target.url, llm.url, data, llm.env), timeout=280)
    print(len(target.spans))
"""

    command = f'ip link set lo up && exec "{sys.executable}" -'
    done = subprocess.run(
        [*isolated, "sh", "-c", command],
        input=inside,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 9


def test_nothing_is_contacted_before_the_first_span_and_without_a_target(tmp_path: Path) -> None:
    for target in ("otlp", "local", "none"):
        done = run_program(
            AUDIT
            + """
    import threading
    from somatrace import init_tracing, status
    init_tracing("svc")
    status()
    print(refused, sorted(contacted), threading.active_count())
    """,
            {"ALLOWED_PORTS": "1", "SOMATRACE_TARGET": target, "SOMATRACE_DATA_DIR": str(tmp_path / "d")},
        )

        assert done.stdout == "[] [] 1\n"
