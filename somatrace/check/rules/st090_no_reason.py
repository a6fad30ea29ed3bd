"""ST090: a suppression has no reason."""

from __future__ import annotations

from dataclasses import replace

from somatrace.check.rules.finding import Finding
from somatrace.check.rules.rule import Rule

RULE = Rule(
    code="ST090",
    name="no-reason",
    summary="a suppression has no reason",
    reason="Write `# noqa: ST003 -- why`, so that the next reader knows.",
    message="{code} is suppressed without a reason",
    advice="write `# noqa: {code} -- why`",
    broken="from fastapi import FastAPI  # noqa: ST001\n\napp = FastAPI()\n",
    kept="from fastapi import FastAPI  # noqa: ST001 -- a health check, no model\n\napp = FastAPI()\n",
)


def finding(suppressed: Finding) -> Finding:
    """The finding that replaces a suppressed one."""
    code = suppressed.code
    message, advice = RULE.message.format(code=code), RULE.advice.format(code=code)
    return replace(suppressed, code=RULE.code, message=message, help=advice, chain=())
