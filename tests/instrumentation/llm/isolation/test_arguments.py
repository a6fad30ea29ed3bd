"""The program's arguments reach the client as they are: same bytes, and nothing else reads them."""

from __future__ import annotations

import importlib.util
import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from somatrace.instrumentation.llm.isolation.passive import passive
from tests.support.llm_server import llm_server
from tests.support.programs import run_program

PRELUDE = """
import asyncio, collections, collections.abc, dataclasses, json, os, random, types, typing
import pydantic, wrapt
MODE = os.environ["MODE"]
if MODE != "off":
    import somatrace
    from somatrace.config import Config
    from somatrace.guard.policy import callable_source
    callable_source.LIMIT = 60.0  # a busy machine takes long to ask
    grant = {"content": "redacted", "reason": "a test"} if MODE == "content" else None
    def policy(tenant): return grant
    somatrace.init_tracing("svc", config=Config(target="none", content_policy=policy))
    somatrace.bind(tenant_id="acme").__enter__()

reads, outcomes = [], []

class Noted:
    def __init__(self, value): self.value = value
    def __iter__(self):
        reads.append("iter")
        return iter(self.value)

class NotedList(list):
    def __iter__(self):
        reads.append("list iter")
        return super().__iter__()
    def __len__(self):
        reads.append("list len")
        return super().__len__()
    def __getitem__(self, at):
        reads.append("list item")
        return super().__getitem__(at)

class NotedDict(dict):
    def get(self, key, default=None):
        reads.append("dict get")
        return super().get(key, default)
    def items(self):
        reads.append("dict items")
        return super().items()
    def __getitem__(self, key):
        reads.append("dict item")
        return super().__getitem__(key)

class Text(str):
    def __str__(self):
        reads.append("str")
        return str.__str__(self)

class Model(pydantic.BaseModel):
    role: str
    content: typing.Any
    @pydantic.model_serializer(mode="wrap")
    def dumped(self, handler):
        reads.append("dump")
        return handler(self)

class Typed(typing.TypedDict):
    role: str
    content: str

@dataclasses.dataclass
class Data:
    role: str
    content: str

class Attributes:
    def __init__(self, role, content): self._values = {"role": role, "content": content}
    def __getattr__(self, name):
        if name.startswith("_"): raise AttributeError(name)
        reads.append("attribute " + name)
        return self._values[name]

def lazily(make):
    def made():
        reads.append("made")
        return make()
    return wrapt.LazyObjectProxy(made)

SEQUENCES = [
    list, tuple, iter, NotedList, collections.deque, collections.UserList, Noted,
    lambda v: (item for item in v), lambda v: map(lambda item: item, v), lambda v: filter(None, v),
    lambda v: dict(enumerate(v)).values(), lambda v: lazily(lambda: list(v)),
]
MESSAGES = [
    dict, NotedDict, collections.OrderedDict, collections.UserDict, types.MappingProxyType,
    lambda v: Model(**v), lambda v: Typed(**v), lambda v: Data(**v), lambda v: Attributes(**v),
    lambda v: lazily(lambda: dict(v)),
    lambda v: collections.defaultdict(list, v),
]
TEXTS = [str, Text, lambda v: lazily(lambda: v), lambda v: [{"type": "text", "text": v}],
         lambda v: ({"type": "text", "text": t} for t in [v])]

def arguments():
    "Each kind once, then random combinations."
    for make in SEQUENCES: yield make([{"role": "user", "content": "hello"}])
    for make in MESSAGES: yield [make({"role": "user", "content": "hello"})]
    for make in TEXTS: yield [{"role": "user", "content": make("hello")}]
    chance = random.Random(19)
    for _ in range(25):
        turns = [{"role": role, "content": chance.choice(TEXTS)("turn %d" % i)}
                 for i, role in enumerate(["user", "assistant", "user"])]
        yield chance.choice(SEQUENCES)([chance.choice(MESSAGES)(turn) for turn in turns])

def outcome(error):
    outcomes.append([type(error).__name__, str(error)[:60].partition(" at 0x")[0], list(reads)])
    reads.clear()

def each(call):
    for value in arguments():
        try:
            answer = call(value)
            if hasattr(answer, "__next__"): list(answer)
            outcome(None)
        except Exception as error:
            outcome(error)

async def aeach(call):
    for value in arguments():
        try:
            await call(value)
            outcome(None)
        except Exception as error:
            outcome(error)
"""
CALLS = {
    "openai": """
import openai
o, oa = openai.OpenAI(max_retries=0), openai.AsyncOpenAI(max_retries=0)
each(lambda v: o.chat.completions.create(model="m", messages=v))
each(lambda v: o.chat.completions.create(model="m", messages=v, stream=True))
each(lambda v: o.chat.completions.parse(model="m", messages=v))
each(lambda v: o.responses.create(model="m", input=v))
each(lambda v: o.responses.create(model="m", input="x", metadata=v))
each(lambda v: o.embeddings.create(model="m", input=v))
each(lambda v: o.chat.completions.with_raw_response.create(model="m", messages=v))
asyncio.run(aeach(lambda v: oa.chat.completions.create(model="m", messages=v)))
asyncio.run(aeach(lambda v: oa.responses.create(model="m", input=v)))
""",
    "anthropic": """
import anthropic
a, aa = anthropic.Anthropic(max_retries=0), anthropic.AsyncAnthropic(max_retries=0)
each(lambda v: a.messages.create(model="m", max_tokens=5, messages=v))
each(lambda v: a.messages.create(model="m", max_tokens=5, messages=v, stream=True))
each(lambda v: a.messages.create(model="m", max_tokens=5, system=v, messages=[]))
asyncio.run(aeach(lambda v: aa.messages.create(model="m", max_tokens=5, messages=v)))
""",
    "litellm": """
import litellm
litellm.suppress_debug_info = True
class Nothing(list):
    def append(self, _): "Its threads read the arguments as well, at any time."
reads = Nothing()
each(lambda v: litellm.completion(model="openai/m", messages=v, max_retries=0))
each(lambda v: litellm.embedding(model="openai/m", input=v, max_retries=0))
""",
}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("library", CALLS)
def test_requests_are_the_same_without_tracing_with_it_and_with_content(library: str) -> None:
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed in this environment")

    def run(mode: str) -> tuple[list[bytes], object]:
        with llm_server() as llm:
            source = PRELUDE + CALLS[library] + "\nprint(json.dumps(outcomes))\n"
            done = run_program(source, {**llm.env, "MODE": mode}, timeout=400)
            return llm.bodies, json.loads(done.stdout.splitlines()[-1])

    with ThreadPoolExecutor() as pool:
        off, on, content = pool.map(run, ("off", "on", "content"))

    assert len(off[0]) > 20
    assert on[0] == off[0]
    assert content[0] == off[0]
    assert on[1] == off[1]
    assert content[1] == off[1]


_PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
_NESTED = st.recursive(
    _PLAIN,
    lambda inner: (
        st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.text() | st.integers(), inner)
    ),
)


@given(_NESTED)
def test_lists_tuples_dicts_and_plain_values_are_read_as_they_are(value: object) -> None:
    assert passive(value, ()) == value


@given(st.lists(_NESTED))
def test_iterators_stay_unread_wherever_they_are(values: list[object]) -> None:
    iterator = iter(values)

    passive({"messages": [{"content": iterator}, (iterator,)]}, ())

    assert list(iterator) == values
