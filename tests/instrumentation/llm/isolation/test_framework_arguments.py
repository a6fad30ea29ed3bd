"""What the program passes into a framework is read by the framework alone, also where content is recorded."""

from __future__ import annotations

import importlib.util
import json
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.instrumentation.llm.isolation.argument_kinds import PRELUDE
from tests.support.llm_server import llm_server
from tests.support.programs import run_program

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

KINDS = """
class Awkward:
    def __init__(self, *_): pass
    def __str__(self): reads.append("str"); return "awkward"
    def __repr__(self): reads.append("repr"); raise RuntimeError("no repr")
    def __iter__(self): reads.append("iter"); raise RuntimeError("no iter")
    def __bool__(self): reads.append("bool"); raise RuntimeError("no bool")
    def __eq__(self, other): reads.append("eq"); raise RuntimeError("no eq")
    def to_json(self): reads.append("to_json"); return "x"
    __hash__ = object.__hash__

@dataclasses.dataclass
class Deep:
    value: object
    def __deepcopy__(self, memo):
        reads.append("deepcopy")
        return self

def outcome(error):
    "An exception is recorded with its text, for which some libraries ask the values inside."
    noted = [read for read in reads if error is None or read not in ("repr", "str", "made")]
    outcomes.append([type(error).__name__, str(error)[:60].partition(" at 0x")[0], noted])
    reads.clear()

SEQUENCES += [Awkward, lambda v: {"a": Deep(Awkward(v))}, Deep]
"""
CALLS = {
    "langchain_openai": """
from langchain_core.runnables import RunnableLambda, RunnablePassthrough
from langchain_core.messages import HumanMessage, AIMessage
from langchain_core.tools import tool, StructuredTool
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_openai import ChatOpenAI, OpenAI
class Kept(HumanMessage):
    def model_dump(self, *a, **k):
        reads.append("model_dump"); return super().model_dump(*a, **k)
    def to_json(self):
        reads.append("to_json"); return super().to_json()
MESSAGES += [lambda v: Kept(v["content"])]
chain = RunnableLambda(lambda v: v)
llm = ChatOpenAI(model="m", max_retries=0)
each(lambda v: chain.invoke(v))
each(lambda v: chain.invoke({"x": v}))
each(lambda v: list(chain.stream(v)))
each(lambda v: chain.batch([v]))
each(lambda v: chain.invoke(1, {"metadata": {"x": v}, "tags": ["a"]}))
each(lambda v: chain.invoke(1, {"configurable": {"x": v, "thread_id": v}}))
each(lambda v: llm.invoke(v))
each(lambda v: llm.stream(v))
each(lambda v: llm.invoke("x", stop=v))
each(lambda v: llm.invoke("x", extra_body={"y": v}))
each(lambda v: llm.bind_tools(v).invoke("x"))
each(lambda v: llm.generate([[HumanMessage("x")]], metadata=v))
asyncio.run(aeach(lambda v: llm.ainvoke(v)))
asyncio.run(aeach(lambda v: chain.ainvoke({"x": v})))
@tool
def t(x: typing.Any) -> typing.Any:
    "A tool."
    return x
each(lambda v: t.invoke({"x": v}))
asyncio.run(aeach(lambda v: t.ainvoke({"x": v})))
class R(BaseRetriever):
    def _get_relevant_documents(self, query, *, run_manager):
        return [Document("a", metadata={"x": query})]
each(lambda v: R().invoke(v))
async def events(v):
    async for _ in chain.astream_events({"x": v}, version="v2"): pass
asyncio.run(aeach(events))
""",
    "langgraph": """
from langgraph.graph import StateGraph, START, MessagesState
from langgraph.types import Command, Send
from langgraph.prebuilt import ToolNode, create_react_agent
from langchain_core.messages import HumanMessage, AIMessage
from langchain_core.language_models.fake_chat_models import FakeListChatModel, GenericFakeChatModel
from langchain_core.tools import tool
class State(typing.TypedDict):
    x: typing.Any
def graph(node, state=State, **more):
    g = StateGraph(state); g.add_node("node", node); g.add_edge(START, "node")
    for n, f in more.items(): g.add_node(n, f)
    return g.compile()
class PState(pydantic.BaseModel):
    x: typing.Any = None
@dataclasses.dataclass
class DState:
    x: typing.Any = None
for S in (State, PState, DState):
    app = graph(lambda s: {"x": 1}, S)
    each(lambda v: app.invoke({"x": v}))
    each(lambda v: app.stream({"x": v}))
    asyncio.run(aeach(lambda v: app.ainvoke({"x": v})))
app = graph(lambda s: {"x": 1})
each(lambda v: app.invoke({"x": 1}, v))
each(lambda v: app.invoke({"x": 1}, {"configurable": {"thread_id": v}}))
each(lambda v: app.invoke({"x": 1}, {"run_name": v}))
each(lambda v: graph(lambda s: {"x": v}).invoke({"x": 1}))
each(lambda v: graph(lambda s: Command(goto=v)).invoke({"x": 1}))
each(lambda v: graph(lambda s: Command(update={"x": v}, goto="other"), other=lambda s: None).invoke({"x": 1}))
app2 = graph(lambda s: None, MessagesState)
each(lambda v: app2.invoke({"messages": v}))
import warnings; warnings.simplefilter("ignore")
@tool
def add(a: int) -> int:
    "Add."
    return a
def tools_of(make):
    return make([add])
class Fake(GenericFakeChatModel):
    def bind_tools(self, tools, **k):
        return self
HELLO = {"messages": [("user", "x")]}
def model():
    return Fake(messages=iter([AIMessage("x")]))
def agent(make):
    create_react_agent(model(), make([add])).invoke(HELLO)
from langchain.agents import create_agent
def agent2(make):
    create_agent(model(), tools=make([add])).invoke(HELLO)
for a in (agent, agent2):
    for make in SEQUENCES:
        try: a(make); outcome(None)
        except Exception as e: outcome(e)
each(lambda v: create_agent(model(), [], system_prompt=v).invoke(HELLO))
""",
    "pydantic_ai": """
from openai import AsyncOpenAI
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.models.function import FunctionModel
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart
from pydantic_ai.providers.openai import OpenAIProvider
def model():
    return OpenAIChatModel("m", provider=OpenAIProvider(openai_client=AsyncOpenAI(max_retries=0)))
agent = Agent(model(), name="a")
def call_t(messages, info):
    if len(messages) == 1: return ModelResponse(parts=[ToolCallPart("t", {}, tool_call_id="c")])
    return ModelResponse(parts=[TextPart("done")])
def tooled(v):
    made = Agent(FunctionModel(call_t), name="a")
    @made.tool_plain
    def t() -> typing.Any:
        return v
    return made.run("x")
async def streamed(v):
    async with agent.run_stream(v) as answer:
        async for _ in answer.stream_text(): pass
async def main():
    await aeach(lambda v: agent.run(v))
    await aeach(lambda v: agent.run("x", deps=v))
    await aeach(lambda v: agent.run("x", message_history=v))
    await aeach(lambda v: agent.run("x", model_settings={"extra_body": {"y": v}}))
    await aeach(lambda v: agent.run("x", metadata={"y": v}))
    await aeach(lambda v: Agent(model(), instructions=v).run("x"))
    await aeach(tooled)
    await aeach(streamed)
asyncio.run(main())
""",
    "agents": """
from openai import AsyncOpenAI
from agents import Agent, ModelSettings, OpenAIChatCompletionsModel, OpenAIResponsesModel, Runner, Usage
from agents import function_tool, generation_span
from agents.models.interface import Model as AgentModel
from agents.tracing import get_trace_provider
multi = get_trace_provider()._multi_processor
multi._processors = tuple(one for one in multi._processors if "opentelemetry" in type(one).__module__)
from agents.items import ModelResponse
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText
def responses(): return OpenAIResponsesModel(model="m", openai_client=AsyncOpenAI(max_retries=0))
def chat(): return OpenAIChatCompletionsModel(model="m", openai_client=AsyncOpenAI(max_retries=0))
class Calling(AgentModel):
    def __init__(self): self.turn = 0
    async def get_response(self, *args, **kwargs):
        self.turn += 1
        text = ResponseOutputText(type="output_text", text="done", annotations=[])
        kinds = {"type": "message", "role": "assistant", "status": "completed"}
        message = ResponseOutputMessage(id="m", **kinds, content=[text])
        call = ResponseFunctionToolCall(type="function_call", call_id="c", name="t", arguments="{}")
        with generation_span(model="m", input=kwargs["input"]):
            output = [call if self.turn == 1 else message]
            return ModelResponse(output=output, usage=Usage(), response_id=None)
    async def stream_response(self, *args, **kwargs):
        raise NotImplementedError
        yield
def tooled(v):
    @function_tool
    def t() -> typing.Any:
        "A tool."
        return v
    return Runner.run(Agent(name="a", model=Calling(), tools=[t]), "x")
async def streamed(v):
    async for _ in Runner.run_streamed(Agent(name="a", model=responses()), v).stream_events(): pass
def dynamic(v):
    return Agent(name="a", model=responses(), instructions=lambda *_: v)
async def main():
    for model in (responses, chat):
        await aeach(lambda v: Runner.run(Agent(name="a", model=model()), v))
        await aeach(lambda v: Runner.run(Agent(name="a", model=model(), instructions=v), "x"))
        settings = lambda v: ModelSettings(extra_body={"y": v})
        await aeach(lambda v: Runner.run(Agent(name="a", model=model(), model_settings=settings(v)), "x"))
    await aeach(lambda v: Runner.run(Agent(name="a", model=responses()), "x", context=v))
    await aeach(lambda v: Runner.run(dynamic(v), "x"))
    await aeach(tooled)
    await aeach(streamed)
asyncio.run(main())
""",
    "agno": """
from agno.agent import Agent
from agno.models.openai import OpenAIChat
from agno.team import Team
from agno.tools.function import Function, FunctionCall
def model(): return OpenAIChat(id="m", max_retries=0)
def agent(**more): return Agent(**{"name": "a", "model": model(), "telemetry": False, **more})
def team(): return Team([agent()], model=model(), telemetry=False, name="t")
each(lambda v: agent().run(v))
each(lambda v: agent().run(v, stream=True))
each(lambda v: agent().run("x", session_state={"y": v}))
each(lambda v: agent(instructions=v).run("x"))
each(lambda v: agent(name=v).run("x"))
each(lambda v: team().run(v))
each(lambda v: team().run(v, stream=True))
def given(x: typing.Any = None) -> typing.Any:
    "A tool."
    return x
def failing(x: typing.Any = None) -> typing.Any:
    "A tool."
    raise LookupError(x)
def called(v, tool=given): return FunctionCall(function=Function.from_callable(tool), arguments={"x": v})
each(lambda v: called(v).execute())
each(lambda v: called(v, failing).execute())
async def streamed(v):
    async for _ in agent().arun(v, stream=True): pass
async def main():
    await aeach(lambda v: agent().arun(v))
    await aeach(streamed)
    await aeach(lambda v: called(v).aexecute())
asyncio.run(main())
""",
    "crewai": """
import concurrent.futures
os.environ |= dict(CREWAI_DISABLE_TELEMETRY="true", CREWAI_DISABLE_TRACKING="true")
from crewai import LLM, Agent, Crew, Task
from crewai.tools import tool
from litellm.litellm_core_utils.thread_pool_executor import executor
logged, submit, noted = [], executor.submit, outcome
def submitted(*args, **kwargs):
    logged.append(submit(*args, **kwargs))
    return logged[-1]
executor.submit = submitted
def outcome(error):
    "A thread of litellm reads a call's messages too, at any time."
    concurrent.futures.wait(logged)
    reads.sort()
    noted(error)
given = dict(base_url=os.environ["OPENAI_BASE_URL"], api_key="k")
def native(**more): return LLM(model="openai/m", **given, **more)
def gateway(**more): return LLM(model="openai/m", is_litellm=True, max_retries=0, **given, **more)
for model in (native, gateway):
    each(lambda v: model().call(v))
    each(lambda v: model(stop=v).call("x"))
    asyncio.run(aeach(lambda v: model().acall(v)))
def agent(**more): return Agent(**{"role": "r", "goal": "g", "backstory": "b", "llm": native(), **more})
def crew(**task):
    made = agent()
    task = Task(**{"description": "d", "expected_output": "e", "agent": made, **task})
    return Crew(agents=[made], tasks=[task])
each(lambda v: crew(description="d {x}").kickoff(inputs={"x": v}))
each(lambda v: agent().kickoff(v))
@tool("given")
def tooled(x: typing.Any) -> typing.Any:
    "A tool."
    return x
each(lambda v: tooled.run(x=v))
""",
    "haystack": """
os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"
from haystack import AsyncPipeline, Document, Pipeline, component
from haystack.components.builders import ChatPromptBuilder, PromptBuilder
from haystack.components.generators import OpenAIGenerator
from haystack.components.generators.chat import OpenAIChatGenerator
from haystack.dataclasses import ChatMessage
def model(**more): return OpenAIChatGenerator(model="m", max_retries=0, **more)
@component
class Given:
    @component.output_types(out=typing.Any)
    def run(self, x: typing.Any):
        return {"out": x}
def piped(kind=Pipeline):
    made = kind(); made.add_component("given", Given())
    return made
def prompted():
    made = Pipeline()
    made.add_component("builder", ChatPromptBuilder([ChatMessage.from_user("hi {{x}}")]))
    made.add_component("model", model())
    made.connect("builder.prompt", "model.messages")
    return made
def user(v): return [ChatMessage.from_user("x", meta={"y": v})]
each(lambda v: piped().run({"given": {"x": v}}))
each(lambda v: piped().run(v))
each(lambda v: prompted().run({"builder": {"x": v}}))
each(lambda v: prompted().run({"builder": {"x": "y", "template": v}}))
each(lambda v: model().run(v))
each(lambda v: model().run(user(v)))
each(lambda v: model().run(user(1), generation_kwargs={"extra_body": {"y": v}}))
each(lambda v: model(tools=v).run(user(1)))
each(lambda v: OpenAIGenerator(model="m").run(v))
asyncio.run(aeach(lambda v: model().run_async(v)))
asyncio.run(aeach(lambda v: piped(AsyncPipeline).run_async({"given": {"x": v}})))
""",
    "llama_index": """
from llama_index.core import Document, PromptTemplate, SummaryIndex
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.llms import MockLLM
from llama_index.core.tools import FunctionTool
from llama_index.core.workflow import StartEvent, StopEvent, Workflow, step
from llama_index.llms.openai import OpenAI
class Passing(Workflow):
    @step
    async def passed(self, event: StartEvent) -> StopEvent:
        return StopEvent(result=event.get("x"))
def model(**more): return OpenAI(model="gpt-4o-mini", max_retries=0, **more)
def user(v): return [ChatMessage("x", additional_kwargs={"y": v})]
def given(x: typing.Any) -> typing.Any:
    "A tool."
    return x
tool = FunctionTool.from_defaults(given)
def told(v): return SummaryIndex.from_documents([Document(text="x", metadata={"y": 1})])
engine = lambda v: told(v).as_query_engine(llm=MockLLM())
each(lambda v: model().chat(v))
each(lambda v: model().chat(user(v)))
each(lambda v: model().stream_chat(v))
each(lambda v: model().complete(v))
each(lambda v: model().complete("x", extra_body={"y": v}))
each(lambda v: model(additional_kwargs={"extra_body": {"y": v}}).chat(user(1)))
each(lambda v: model().predict(PromptTemplate("hi {x}"), x=v))
each(lambda v: tool.call(x=v))
each(lambda v: engine(v).query(v))
async def main():
    await aeach(lambda v: model().achat(v))
    await aeach(lambda v: tool.acall(x=v))
    await aeach(lambda v: Passing().run(x=v))
asyncio.run(main())
""",
    "smolagents": """
from smolagents import OpenAIServerModel, Tool, ToolCallingAgent
given = dict(api_base=os.environ["OPENAI_BASE_URL"], api_key="k")
def model(**more): return OpenAIServerModel("m", **given, client_kwargs={"max_retries": 0}, **more)
class Add(Tool):
    name, description, output_type = "add", "Adds.", "integer"
    inputs = {"a": {"type": "integer", "description": "a number"}}
    def forward(self, a: int) -> int:
        return a
def agent(tools, **more): return ToolCallingAgent(tools, model(), max_steps=1, verbosity_level=0, **more)
each(lambda v: model()(v))
each(lambda v: model(extra_body={"y": v})([{"role": "user", "content": "x"}]))
each(lambda v: model().generate([{"role": "user", "content": "x"}], stop_sequences=v))
each(lambda v: agent([Add()]).run(v))
each(lambda v: agent([Add()]).run("x", additional_args={"y": v}))
for make in SEQUENCES:
    try: agent(make([Add()])).run("x"); outcome(None)
    except Exception as error: outcome(error)
""",
    "mcp": """
import anyio
from mcp import ClientSession
from mcp.types import JSONRPCResponse, JSONRPCMessage
from mcp.shared.message import SessionMessage
import mcp.types as T
wire = []
async def main():
    to_server, at_server = anyio.create_memory_object_stream(10)
    to_client, at_client = anyio.create_memory_object_stream(10)
    async def serve():
        async for m in at_server:
            wire.append(m.message.model_dump_json(by_alias=True, exclude_none=True))
            r = m.message.root
            if not hasattr(r, "id"): continue
            if r.method == "initialize":
                result = {"protocolVersion": T.LATEST_PROTOCOL_VERSION, "capabilities": {"tools": {}},
                          "serverInfo": {"name": "s", "version": "1"}}
            elif r.method == "tools/list":
                result = {"tools": []}
            else:
                result = {"content": [{"type": "text", "text": "hi"}]}
            response = JSONRPCResponse(jsonrpc="2.0", id=r.id, result=result)
            await to_client.send(SessionMessage(JSONRPCMessage(response)))
    async with anyio.create_task_group() as tg:
        tg.start_soon(serve)
        async with ClientSession(at_client, to_server) as s:
            await s.initialize()
            await aeach(lambda v: s.call_tool("t", {"x": v}))
            await aeach(lambda v: s.call_tool("t", v))
            await aeach(lambda v: s.call_tool("t", {"x": 1}, meta={"y": v}))
            await aeach(lambda v: s.get_prompt("p", {"x": v}))
            await aeach(lambda v: s.read_resource(v))
            def request(v):
                params = T.CallToolRequestParams(name="t", arguments={"x": v})
                return T.ClientRequest(T.CallToolRequest(params=params))
            await aeach(lambda v: s.send_request(request(v), T.CallToolResult))
        tg.cancel_scope.cancel()
asyncio.run(main())
outcomes.append(wire)
""",
}


def _without_addresses(body: bytes) -> bytes:
    """A request, with the texts of objects as they are in any process."""
    return re.sub(rb"0x[0-9a-f]+", b"0x", body)


@pytest.mark.parametrize("framework", CALLS)
def test_values_are_read_as_without_tracing(framework: str) -> None:
    if importlib.util.find_spec(framework) is None:
        pytest.skip(f"{framework} is not installed in this environment")

    def run(mode: str) -> tuple[list[bytes], list[object]]:
        with llm_server() as llm:
            source = PRELUDE + KINDS + CALLS[framework] + "\nprint(json.dumps(outcomes))\n"
            done = run_program(source, {**llm.env, "MODE": mode}, timeout=600)
            return llm.bodies, json.loads(done.stdout.splitlines()[-1])

    with ThreadPoolExecutor() as pool:
        off, on, content = pool.map(run, ("off", "on", "content"))

    assert len(off[1]) > 100
    for traced in (on, content):
        assert list(map(_without_addresses, traced[0])) == list(map(_without_addresses, off[0]))
        assert [pair for pair in zip(off[1], traced[1], strict=True) if pair[0] != pair[1]] == []
