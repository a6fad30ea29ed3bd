"""Decide whether an instrumentation scope belongs to the program itself, by the place of its module."""

from __future__ import annotations

from somatrace.runtime.own_code import is_own_module


def is_program_scope(scope: str) -> bool:
    """Whether the scope is named after a module of the program; all others are a library's."""
    return is_own_module(scope)
