"""`.env.template` holds every variable, with the default it really has and a line that says why."""

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


def test_every_field_of_config_is_in_the_template_and_nothing_else_is_called_ours():
    ours = {name for name in VARIABLES if name.startswith("SOMATRACE_")}

    assert ours == OURS | {f"{name}_FILE" for name in IN_FILES if name in OURS}


def test_every_name_users_already_have_is_in_the_template_and_no_other():
    others = {variable.name for spec in SPECS for variable in spec.others}
    limits = {name for pair in SPAN_LIMITS.values() for name in pair if name}
    files = {f"{name}_FILE" for name in IN_FILES if name not in OURS}

    theirs = {name for name in VARIABLES if not name.startswith("SOMATRACE_")}

    assert theirs == others | set(ALSO_READ) | limits | files


def test_no_variable_stands_twice():
    assert len(VARIABLES) == sum(ASSIGNMENT.fullmatch(line) is not None for line in LINES)


def test_each_variable_has_one_line_that_says_why():
    for before, line in itertools.pairwise(LINES):
        if ASSIGNMENT.fullmatch(line):
            assert re.fullmatch(r"# \S.*", before), line


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_our_variables_say_what_the_setting_is_for(spec):
    position = next(at for at, line in enumerate(LINES) if line.startswith(f"#{spec.variable}="))

    assert LINES[position - 1] == f"# {spec.why}"


def test_the_template_as_it_is_sets_nothing(tmp_path):
    file = tmp_path / ".env"
    file.write_text(TEMPLATE)

    settings = resolve("orchestrator", Config(env_file=str(file)), {})

    assert replace(settings, env_file="", sources={}) == replace(
        resolve("orchestrator", None, {}), sources={}
    )


def test_the_defaults_it_shows_are_the_defaults_there_are(tmp_path):
    file = tmp_path / ".env"
    file.write_text("\n".join(f"{name}={value}" for name, value in VARIABLES.items()))

    settings = resolve("orchestrator", Config(env_file=str(file)), {})

    # a rate of 1 keeps all, as the sampler that is the default does
    assert (settings.sampler, settings.sample_rate) == ("parentbased_traceidratio", 1.0)
    default = replace(resolve("orchestrator", None, {}), sampler=settings.sampler, sources={})
    assert replace(settings, env_file="", sources={}, unused={}) == default


@pytest.mark.parametrize("name", sorted(name for name in VARIABLES if VARIABLES[name]))
def test_each_default_shown_changes_nothing_when_set_alone(name):
    settings = resolve("orchestrator", None, {name: VARIABLES[name]})

    # a rate, even of 1, is kept by the sampler that has one
    by_rate = {"sampler": "parentbased_traceidratio"} if name.endswith("_RATE") else {}
    default = replace(resolve("orchestrator", None, {}), sources={}, **by_rate)
    assert replace(settings, sources={}, unused={}) == default
