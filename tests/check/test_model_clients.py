"""ST040 and the start-up rules know every model client of the registry of libraries."""

from __future__ import annotations

import json

import pytest

from somatrace.check.command import main
from somatrace.check.project import model_clients
from somatrace.libraries import LIBRARIES

#: Not recognized: `agents` is also the name of many programs' own packages.
AMBIGUOUS = {"openai_agents"}

IMPORTS = [
    f"import {name.replace('*', suffix)}\n"
    for row in LIBRARIES
    if row.role != "other"
    for name in row.import_names
    for suffix in (("", "_openai") if "*" in name else ("",))
]
SERVICES = [
    f'import boto3\n\nclient = boto3.client("{service}")\n'
    for row in LIBRARIES
    for service in row.aws_services
]


def check(tmp_path, capsys, source: str) -> list[str]:
    """The findings on a tree with a traced service, and one that has this source and no entrypoint."""
    for path, text in {
        "services/lost/jobs.py": source,
        "services/ok/main.py": 'from somatrace import init_tracing\ninit_tracing("ok")\n',
    }.items():
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text(text)
    main([str(tmp_path), "--json", "--no-cache"])
    return [f"{one['code']} {one['path']}" for one in json.loads(capsys.readouterr().out)]


@pytest.mark.parametrize("source", [*IMPORTS, *SERVICES], ids=lambda source: source.split("\n")[-2])
def test_a_service_that_uses_only_this_client_and_has_no_entrypoint_is_reported(
    source: str, tmp_path, capsys
) -> None:
    assert check(tmp_path, capsys, source) == ["ST040 services/lost/jobs.py"]


@pytest.mark.parametrize("source", ["from google import genai\n", "from openai import OpenAI\n"])
def test_imports_from_a_package_are_recognized(source: str, tmp_path, capsys) -> None:
    assert check(tmp_path, capsys, source) == ["ST040 services/lost/jobs.py"]


@pytest.mark.parametrize(
    "source", ["import sqlalchemy\n", "import openaire\n", "from google import auth\n", "import agents\n"]
)
def test_other_imports_are_not_reported(source: str, tmp_path, capsys) -> None:
    assert check(tmp_path, capsys, source) == []


def test_every_model_client_has_a_name_that_check_recognizes() -> None:
    nameless = {
        row.name for row in LIBRARIES if row.role != "other" and not row.import_names + row.aws_services
    }

    assert nameless == AMBIGUOUS


@pytest.mark.parametrize("source", [*IMPORTS, *SERVICES], ids=lambda source: source.split("\n")[-2])
def test_a_module_that_uses_a_client_is_worth_running(source: str) -> None:
    assert any(word in source.encode() for word in model_clients.WORDS)


@pytest.mark.parametrize(
    ("path", "first"),
    [
        ("openai.OpenAI", None),
        ("openai.chat.completions.create", None),
        ("openai.OpenAI().chat.completions.create", None),
        ("litellm.acompletion", None),
        ("langchain.chat_models.init_chat_model", None),
        ("langchain_openai.ChatOpenAI", None),
        ("google.generativeai.GenerativeModel", None),
        ("google.genai.Client", None),
        ("voyageai.AsyncClient", None),
        ("ollama.chat", None),
        ("boto3.client", "bedrock-runtime"),
        ("boto3.Session().client", "bedrock-agent-runtime"),
        ("aioboto3.Session().client", "sagemaker-runtime"),
        ("botocore.session.get_session().create_client", "bedrock-runtime"),
        ("aiobotocore.session.get_session().create_client", "bedrock-runtime"),
        ("aiobotocore.session.AioSession().create_client", "sagemaker-runtime"),
    ],
)
def test_calls_that_build_or_use_a_model_client_are_recognized(path: str, first: object) -> None:
    assert model_clients.is_client(path, first)


@pytest.mark.parametrize(
    ("path", "first"),
    [
        ("openai.OpenAIError", None),
        ("openai.resources", None),
        ("anthropic.chat", None),
        ("litellm.token_counter", None),
        ("openaire.OpenAI", None),
        ("sqlalchemy.Client", None),
        ("boto3.client", "s3"),
        ("aiobotocore.session.get_session().create_client", "s3"),
        ("boto3.client", None),
    ],
)
def test_other_calls_are_not_model_clients(path: str, first: object) -> None:
    assert not model_clients.is_client(path, first)
