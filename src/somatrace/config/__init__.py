"""Settings: the only reader of the process environment.

`Config` is what a program passes; every field left at None is looked up in the environment.
`resolve` turns both into `Settings`: effective values, where each came from, and what is wrong.
`explain` tells the same as lines, for people. Plain standard library: it is part of every start.
"""

from __future__ import annotations

from somatrace.config.code import Config
from somatrace.config.explaining import Explained, explain
from somatrace.config.model import (
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
from somatrace.config.resolving import refresh, resolve

__all__ = [
    "Compression",
    "Config",
    "ConfigError",
    "ContentDefault",
    "Explained",
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
