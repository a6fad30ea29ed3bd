"""ST005: a model client is created or called before `init_tracing`."""

from __future__ import annotations

from somatrace.check.rules.finding import Finding
from somatrace.check.rules.process_findings import ProcessFindings
from somatrace.check.rules.rule import APP, Rule
from somatrace.check.run.machine import InitCall, SeenEvent

RULE = Rule(
    code="ST005",
    name="client-first",
    summary="a model client is created or called before `init_tracing`",
    reason=(
        "Some clients (bedrock-runtime) lose their LLM spans if they are created before instrumentation "
        "is installed."
    ),
    message="`{client}` is used here, before `init_tracing` in {call}: its spans can be lost",
    advice="move `init_tracing` before this line",
    broken=f'import openai\n{APP}client = openai.OpenAI()\ninit_tracing("orders")\napp = FastAPI()\n',
    kept=f'import openai\n{APP}init_tracing("orders")\nclient = openai.OpenAI()\napp = FastAPI()\n',
)


def finding(process: ProcessFindings, client: SeenEvent, calls: list[InitCall]) -> Finding:
    """The finding, at the first use of a client."""
    call = f"{calls[-1].place.path}:{calls[-1].place.line}" if calls else "later"
    message = RULE.message.format(client=client.what, call=call)
    return process.finding(RULE, client.place, message, client.chain)
