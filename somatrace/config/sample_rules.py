"""Rules of SOMATRACE_SAMPLE_RULES: the share of traces that is kept, by tenant and workflow."""

from __future__ import annotations

import re
from fnmatch import translate
from typing import Final, NamedTuple

ADVICE: Final = "use rules such as tenant=free-*:0.1, workflow=health*:off, tenant=a workflow=b:0.5"
#: Between two conditions: names of workflows have spaces.
_CONDITIONS: Final = re.compile(r"\s+(?=\w+=)")
_OFF: Final = "off"


class SampleRule(NamedTuple):
    """Keep `rate` of the traces (0 to 1) whose tenant and workflow match the patterns.

    Spans that failed are kept besides, unless the rate is None.
    """

    tenant: str
    workflow: str
    rate: float | None

    def matches(self, tenant: str, workflow: str) -> bool:
        """Whether the rule is for this work. `*` and `?` match any characters, and a case is a difference."""
        return all(
            re.fullmatch(translate(pattern), name)
            for pattern, name in ((self.tenant, tenant), (self.workflow, workflow))
        )


def sample_rule(part: str) -> str | None:
    """One rule as it is kept; None if it is none."""
    return None if _rule(part) is None else part


def rules_of(parts: tuple[str, ...]) -> tuple[SampleRule, ...]:
    """The rules, in order: the first that matches is in force."""
    return tuple(rule for part in parts if (rule := _rule(part)) is not None)


def _rule(part: str) -> SampleRule | None:
    conditions, _, share = part.rpartition(":")
    given = [condition.partition("=")[::2] for condition in _CONDITIONS.split(conditions.strip())]
    patterns = dict(given)
    word = share.strip().lower()
    try:
        rate = None if word == _OFF else float(word)
    except ValueError:
        return None
    if rate is not None and not 0.0 <= rate <= 1.0:
        return None
    if not given or len(patterns) < len(given) or not all(patterns.values()):
        return None
    if not patterns.keys() <= {"tenant", "workflow"}:
        return None
    return SampleRule(patterns.get("tenant", "*"), patterns.get("workflow", "*"), rate)
