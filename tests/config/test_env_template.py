"""`.env.template` lists every variable with its real default and a description."""

from __future__ import annotations

import itertools
import re
from dataclasses import fields, replace
from pathlib import Path

import pytest

from somatrace.config import Config, resolve
from somatrace.config.environment import IN_FILES
from somatrace.config.specs import ALSO_READ, SPAN_LIMITS, SPECS

TEMPLATE = (Path(__file__).parents[2] / ".env.template").read_text()
LINES = TEMPLATE.splitlines()
ASSIGNMENT = re.compile(r"#([A-Z][A-Z0-9_]*)=(.*)")
VARIABLES = {match[1]: match[2] for match in map(ASSIGNMENT.fullmatch, LINES) if match}
OURS = {f"SOMATRACE_{field.name.upper()}" for field in fields(Config)} - {
    "SOMATRACE_CONTENT_POLICY"
}  # code only


def test_the_template_has_every_field_of_config_and_no_other_somatrace_variable():
    ours = {name for name in VARIABLES if name.startswith("SOMATRACE_")}

    assert ours == OURS | {f"{name}_FILE" for name in IN_FILES if name in OURS}


def test_the_template_has_every_supported_variable_of_other_tools_and_no_more():
    others = {variable.name for spec in SPECS for variable in spec.others}
    limits = {name for pair in SPAN_LIMITS.values() for name in pair if name}
    files = {f"{name}_FILE" for name in IN_FILES if name not in OURS}

    theirs = {name for name in VARIABLES if not name.startswith("SOMATRACE_")}

    assert theirs == others | set(ALSO_READ) | limits | files


def test_no_variable_is_listed_twice():
    assert len(VARIABLES) == sum(ASSIGNMENT.fullmatch(line) is not None for line in LINES)


def test_each_variable_has_one_line_of_description():
    for before, line in itertools.pairwise(LINES):
        if ASSIGNMENT.fullmatch(line):
            assert re.fullmatch(r"# \S.*", before), line


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_somatrace_variables_have_the_description_of_their_setting(spec):
    position = next(at for at, line in enumerate(LINES) if line.startswith(f"#{spec.variable}="))

    assert LINES[position - 1] == f"# {spec.why}"


def test_the_unchanged_template_sets_nothing(tmp_path):
    file = tmp_path / ".env"
    file.write_text(TEMPLATE)

    settings = resolve("orchestrator", Config(env_file=str(file)), {})

    assert replace(settings, env_file="", sources={}) == replace(
        resolve("orchestrator", None, {}), sources={}
    )


def test_the_defaults_shown_are_the_real_defaults(tmp_path):
    file = tmp_path / ".env"
    file.write_text("\n".join(f"{name}={value}" for name, value in VARIABLES.items()))

    settings = resolve("orchestrator", Config(env_file=str(file)), {})

    # a rate of 1 keeps all traces, like the default sampler
    assert (settings.sampler, settings.sample_rate) == ("parentbased_traceidratio", 1.0)
    default = replace(resolve("orchestrator", None, {}), sampler=settings.sampler, sources={})
    assert replace(settings, env_file="", sources={}, unused={}) == default


@pytest.mark.parametrize("name", sorted(name for name in VARIABLES if VARIABLES[name]))
def test_each_default_shown_changes_nothing_when_set_alone(name):
    settings = resolve("orchestrator", None, {name: VARIABLES[name]})

    # any rate, even 1, selects the sampler that has one
    by_rate = {"sampler": "parentbased_traceidratio"} if name.endswith("_RATE") else {}
    default = replace(resolve("orchestrator", None, {}), sources={}, **by_rate)
    assert replace(settings, sources={}, unused={}) == default
