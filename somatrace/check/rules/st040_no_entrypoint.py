"""ST040: a service uses a model client and has no known entrypoint."""

from __future__ import annotations

from collections.abc import Iterator

from somatrace.check.project import model_clients
from somatrace.check.project.source import Sources
from somatrace.check.rules.finding import Finding
from somatrace.check.rules.rule import TRACED, Rule

RULE = Rule(
    code="ST040",
    name="no-entrypoint",
    summary="a directory under `services/` uses a model client and has no known entrypoint",
    reason="The check cannot tell whether it runs, or whether it is traced when it does.",
    message="`{service}` uses a model client and has no known entrypoint",
    advice="add a launcher or `app/main.py`, or list it in [tool.somatrace.check] entrypoints",
    broken="# services/orders/answering.py\nimport openai\n\nclient = openai.OpenAI()\n",
    kept=(
        "# services/orders/answering.py\nimport openai\n\nclient = openai.OpenAI()\n\n"
        f"# services/orders/app/main.py\n{TRACED}"
    ),
)


def findings(service: str, paths: list[str], sources: Sources) -> Iterator[Finding]:
    """The finding for a service without a process, at the first of its files that imports a client."""
    user = next((path for path in paths if sources.matches(path, model_clients.IMPORTS)), None)
    if user is not None:
        message = RULE.message.format(service=service)
        yield Finding(user, 1, RULE.code, 1, message, RULE.advice, (), service, sources.line(user, 1))
