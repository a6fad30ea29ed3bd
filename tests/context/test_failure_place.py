"""Where an exception was raised: types and the program's own frames, without any text, in bounded time."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import weakref
from collections.abc import Callable

import pytest

from somatrace.context.failure_place import MAX_EXCEPTIONS, MAX_FRAMES, failure_place

CANARY = "canary-9313"


class Local:
    pass


def raised(run: Callable[[], object]) -> BaseException:
    try:
        run()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def lines(run: Callable[[], object]) -> list[str]:
    return failure_place(raised(run)).split("\n")


def failing() -> None:
    raise KeyError(CANARY)


def line_of(function: Callable[[], object], offset: int = 1) -> int:
    return function.__code__.co_firstlineno + offset


def test_the_type_is_followed_by_frames_innermost_first() -> None:
    found = lines(failing)
    assert found[:2] == ["KeyError", f"  at {__name__}:failing:{line_of(failing)}"]
    assert found[2].startswith(f"  at {__name__}:raised:")
    assert len(found) == 3


def test_frames_of_libraries_and_the_standard_library_are_left_out() -> None:
    def decode() -> None:
        json.loads("{", object_hook=dict)

    found = lines(decode)
    assert found[0] == "json.decoder.JSONDecodeError"
    assert [line.split(":")[0] for line in found[1:]] == [f"  at {__name__}"] * 2


def test_causes_contexts_and_members_of_groups_follow_with_their_own_frames() -> None:
    def group() -> None:
        members = [raised(failing), raised(lambda: 1 / 0)]
        try:
            failing()
        except KeyError as error:
            raise ExceptionGroup(CANARY, members) from error  # type: ignore[type-var]

    heads = [line for line in lines(group) if not line.startswith("  ")]
    assert heads == ["ExceptionGroup", "with KeyError", "with ZeroDivisionError", "caused by KeyError"]


def test_a_context_is_followed_unless_it_is_suppressed() -> None:
    def again(*, suppressed: bool) -> None:
        try:
            failing()
        except KeyError:
            if suppressed:
                raise ValueError(CANARY) from None
            raise ValueError(CANARY)  # noqa: B904 - the implicit context is what is tested

    assert any(line == "while handling KeyError" for line in lines(lambda: again(suppressed=False)))
    assert "KeyError" not in failure_place(raised(lambda: again(suppressed=True)))


def test_arguments_notes_and_attributes_are_not_read() -> None:
    class QuotingError(Exception):
        detail = CANARY

        def __str__(self) -> str:
            raise AssertionError("the text is not asked for")

        __repr__ = __str__

        @property
        def __cause__(self) -> BaseException:  # type: ignore[override]
            raise AssertionError("nor a property of the class")

    def run() -> None:
        error = QuotingError(CANARY)
        error.add_note(CANARY)
        raise error

    assert CANARY not in failure_place(raised(run))


def test_names_without_the_form_of_identifiers_do_not_appear() -> None:
    made = type(f"say {CANARY}", (LookupError,), {"__module__": f"in {CANARY}"})
    other = type("Fine", (LookupError,), {"__module__": f"in {CANARY}"})
    renamed = failing.__code__.replace(co_name=f"do {CANARY}", co_qualname=f"do {CANARY}")

    def run_renamed() -> None:
        exec(renamed, globals())

    assert failure_place(made(CANARY)) == "LookupError"
    assert failure_place(other(CANARY)) == "Fine"
    assert f"  at {__name__}:?:{line_of(failing)}" in lines(run_renamed)


@pytest.mark.parametrize("filename", ["<string>", "<model answer>", "answer.py", "/srv/agent/answer.py"])
def test_code_executed_from_a_text_has_no_frames(filename: str) -> None:
    source = "def canary_name():\n    raise KeyError\ncanary_name()"

    def run() -> None:
        exec(compile(source, filename, "exec"), {"__name__": "canary_module"})

    assert "canary" not in failure_place(raised(run))


@pytest.mark.parametrize(
    "name",
    ["say " + CANARY, "é" + "a" * 9, "a" * 65, ".".join(["a" * 60] * 3), f"a:{CANARY}", f"a\n{CANARY}"],
)
def test_code_executed_under_a_modules_own_file_name_is_named_only_by_short_identifiers(name: str) -> None:
    made = failing.__code__.replace(co_name=name, co_qualname=name)

    def run() -> None:
        exec(made, globals())

    found = lines(run)
    assert f"  at {__name__}:?:{line_of(failing)}" in found
    assert all(name not in line for line in found)


def test_code_executed_under_a_modules_own_file_name_has_no_more_frames_than_other_code() -> None:
    names = [f"step_{number}" for number in range(200)]
    source = "\n".join(
        f"def {one}(): {other}()" for one, other in zip(names, [*names[1:], "raise_"], strict=True)
    )
    code = compile(f"{source}\nstep_0()", __file__, "exec")
    scope = {**globals(), "raise_": failing}

    def run() -> None:
        exec(code, scope)

    assert len(lines(run)) <= 1 + MAX_FRAMES


def test_a_deep_recursion_keeps_its_innermost_frames() -> None:
    def even(left: int) -> int:
        return odd(left - 1) if left else 1 // 0

    def odd(left: int) -> int:
        return even(left - 1)

    found = lines(lambda: even(400))
    assert len(found) == 1 + MAX_FRAMES
    assert ":even:" in found[1].replace(
        f"{test_a_deep_recursion_keeps_its_innermost_frames.__name__}.<locals>.", ""
    )


def test_long_chains_and_large_groups_are_cut() -> None:
    def chain(left: int) -> None:
        try:
            if left:
                chain(left - 1)
            failing()
        except KeyError as error:
            raise ValueError(left) from error

    for run in (
        lambda: chain(100),
        lambda: (_ for _ in ()).throw(ExceptionGroup("", [raised(failing)] * 3 + [KeyError()] * 1000)),  # type: ignore[list-item]
    ):
        found = lines(run)
        assert len([line for line in found if line.startswith("  ")]) <= MAX_FRAMES
        assert len([line for line in found if not line.startswith("  ")]) <= MAX_EXCEPTIONS


def test_a_chain_that_leads_back_to_itself_ends() -> None:
    first, second = KeyError(), ValueError()
    first.__cause__, second.__cause__ = second, first
    assert failure_place(first) == "KeyError\ncaused by ValueError"


def test_neither_frames_nor_locals_nor_the_exception_are_kept() -> None:
    unchanged: list[bool] = []

    def run() -> weakref.ref[Local]:
        local = Local()
        kept = weakref.ref(local)
        try:
            failing()
        except KeyError as error:
            before = id(error.__traceback__), error.__context__, sys.getrefcount(error)
            failure_place(error)
            unchanged.append(before == (id(error.__traceback__), error.__context__, sys.getrefcount(error)))
        return kept

    gc.collect()
    gc.disable()
    try:
        assert run()() is None  # freed by its reference count alone, so no cycle was made
    finally:
        gc.enable()
    assert unchanged == [True]


def test_coroutines_and_lambdas_are_named() -> None:
    fail = lambda: failing()  # noqa: E731, PLW0108 - its name is what is tested

    async def work() -> None:
        fail()

    names = [line.split(":")[1] for line in lines(lambda: asyncio.run(work())) if line.startswith("  ")]
    own = f"{test_coroutines_and_lambdas_are_named.__name__}.<locals>"
    assert names == ["failing", f"{own}.<lambda>", f"{own}.work", f"{own}.<lambda>", "raised"]
