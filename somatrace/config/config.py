"""`Config`: settings given in code."""

from __future__ import annotations

from collections.abc import Mapping

from somatrace.config.config_fields import ConfigFields
from somatrace.config.resolver import resolve
from somatrace.config.settings import ConfigError


class Config(ConfigFields):
    """Settings given in code; field `x` is the variable `SOMATRACE_X`. None means "not set here".
    `content_policy` has no variable of its own; SOMATRACE_CONTENT_POLICY_FILE names a file instead.

    docs/configuration.md and `.env.template` describe each field. The repr contains no secrets.
    """

    def check(self, environ: Mapping[str, str] | None = None) -> None:
        """Raise ConfigError, one line per problem, where `init_tracing` would fall back to safe values."""
        problems = resolve("check", self, environ).problems
        if problems:
            raise ConfigError("\n".join(map(str, problems)))
