"""ST042: a program calls a model, or a launcher names Python, and no process can be named."""

from __future__ import annotations

from somatrace.check.launch.around import Launch
from somatrace.check.project.source import Sources
from somatrace.check.rules.finding import Finding
from somatrace.check.rules.rule import Rule

_ASK = 'import openai\n\nprint(openai.OpenAI().responses.create(model="m", input="Hello"))\n'

RULE = Rule(
    code="ST042",
    name="unnamed",
    summary="a program calls a model, or a launcher names Python, and no process can be named",
    reason="A process that the check does not know of would pass unseen.",
    message="{what}, so the check knows of no process to follow",
    advice=(
        "name the file in [tool.somatrace.check] entrypoints, or leave it out with `exclude`, or with"
        " `# noqa: ST042 -- <reason>` on this line"
    ),
    broken=f"# app.py\n{_ASK}",
    kept=(
        "# Procfile\nworker: python app.py\n\n# app.py\n"
        f'from somatrace import init_tracing\n\ninit_tracing("ask")\n{_ASK}'
    ),
)


def finding(launch: Launch, service: str, sources: Sources) -> Finding:
    """The finding for a program or launcher without a process."""
    path, line = launch.origin.path, max(launch.line, launch.origin.line)
    message = RULE.message.format(what=launch.unnamed)
    return Finding(path, line, RULE.code, 1, message, RULE.advice, (), service, sources.line(path, line))
