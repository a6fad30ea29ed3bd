"""How a process goes on after its start: loops, exits, exceptions, threads, coroutines, servers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Flow:
    """The body of `main` in a script."""

    name: str
    imports: str
    body: str
    #: the verdict about a call after it; empty where such a call is in time
    after: str
    definitions: str = ""
    #: how the process ends when nothing is recorded before; a failed one shows nothing in a real start
    fails: bool = False


_TAKE = "import acme_queue"

FLOWS = (
    Flow("an endless loop", _TAKE, "while True:\n    acme_queue.take()", "ST002"),
    Flow(
        "a loop in a function",
        _TAKE,
        "consume()",
        "ST002",
        "def consume():\n    while 1:\n        acme_queue.take()",
    ),
    Flow(
        "a loop in a method",
        _TAKE,
        "Worker().run()",
        "ST002",
        "class Worker:\n    def run(self):\n        while True:\n            acme_queue.take()",
    ),
    Flow(
        "a loop over an endless iterator",
        f"import itertools\n{_TAKE}",
        "for number in itertools.count():\n    acme_queue.take()",
        "ST002",
    ),
    Flow(
        "a loop that catches everything",
        _TAKE,
        "while True:\n    try:\n        acme_queue.take()\n    except Exception:\n        print('again')",
        "ST002",
    ),
    Flow(
        "a loop until an interrupt",
        _TAKE,
        "try:\n    while True:\n        acme_queue.take()\nexcept KeyboardInterrupt:\n    print('bye')",
        "ST002 ST003 ST004",
    ),
    Flow(
        "a loop with a clean end",
        _TAKE,
        "try:\n    while True:\n        acme_queue.take()\nfinally:\n    print('bye')",
        "ST002",
    ),
    Flow(
        "a guarded loop",
        f"import threading\n{_TAKE}",
        "stopped = threading.Event()\nwhile not stopped.is_set():\n    acme_queue.take()",
        "ST004 ST002",
    ),
    Flow(
        "a loop that a signal ends",
        f"import signal\n{_TAKE}",
        "signal.signal(signal.SIGTERM, stop)\nwhile running:\n    acme_queue.take()",
        "ST004 ST002",
        "running = True\n\ndef stop(*_):\n    global running\n    running = False",
    ),
    Flow("an exit", "import sys", "sys.exit(work())", "ST002", "def work():\n    return 0"),
    Flow("an exit by exception", "", "raise SystemExit(0)", "ST002"),
    Flow("an exit at once", "import os", "os._exit(0)", "ST002", fails=True),
    Flow("an exception", "", "raise RuntimeError('no work')", "ST002", fails=True),
    Flow("another program", "import os", "os.execvp('true', ['true'])", "ST002", fails=True),
    Flow("a job that ends", "", "print(sum(range(10)))", ""),
    Flow(
        "a loop of coroutines",
        f"import asyncio\n{_TAKE}",
        "asyncio.run(consume())",
        "ST002",
        "async def consume():\n    while True:\n        await acme_queue.take_async()",
    ),
    Flow(
        "a loop in a task",
        f"import asyncio\n{_TAKE}",
        "asyncio.run(supervise())",
        "ST002",
        "async def consume():\n    while True:\n        await acme_queue.take_async()\n\n"
        "async def supervise():\n    task = asyncio.create_task(consume())\n    await task",
    ),
    Flow(
        "a group of tasks",
        f"import asyncio\n{_TAKE}",
        "asyncio.run(supervise())",
        "ST002",
        "async def consume():\n    while True:\n        await acme_queue.take_async()\n\n"
        "async def supervise():\n    async with asyncio.TaskGroup() as group:\n"
        "        group.create_task(consume())\n        group.create_task(consume())",
    ),
    Flow(
        "a loop in a thread",
        f"import asyncio\n{_TAKE}",
        "asyncio.run(supervise())",
        "ST002",
        "def consume():\n    while True:\n        acme_queue.take()\n\n"
        "async def supervise():\n    await asyncio.to_thread(consume)",
    ),
    Flow(
        "a thread that is joined",
        f"import threading\n{_TAKE}",
        "thread = threading.Thread(target=consume)\nthread.start()\nthread.join()",
        "ST002 ST004",
        "def consume():\n    while True:\n        acme_queue.take()",
    ),
    Flow(
        "an executor",
        f"from concurrent.futures import ThreadPoolExecutor\n{_TAKE}",
        "with ThreadPoolExecutor() as pool:\n    pool.submit(consume).result()",
        "ST002 ST004",
        "def consume():\n    while True:\n        acme_queue.take()",
    ),
    Flow(
        "a server",
        "import uvicorn",
        "uvicorn.run(serve, port=0)",
        "ST004",
        "async def serve(scope, receive, send):\n    pass",
    ),
    Flow(
        "a server of coroutines",
        "import asyncio\nimport uvicorn",
        "asyncio.run(supervise())",
        "ST004",
        "async def serve(scope, receive, send):\n    pass\n\n"
        "async def supervise():\n    await uvicorn.Server(uvicorn.Config(serve, port=0)).serve()",
    ),
)
