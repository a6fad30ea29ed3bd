"""Source of programs that pass each kind of value and note who reads it."""

from __future__ import annotations

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
