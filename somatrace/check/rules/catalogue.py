"""The list of all rules, and the text of `--explain`."""

from __future__ import annotations

from somatrace.check.rules import (
    st000_unreadable,
    st001_missing,
    st002_unreachable,
    st003_conditional,
    st004_late,
    st005_client_first,
    st006_shadowed,
    st007_repeated,
    st010_name,
    st011_same_name,
    st020_content_argument,
    st021_content_switch,
    st022_content_attribute,
    st030_bypass,
    st040_no_entrypoint,
    st041_undecidable,
    st042_unnamed,
    st090_no_reason,
    st091_stale,
)

_MODULES = (
    st000_unreadable,
    st001_missing,
    st002_unreachable,
    st003_conditional,
    st004_late,
    st005_client_first,
    st006_shadowed,
    st007_repeated,
    st010_name,
    st011_same_name,
    st020_content_argument,
    st021_content_switch,
    st022_content_attribute,
    st030_bypass,
    st040_no_entrypoint,
    st041_undecidable,
    st042_unnamed,
    st090_no_reason,
    st091_stale,
)
RULES = {module.RULE.code: module.RULE for module in _MODULES}


def explained(code: str) -> str:
    """The text of `--explain`."""
    rule = RULES[code]
    parts = [f"{rule.code} ({rule.name}): {rule.summary}", "", rule.reason]
    for title, example in (("Broken", rule.broken), ("Correct", rule.kept)):
        parts += ["", f"{title}:", "", *(f"    {line}".rstrip() for line in example.rstrip().split("\n"))]
    return "\n".join(parts) + "\n"
