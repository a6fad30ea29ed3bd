"""The configuration that a program hands over in code."""

from __future__ import annotations

from collections.abc import Mapping

from somatrace.config.config_fields import ConfigFields
from somatrace.config.resolver import resolve
from somatrace.config.settings import ConfigError


class Config(ConfigFields):
    """What a program may set in code; field `x` is the variable `SOMATRACE_X`. None means "not set here".
    `content_policy` is for code alone; its variable is the file's.

    What each field is for stands in docs/configuration.md and `.env.template`. Secrets are not in the repr.
    """

    def check(self, environ: Mapping[str, str] | None = None) -> None:
        """Raise ConfigError, one line per problem, where `init_tracing` would go on with the safe side."""
        problems = resolve("check", self, environ).problems
        if problems:
            raise ConfigError("\n".join(map(str, problems)))
