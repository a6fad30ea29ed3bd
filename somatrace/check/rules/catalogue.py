"""The rules: what each code means, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. `broken` and `kept` are a service's `main.py` that uvicorn imports, or several files, each
    under a comment that names it.
    """

    code: str
    name: str
    says: str
    why: str
    broken: str
    kept: str


_APP = "from fastapi import FastAPI\nfrom somatrace import init_tracing\n\n"
_GOOD = f'{_APP}init_tracing("orders")\napp = FastAPI()\n'

_ALL = (
    Rule(
        "ST000",
        "unreadable",
        "an entrypoint, or a module of the tree on its path, cannot be read or parsed",
        "Python would fail on it too, so nothing can be said about tracing.",
        f"{_APP}init_tracing(\napp = FastAPI()\n",
        _GOOD,
    ),
    Rule(
        "ST001",
        "missing",
        "`init_tracing` is never called",
        "The process sends no trace at all: no LLM call, cost or tenant of it is ever seen.",
        "from fastapi import FastAPI\n\napp = FastAPI()\n",
        _GOOD,
    ),
    Rule(
        "ST002",
        "unreachable",
        "`init_tracing` is called in the source, but not on the path that this process runs",
        "The launcher decides what runs: a server imports the module, so a `__main__` guard "
        "in it never does.",
        f'{_APP}app = FastAPI()\nif __name__ == "__main__":\n    init_tracing("orders")\n',
        _GOOD,
    ),
    Rule(
        "ST003",
        "conditional",
        "`init_tracing` is called on some paths only",
        "Whether production is traced hangs on a value that nobody looks at. Use "
        "SOMATRACE_TARGET=none to switch it off.",
        f'import os\n{_APP}if os.getenv("TRACING"):\n    init_tracing("orders")\napp = FastAPI()\n',
        _GOOD,
    ),
    Rule(
        "ST004",
        "late",
        "`init_tracing` is called after the process has begun to serve, per request, at exit, or on a thread",
        "What was served before it is lost, and every call after the first does nothing.",
        f'{_APP}app = FastAPI()\n\n\n@app.get("/")\ndef read() -> None:\n    init_tracing("orders")\n',
        _GOOD,
    ),
    Rule(
        "ST005",
        "client-first",
        "a model client is built or called before `init_tracing`",
        "Some clients (bedrock-runtime) lose their LLM spans when they exist before instrumentation does.",
        f'import openai\n{_APP}client = openai.OpenAI()\ninit_tracing("orders")\napp = FastAPI()\n',
        f'import openai\n{_APP}init_tracing("orders")\nclient = openai.OpenAI()\napp = FastAPI()\n',
    ),
    Rule(
        "ST006",
        "shadowed",
        "the function that is called is named `init_tracing` but is not somatrace's",
        "The line looks right and does something else.",
        "from fastapi import FastAPI\nfrom acme_tools import init_tracing\n\n"
        'init_tracing("orders")\napp = FastAPI()\n',
        _GOOD,
    ),
    Rule(
        "ST007",
        "repeated",
        "`init_tracing` is certainly called twice in one process",
        "The second call does nothing, so its name or settings are not those in use.",
        f'{_APP}init_tracing("orders")\ninit_tracing("orders-api")\napp = FastAPI()\n',
        _GOOD,
    ),
    Rule(
        "ST010",
        "name",
        "the service name is missing, empty, or not a constant of the source",
        "Traces are found by service name; one that run time decides cannot be looked up or checked.",
        f'import os\n{_APP}init_tracing(os.environ["NAME"])\napp = FastAPI()\n',
        _GOOD,
    ),
    Rule(
        "ST011",
        "same-name",
        "two services have one service name",
        "Their traces and costs become one heap.",
        f"# services/orders/app/main.py\n{_GOOD}\n# services/quotes/app/main.py\n{_GOOD}",
        f"# services/orders/app/main.py\n{_GOOD}\n# services/quotes/app/main.py\n"
        + _GOOD.replace("orders", "quotes"),
    ),
    Rule(
        "ST020",
        "content-argument",
        "`trace_content=True`",
        "Content is opened per tenant in the policy file, with an end and a reason, never in code.",
        f'{_APP}init_tracing("orders", trace_content=True)\napp = FastAPI()\n',
        f'{_APP}init_tracing("orders", trace_content=False)\napp = FastAPI()\n',
    ),
    Rule(
        "ST021",
        "content-switch",
        "a content switch (TRACE_CONTENT, TRACELOOP_TRACE_CONTENT) is turned on in code or image",
        "It opens every tenant's prompts at once.",
        f'import os\n{_APP}os.environ["TRACELOOP_TRACE_CONTENT"] = "true"\n'
        'init_tracing("orders")\napp = FastAPI()\n',
        f'import os\n{_APP}os.environ["TRACELOOP_TRACE_CONTENT"] = "false"\n'
        'init_tracing("orders")\napp = FastAPI()\n',
    ),
    Rule(
        "ST022",
        "content-attribute",
        "prompt or completion text is put on a span by hand",
        "Use `content(input=, output=)`: the guard then decides by the tenant's policy.",
        f'from opentelemetry import trace\n{_APP}init_tracing("orders")\napp = FastAPI()\n\n\n'
        "def note(text: str) -> None:\n"
        '    trace.get_current_span().set_attribute("gen_ai.prompt", text)\n',
        f'from opentelemetry import trace\n{_APP}init_tracing("orders")\napp = FastAPI()\n\n\n'
        "def note(text: str) -> None:\n"
        '    trace.get_current_span().set_attribute("tenant_id", text)\n',
    ),
    Rule(
        "ST030",
        "bypass",
        "a second tracing pipeline is set up beside somatrace",
        "What it exports does not pass the guard, and spans arrive twice.",
        f'from langfuse import Langfuse\n{_APP}init_tracing("orders")\nlangfuse = Langfuse()\n'
        "app = FastAPI()\n",
        _GOOD,
    ),
    Rule(
        "ST040",
        "no-entrypoint",
        "a directory under `services/` uses a model client and has no entrypoint that is known",
        "Nobody can say whether it runs, and whether it is traced when it does.",
        "# services/orders/answering.py\nimport openai\n\nclient = openai.OpenAI()\n",
        "# services/orders/answering.py\nimport openai\n\nclient = openai.OpenAI()\n\n"
        f"# services/orders/app/main.py\n{_GOOD}",
    ),
    Rule(
        "ST041",
        "undecidable",
        "a launcher's target is missing, or cannot be decided without running it",
        "What cannot be proved counts as untraced.",
        f"# Procfile\nweb: uvicorn $APP\n\n# app.py\n{_GOOD}",
        f"# Procfile\nweb: uvicorn app:app\n\n# app.py\n{_GOOD}",
    ),
    Rule(
        "ST090",
        "no-reason",
        "a suppression gives no reason",
        "Write `# noqa: ST003 -- why`: the next reader has to know.",
        "from fastapi import FastAPI  # noqa: ST001\n\napp = FastAPI()\n",
        "from fastapi import FastAPI  # noqa: ST001 -- a health check, no model\n\napp = FastAPI()\n",
    ),
    Rule(
        "ST091",
        "stale",
        "a suppression or baseline entry that no longer meets a finding",
        "It would hide the next one.",
        f'{_APP}init_tracing("orders")  # noqa: ST003 -- behind a flag\napp = FastAPI()\n',
        _GOOD,
    ),
)
RULES = {rule.code: rule for rule in _ALL}


def explained(code: str) -> str:
    """The text of `--explain`."""
    rule = RULES[code]
    parts = [f"{rule.code} ({rule.name}): {rule.says}", "", rule.why]
    for title, example in (("Broken", rule.broken), ("Kept", rule.kept)):
        parts += ["", f"{title}:", "", *(f"    {line}".rstrip() for line in example.rstrip().split("\n"))]
    return "\n".join(parts) + "\n"
