"""A call of a client that is cancelled has a span that says so and has not failed."""

from __future__ import annotations

import pytest

from somatrace import semconv
from tests.support.otlp_server import otlp_server
from tests.support.programs import otlp_env, run_program

pytestmark = pytest.mark.slow

#: A server that takes requests and never answers, and a call that is cancelled once its request has arrived.
SOURCE = """
    import asyncio
    from somatrace import flush, init_tracing
    init_tracing("svc")
    {imports}

    async def main():
        arrived = asyncio.Event()

        async def silent(reader, writer):
            await reader.read(1)
            arrived.set()
            await reader.read()
            writer.close()

        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        url = "http://127.0.0.1:%d" % server.sockets[0].getsockname()[1]
        task = asyncio.create_task({call})
        await arrived.wait()
        task.cancel()
        try:
            await task
        except asyncio.CancelledError as error:
            print(type(error).__name__)
        server.close()

    asyncio.run(main())
    assert flush(60)
    """
MESSAGES = '[{"role": "user", "content": "hello"}]'
CALLS = {
    "openai": (
        "import openai",
        f"""openai.AsyncOpenAI(api_key="k", base_url=url, max_retries=0).chat.completions.create(
            model="m", messages={MESSAGES})""",
    ),
    "anthropic": (
        "import anthropic",
        f"""anthropic.AsyncAnthropic(api_key="k", base_url=url, max_retries=0).messages.create(
            model="m", max_tokens=9, messages={MESSAGES})""",
    ),
}


@pytest.mark.parametrize("library", CALLS)
def test_a_cancelled_call_is_cancelled_and_not_failed(library: str) -> None:
    pytest.importorskip(library, reason=f"{library} is not installed in this environment")
    imports, call = CALLS[library]
    with otlp_server() as server:
        done = run_program(SOURCE.format(imports=imports, call=call), otlp_env(server.url), timeout=280)
        (span,) = server.spans

    assert done.stdout == "CancelledError\n"
    assert span.status_code == 0
    assert span.attributes[semconv.OUTCOME] == "cancelled"
    assert semconv.ERROR_TYPE not in span.attributes
