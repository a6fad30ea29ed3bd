"""docs/checking.md agrees with the command."""

from __future__ import annotations

import tomllib
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from somatrace.check.command import main
from somatrace.check.rules.catalogue import RULES
from somatrace.check.settings import CheckSettings

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "checking.md").read_text()


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.code)
def test_every_rule_is_documented_with_its_own_examples(rule):
    section = PAGE.partition(f"### {rule.code}\n")[2].partition("\n##")[0]

    assert rule.summary in section
    assert rule.reason in section
    for example in (rule.broken, rule.kept):
        assert example.rstrip() in section


def test_every_setting_is_documented_and_accepted(tmp_path, capsys):
    [block] = [part.partition("\n```")[0] for part in PAGE.split("```toml\n")[1:]]
    (tmp_path / "pyproject.toml").write_text(block)
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs/nightly.py").write_text('from acme import bootstrap\nbootstrap("nightly")\n')
    (tmp_path / "check-baseline.json").write_text('{"version": 1, "findings": []}')

    assert main([str(tmp_path), "--no-cache"]) == 0, capsys.readouterr()
    assert set(tomllib.loads(block)["tool"]["somatrace"]["check"]) == {
        field.name.replace("_", "-") for field in fields(CheckSettings)
    }


def test_the_documented_finding_is_the_printed_one(tmp_path, capsys):
    app = tmp_path / "services/orders/app"
    app.mkdir(parents=True)
    (app / "main.py").write_text(RULES["ST002"].broken)
    (app.parent / "Dockerfile").write_text("FROM python\nWORKDIR /app\nCOPY . .\nCMD uvicorn app.main:app\n")

    main([str(tmp_path), "--no-cache"])

    assert capsys.readouterr().out.partition("\n\n1 process")[0] in PAGE


def test_the_hook_and_the_action_run_the_check_without_extras():
    [hook] = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    action = yaml.safe_load((ROOT / "action.yml").read_text())

    assert hook["id"] == "somatrace-check"
    assert hook["entry"] == "python -I -m somatrace.check"
    assert hook["pass_filenames"] is False
    assert 'python3 -I "$ACTION/ci/check_entrypoints.py"' in action["runs"]["steps"][0]["run"]
