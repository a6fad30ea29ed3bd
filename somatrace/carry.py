"""Deprecated name of `somatrace.propagation`. To be removed in 0.3."""

from __future__ import annotations

import warnings
from importlib import import_module


def __getattr__(name: str) -> object:
    if name.startswith("__"):
        raise AttributeError(name)
    found: object = getattr(import_module("somatrace.propagation"), name)
    warnings.warn(
        f"somatrace.carry has moved: use somatrace.propagation.{name}", DeprecationWarning, stacklevel=2
    )
    return found
