"""A scope is the program's own if it is named after one of its modules."""

from __future__ import annotations

from somatrace.guard.program_scopes import is_program_scope


def test_only_scopes_named_after_modules_of_the_program_are_its_own() -> None:
    assert is_program_scope(__name__)
    for library in ("", "json", "pytest", "opentelemetry.instrumentation.openai", "not_imported"):
        assert not is_program_scope(library)
