"""A program that takes random steps on the answers of clients, and notes what each step gave.

The same program runs without tracing, with it and with content.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.support.programs import run_program

PRELUDE = """
import asyncio, collections, copy, gc, inspect, io, json, os, pickle, random, types
MODE = os.environ["MODE"]
spans = []
gc.disable()  # a stream that is collected inside httpx waits for the lock of its own pool
if MODE != "off":
    import somatrace
    from somatrace.config import Config
    from somatrace.guard.policy import callable_source
    callable_source.LIMIT = 60.0  # a busy machine takes long to ask
    grant = {"content": "redacted", "reason": "a test"} if MODE == "content" else None
    def policy(tenant): return grant
    somatrace.init_tracing("svc", config=Config(target="none", content_policy=policy))
    somatrace.bind(tenant_id="acme").__enter__()
    from opentelemetry import trace
    from opentelemetry.sdk.trace import SpanProcessor
    class Counts(SpanProcessor):
        def on_start(self, span, parent_context=None): spans.append(span)
    trace.get_tracer_provider().add_span_processor(Counts())

MESSAGES = [{"role": "user", "content": "hello"}]
chance, log = random.Random(7), []

def shown(value):
    if isinstance(value, (str, bytes, int, float, bool, type(None))): return repr(value)
    if isinstance(value, (list, tuple, set)): return [shown(item) for item in value]
    dump = getattr(value, "model_dump", None)
    if dump is not None:
        fields = {k: v for k, v in dump().items() if k not in ("id", "created")}
        return type(value).__name__ + " " + repr(fields)
    if isinstance(value, dict): return {str(k): shown(v) for k, v in value.items()}
    return "a " + type(value).__module__ + "." + type(value).__qualname__

def kinds(answer):
    mro = [base.__qualname__ for base in type(answer).__mro__]
    abstract = [kind.__name__ for kind in (
        collections.abc.Iterator, collections.abc.Iterable, collections.abc.Generator,
        collections.abc.AsyncIterator, collections.abc.AsyncIterable, collections.abc.AsyncGenerator,
        collections.abc.Awaitable, io.IOBase,
    ) if isinstance(answer, kind)]
    return [mro, abstract, inspect.isgenerator(answer), inspect.isasyncgen(answer)]

def public(answer):
    return sorted(name for name in dir(answer) if not name.startswith("__"))

def attributes(answer):
    return sorted(vars(answer)) if hasattr(answer, "__dict__") else None

def pickled(answer):
    return len(pickle.dumps(answer)) > 0

def copied(answer):
    twin = copy.copy(answer)
    return [type(twin).__qualname__, sorted(vars(twin)) if hasattr(twin, "__dict__") else None]

def within(answer):
    with answer as inner:
        return [shown(inner), inner is answer]

PASSIVE = [kinds, public, attributes, copied, pickled, repr_ := (lambda a: repr(a).partition(" at 0x")[0])]
READING = {
    "next": lambda a: next(a),
    "iter": lambda a: next(iter(a)),
    "rest": lambda a: list(a),
    "break": lambda a: [item for item, _ in zip(a, range(1))],
    "with": within,
    "close": lambda a: a.close(),
    "missing": lambda a: a.no_such_attribute,
    "truth": lambda a: bool(a),
    "self": lambda a: iter(a) is a,
}

async def anext_(a): return await a.__anext__()
async def arest(a): return [item async for item in a]
async def abreak(a):
    async for item in a: return item
async def awithin(a):
    async with a as inner: return [shown(inner), inner is a]
async def aclose(a):
    return await (a.aclose() if hasattr(a, "aclose") else a.close())

AREADING = {"anext": anext_, "arest": arest, "abreak": abreak, "awith": awithin, "aclose": aclose}

def settle():
    "Leave what the libraries have made out of every later collection, which else takes most of the time."
    if not log:
        gc.collect()
        gc.freeze()

def note(name, step, outcome, error):
    if error is not None:
        context = type(error.__context__).__name__
        log.append([name, step, type(error).__name__, str(error).partition(" at 0x")[0], context])
    else:
        log.append([name, step, outcome])

def drive(name, make, more={}, rounds=10):
    settle()
    for _ in range(rounds):
        answer = make()
        steps = {**READING, **more}
        for step in [chance.choice(PASSIVE)] + chance.choices(sorted(steps), k=4) + [chance.choice(PASSIVE)]:
            try:
                outcome = shown((steps[step] if isinstance(step, str) else step)(answer))
                note(name, str(getattr(step, "__name__", step)), outcome, None)
            except Exception as error:
                note(name, str(getattr(step, "__name__", step)), None, error)
        del answer
        gc.collect()

async def adrive(name, make, more={}, rounds=10):
    settle()
    for _ in range(rounds):
        answer = make()
        if inspect.isawaitable(answer): answer = await answer
        steps = {**AREADING, **more}
        for step in [chance.choice(PASSIVE)] + chance.choices(sorted(steps), k=4) + [chance.choice(PASSIVE)]:
            try:
                outcome = (steps[step] if isinstance(step, str) else step)(answer)
                if inspect.isawaitable(outcome): outcome = await outcome
                note(name, str(getattr(step, "__name__", step)), shown(outcome), None)
            except Exception as error:
                note(name, str(getattr(step, "__name__", step)), None, error)
        del answer
        gc.collect()
async def main(): pass
"""
EPILOGUE = """
asyncio.run(main())
gc.collect()
print(json.dumps({"log": log, "started": len(spans),
                  "open": sorted(s.name for s in spans if s.is_recording())}))
"""


def assert_same_answers(source: str, env: Mapping[str, str]) -> dict[str, Any]:
    """Run the steps of `source` in each mode: they give the same, and every span ends. Returns the output."""

    def run(mode: str) -> dict[str, Any]:
        done = run_program(PRELUDE + source + EPILOGUE, {**env, "MODE": mode}, timeout=800)
        output: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return output

    with ThreadPoolExecutor() as pool:
        off, on, content = pool.map(run, ("off", "on", "content"))

    for number, step in enumerate(off["log"]):
        assert on["log"][number] == step
        assert content["log"][number] == step
    assert len(on["log"]) == len(content["log"]) == len(off["log"]) > 0
    assert on["started"] == content["started"] != 0
    assert (on["open"], content["open"]) == ([], [])
    return on
