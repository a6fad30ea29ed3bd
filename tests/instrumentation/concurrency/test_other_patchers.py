"""Threads and pools run, and keep their tags, beside other tools that patch them, whoever came first."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.echo_server import Echo
from tests.support.llm_server import llm_server
from tests.support.patchers import FORMS, MONITORS, REAL, installed
from tests.support.programs import run_program

pytestmark = [pytest.mark.slow, pytest.mark.interop]

PROGRAM = """
import asyncio, multiprocessing.pool, sys, threading
from concurrent.futures import ThreadPoolExecutor, ProcessPoolExecutor
from somatrace import Config, bind, bound, init_tracing
from tests.support import patchers

def join(thread):
    thread.start()
    thread.join(60)

def by_thread(work): join(threading.Thread(target=work))
def by_timer(work): join(threading.Timer(0, work))
def by_subclass(work):
    class Worker(threading.Thread):
        def run(self): work()
    join(Worker())
def by_executor(work):
    with ThreadPoolExecutor(1) as pool: pool.submit(work).result(60)
def by_map(work):
    with ThreadPoolExecutor(1) as pool: list(pool.map(lambda _: work(), [1]))
def by_to_thread(work): asyncio.run(asyncio.wait_for(asyncio.to_thread(work), 60))
def by_loop(work):
    async def run():
        await asyncio.wait_for(asyncio.get_running_loop().run_in_executor(None, work), 60)
    asyncio.run(run())
def by_thread_pool(work):
    with multiprocessing.pool.ThreadPool(1) as pool: pool.apply_async(work).get(60)

WAYS = (by_thread, by_timer, by_subclass, by_executor, by_map, by_to_thread, by_loop, by_thread_pool)

def check(moment):
    for way in WAYS:
        for tenant in ("acme", None):
            seen = []
            with bind(tenant_id=tenant):
                way(lambda: seen.append(bound().get("tenant_id")))
            if seen != [tenant]:
                print(moment, way.__name__, tenant, seen)

def trace(): init_tracing("test", config=Config(target="none"))
def patch(): return getattr(patchers, sys.argv[1])()

if __name__ == "__main__":
    threading.excepthook = lambda raised: print("in a thread:", repr(raised.exc_value))
    if sys.argv[2] == "before":
        undo = patch(); trace()
    else:
        trace(); undo = patch()
    check("patched")
    undo()
    check("undone")
    print("done")
"""

CLIENTS = """
import asyncio, sys
from somatrace import Config, bind, init_tracing
from somatrace.testing import capture
from tests.support import patchers

MESSAGES = [{"role": "user", "content": "why"}]

def call():
    import aiohttp, fastapi, httpx, openai, requests
    app = fastapi.FastAPI()

    @app.get("/async/{number}")
    async def first(number: int): return number

    @app.get("/sync/{number}")
    def second(number: int): return number

    async def served(path):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client:
            return (await client.get(path)).text

    async def by_httpx():
        async with httpx.AsyncClient() as client: return (await client.get(URL)).status_code

    async def by_aiohttp():
        async with aiohttp.ClientSession() as session:
            async with session.get(URL) as response: return response.status

    async def answered(**options):
        async with openai.AsyncOpenAI() as client:
            return await client.chat.completions.create(model="m", messages=MESSAGES, **options)

    async def streamed():
        async with openai.AsyncOpenAI() as client:
            chunks = await client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
            return [chunk.choices[0].delta.content async for chunk in chunks]

    def refused():
        try: client.with_options(max_retries=0).chat.completions.create(model="fail-429", messages=MESSAGES)
        except Exception as error: return type(error).__name__

    client = openai.OpenAI()
    completions = client.chat.completions
    print(httpx.get(URL).status_code, asyncio.run(by_httpx()), requests.get(URL).status_code)
    print(asyncio.run(by_aiohttp()), asyncio.run(served("/async/1")), asyncio.run(served("/sync/2")))
    print(completions.create(model="m", messages=MESSAGES).choices[0].message.content)
    print(completions.with_raw_response.create(model="m", messages=MESSAGES).parse().id)
    with completions.create(model="m", messages=MESSAGES, stream=True) as chunks:
        print([chunk.choices[0].delta.content for chunk in chunks])
    print(asyncio.run(answered()).choices[0].message.content, asyncio.run(streamed()), refused())

if ORDER == "alone":
    getattr(patchers, TOOL)()
    call()
else:
    if ORDER == "before": getattr(patchers, TOOL)()
    init_tracing("test", config=Config(target="none"))
    if ORDER == "after": getattr(patchers, TOOL)()
    with capture("test") as captured, bind(tenant_id="acme"):
        call()
    assert {span.attributes["tenant_id"] for span in captured.spans} == {"acme"}
    assert len([span for span in captured.spans if span.name == "openai.chat"]) == 6
"""

each_order = pytest.mark.parametrize("order", ["before", "after"])


def run_beside(patcher, order: str, root: Path, directory: Path) -> str:
    source = PROGRAM.replace("sys.argv[1]", repr(patcher.__name__)).replace("sys.argv[2]", repr(order))
    return run_program(source, {"PYTHONPATH": str(root)}, directory=directory, timeout=280).stdout


def needs(patcher) -> None:
    if not installed(patcher):
        pytest.skip(f"{patcher.__name__} is not installed: `make interop`")


@each_order
@pytest.mark.parametrize("patcher", FORMS, ids=lambda patcher: patcher.__name__)
def test_work_keeps_its_tenant_beside_wrappers_of_every_form(patcher, order, root, tmp_path) -> None:
    assert run_beside(patcher, order, root, tmp_path) == "done\n"


@each_order
@pytest.mark.parametrize("patcher", MONITORS, ids=lambda patcher: patcher.__name__)
def test_clients_and_servers_give_the_same_results_beside_the_tools(patcher, order, root, tmp_path) -> None:
    needs(patcher)
    echo = Echo()
    with llm_server() as server:

        def output(order: str) -> str:
            source = f"TOOL, ORDER, URL = {patcher.__name__!r}, {order!r}, 'http://127.0.0.1:{echo.port}'\n{CLIENTS}"
            env = {"PYTHONPATH": str(root), **server.env}
            return run_program(source, env, directory=tmp_path, timeout=280).stdout

        assert output(order) == output("alone") != ""
    echo.close()


@each_order
@pytest.mark.parametrize("patcher", REAL, ids=lambda patcher: patcher.__name__)
def test_work_keeps_its_tenant_beside_the_tools_themselves(patcher, order, root, tmp_path) -> None:
    needs(patcher)
    assert run_beside(patcher, order, root, tmp_path) == "done\n"
