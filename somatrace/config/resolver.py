"""`resolve`: compute the effective settings from `Config` and the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from somatrace import semconv
from somatrace.config import combined, target
from somatrace.config.config_fields import ConfigFields
from somatrace.config.reader import DEFAULT, SettingsReader, known_variables
from somatrace.config.settings import Settings, Target
from somatrace.config.specs import ALSO_READ, BY_NAME, ENVIRONMENT_ATTRIBUTES, REPLACED, SPAN_LIMITS, SPECS
from somatrace.config.unknown_variables import unknown_variables

#: settings whose value is simply that of the first source
_PLAIN: Final = (
    "release",
    "content_policy_file",
    "prices_file",
    "cost_ledger",
    "cost_tags",
    "default_tenant",
    "flush_interval",
    "queue_size",
    "queue_bytes",
    "max_retries",
    "max_latency_ms",
    "local_max_bytes",
    "local_max_days",
    "spool_max_bytes",
    "spool_max_days",
    "trust",
    "trust_keys",
    "propagate_to",
    "edge",
    "pseudonym_key",
    "debug",
)
_SET_ELSEWHERE: Final = frozenset({semconv.SERVICE_NAME, semconv.SERVICE_VERSION, *ENVIRONMENT_ATTRIBUTES})


def resolve(
    service_name: str, config: ConfigFields | None = None, environ: Mapping[str, str] | None = None
) -> Settings:
    """The effective settings. Never raises for a bad value: it falls back to a safe one and adds a Problem.

    Precedence: `config` > SOMATRACE_* > signal-specific OTEL_* > general OTEL_* > LANGFUSE_*, TRACELOOP_*
    > TRACE_CONTENT > default; the target is chosen as a whole (docs/configuration.md). `environ` defaults to
    the process environment. Secret files are read on every call.
    """
    reader = SettingsReader(config, os.environ if environ is None else environ)
    env_file = reader.read("env_file")
    if env_file:
        reader.environment.add_file(reader.label("env_file"), env_file)
    resource = combined.resource_attributes(reader)
    sampler, sample_rate, sample_rules = combined.sampling(reader)
    plain = {name: reader.read(name) for name in _PLAIN}
    destination = target.choose(reader)
    settings = Settings(
        enabled=combined.enabled(reader),
        target=destination,
        service_name=combined.service_name(reader, service_name, resource),
        service_version=combined.service_version(reader, resource),
        environment=combined.environment(reader, resource),
        resource_attributes={key: value for key, value in resource.items() if key not in _SET_ELSEWHERE},
        content=combined.content(reader),
        content_policy=config.content_policy if config is not None else None,
        sampler=sampler,
        sample_rate=sample_rate,
        sample_rules=sample_rules,
        span_limits=combined.span_limits(reader),
        batch_size=combined.batch_size(reader, plain["queue_size"], destination),
        data_dir=_data_dir(reader),
        state_home=_state_home(reader),
        propagators=combined.propagators(reader),
        env_file=env_file,
        sources=reader.sources,
        **plain,
    )
    unused = _unused(reader, settings)
    for problem in unknown_variables(reader.environment.names()):
        reader.report(problem.setting, problem.message)
    reader.sources.update({spec.name: DEFAULT for spec in SPECS if spec.name not in reader.sources})
    return _finished(settings, reader, unused)


def refresh(
    service_name: str, config: ConfigFields | None = None, environ: Mapping[str, str] | None = None
) -> Target:
    """The target with secrets and files read again, for use after a response that rejects the keys.

    While a file is being replaced the result may have another `kind`: keep the old target then.
    """
    return resolve(service_name, config, environ).target


def _finished(settings: Settings, reader: SettingsReader, unused: dict[str, str]) -> Settings:
    from dataclasses import replace

    return replace(settings, problems=tuple(reader.problems), unused=unused)


def _data_dir(reader: SettingsReader) -> str:
    """The configured directory, or "": then the store finds a private one itself."""
    given: str = reader.read("data_dir")
    return os.path.expanduser(given) if given else ""  # noqa: PTH111 - never raises


def _state_home(reader: SettingsReader) -> str:
    """XDG_STATE_HOME if it is an absolute path, as the XDG Base Directory specification requires."""
    state: str = reader.variable("XDG_STATE_HOME", str, "") or ""
    return state if os.path.isabs(state) else ""  # noqa: PTH117


def _unused(reader: SettingsReader, settings: Settings) -> dict[str, str]:
    """Each variable that is set without effect, with its replacement."""
    setting_of = {variable.name: name for name, variable in known_variables()}
    setting_of.update(ALSO_READ)
    setting_of.update({variable: field for field, (variable, _) in SPAN_LIMITS.items()})
    unused = {
        name: f"replaced by {_effective_source(reader, setting, settings)}"
        for name, setting in setting_of.items()
        if reader.found(name) and name not in reader.used
    }
    unused.update({name: instead for name, instead in REPLACED.items() if reader.found(name)})
    operators = reader.found("OTEL_SERVICE_NAME")
    if operators and operators.value == settings.service_name:
        unused.pop("OTEL_SERVICE_NAME", None)
    return unused


def _effective_source(reader: SettingsReader, setting: str, settings: Settings) -> str:
    """The source that decides `setting`: its own, or that of the target if the target does not use it."""
    if setting == "service_name":
        return f"{settings.service_name!r}, the name given in the code"
    if setting == "sample_rate" and reader.sources[setting] == DEFAULT:
        return f"the sampler {settings.sampler} ({reader.sources['sampler']}), which takes no rate from it"
    source = reader.sources.get(setting, DEFAULT)
    if source != DEFAULT or setting not in BY_NAME:
        return f"the program ({setting})" if source == "keyword" else source
    target = reader.sources.get("target", DEFAULT)
    return f"the target {settings.target.kind} ({target}), which does not use it"
