"""Settings: the only reader of the process environment.

`Config` is what a program passes; every field left at None is looked up in the environment.
`resolve` turns both into `Settings`: effective values, where each came from, and what is wrong.
`explain` tells the same as lines, for people. Plain standard library: it is part of every start.
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
