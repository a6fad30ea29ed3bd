"""Variables that look like settings and are none are reported, with the setting that was probably meant."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import environment_variables as api_variables
from opentelemetry.sdk import environment_variables as sdk_variables

from somatrace.config import resolve
from somatrace.config.reader import known_variables


def problems(environ: dict[str, str]) -> list[str]:
    return [str(problem) for problem in resolve("service", environ=environ).problems]


@pytest.mark.parametrize(
    ("misspelled", "meant"),
    [
        ("SOMATRACE_TARGT", "SOMATRACE_TARGET"),
        ("SOMATRACE_CONTENT_POLICY", "SOMATRACE_CONTENT_POLICY_FILE"),
        ("SOMATRACE_SAMPLERATE", "SOMATRACE_SAMPLE_RATE"),
        ("SOMATRACE_LANGFUSE_SECRET_KEY_FIEL", "SOMATRACE_LANGFUSE_SECRET_KEY_FILE"),
        ("somatrace_target", "SOMATRACE_TARGET"),
        ("LANGFUSE_SECRT_KEY", "LANGFUSE_SECRET_KEY"),
        ("LANGFUSE_HSOT", "LANGFUSE_HOST"),
        ("LANGFUSE_URL", "LANGFUSE_BASE_URL"),
        ("LANGFUSE_PUBLIC", "LANGFUSE_PUBLIC_KEY"),
        ("OTEL_EXPORTER_OTLP_ENDPIONT", "OTEL_EXPORTER_OTLP_ENDPOINT"),
        ("OTEL_EXPORTER_OTLP_HEADER", "OTEL_EXPORTER_OTLP_HEADERS"),
        ("OTEL_SERVICENAME", "OTEL_SERVICE_NAME"),
    ],
)
def test_a_misspelled_variable_names_the_one_that_was_meant(misspelled, meant):
    [line] = problems({misspelled: "value-of-it"})

    assert line.startswith(f"{misspelled}: ")
    assert line.endswith(f"did you mean {meant}?")
    assert "value-of-it" not in line


def test_an_unknown_variable_of_somatrace_that_resembles_none_is_reported():
    assert problems({"SOMATRACE_WXYZ": "1"}) == [
        "SOMATRACE_WXYZ: not a setting of somatrace, ignored: docs/configuration.md lists all settings"
    ]


def test_every_variable_that_is_read_is_known():
    names = [variable.name for _, variable in known_variables()]

    lines = problems(dict.fromkeys(names, "x"))

    assert not [line for line in lines if "did you mean" in line or "not a setting" in line]


def test_variables_of_other_tools_are_not_mistaken_for_misspelled_ones():
    langfuse = pytest.importorskip("langfuse._client.environment_variables", reason="the extra langfuse")
    names = {
        name
        for module in (api_variables, sdk_variables, langfuse)
        for name in vars(module)
        if name.startswith(("OTEL_", "LANGFUSE_"))
    }
    assert len(names) > 90

    lines = problems(dict.fromkeys(sorted(names), "1"))

    assert not [line for line in lines if "did you mean" in line]


@pytest.mark.parametrize("service", ["SOMATRACE", "SOMATRACE_LOCAL"])
def test_kubernetes_variables_of_a_service_named_somatrace_are_not_settings(service):
    links = {
        f"{service}_SERVICE_HOST": "10.0.0.1",
        f"{service}_SERVICE_PORT": "4318",
        f"{service}_SERVICE_PORT_HTTP": "4318",
        f"{service}_PORT": "tcp://10.0.0.1:4318",
        f"{service}_PORT_4318_TCP": "tcp://10.0.0.1:4318",
        f"{service}_PORT_4318_TCP_PROTO": "tcp",
        f"{service}_PORT_4318_TCP_PORT": "4318",
        f"{service}_PORT_4318_TCP_ADDR": "10.0.0.1",
    }

    assert problems(links) == []


def test_empty_variables_are_not_set():
    assert problems({"SOMATRACE_TARGT": ""}) == []


def test_a_misspelled_variable_in_a_dotenv_file_is_reported_with_its_place(tmp_path):
    file = tmp_path / ".env"
    file.write_text("SOMATRACE_TARGT=none\n")

    assert problems({"SOMATRACE_ENV_FILE": str(file)}) == [
        "SOMATRACE_TARGT (env file): not a setting of somatrace, ignored: did you mean SOMATRACE_TARGET?"
    ]


def test_at_most_ten_are_reported():
    assert len(problems({f"SOMATRACE_UNKNOWN_{number}": "1" for number in range(50)})) == 10


@given(st.dictionaries(st.text(min_size=1).map("SOMATRACE_{}".format), st.text(), max_size=3))
def test_no_name_breaks_a_log_line(environ):
    for line in problems(environ):
        assert "\n" not in line
        assert len(line) < 400
