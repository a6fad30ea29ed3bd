"""Settings. The only package that reads the process environment.

`Config` holds settings given in code; every field left at None is looked up in the environment.
`resolve` turns both into `Settings`: effective values, the source of each, and any problems.
`explain` gives the same as lines for people. Standard library only: it is part of every startup.
"""

from __future__ import annotations

from somatrace.config.config import Config
from somatrace.config.explainer import ExplainedSetting, explain
from somatrace.config.resolver import refresh, resolve
from somatrace.config.settings import (
    Compression,
    ConfigError,
    ContentDefault,
    Problem,
    Protocol,
    Settings,
    SpanLimits,
    Target,
    TargetKind,
)

__all__ = [
    "Compression",
    "Config",
    "ConfigError",
    "ContentDefault",
    "ExplainedSetting",
    "Problem",
    "Protocol",
    "Settings",
    "SpanLimits",
    "Target",
    "TargetKind",
    "explain",
    "refresh",
    "resolve",
]
