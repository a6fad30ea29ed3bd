"""Every combination of launcher, layout, start, place of the call and flow, with the verdict it must get."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from tests.check.combining import programs
from tests.check.combining.flows import FLOWS, Flow
from tests.check.combining.launchers import LAUNCHERS
from tests.check.combining.layouts import LAYOUTS, Layout
from tests.check.combining.places import ANYWHERE, IN_APPS, IN_SCRIPTS, Place
from tests.check.corpus import Sample

#: How the command starts a script, and an application.
SCRIPT_STARTS = ("the file", "the module", "a console script")
APP_STARTS = ("uvicorn", "gunicorn")


@dataclass(frozen=True)
class Program:
    """What is started, and how: a place of the call in a script with a flow, or in an application."""

    start: str
    place: Place
    flow: Flow | None = None
    form: str = ""

    @property
    def expected(self) -> set[str]:
        """The codes of which one must be reported; `ok` for none."""
        if self.start == "a console script" and self.place.unguarded:
            return {self.place.unguarded}
        if self.place.after and self.flow is not None:
            return set((self.flow.after or "ok").split())
        return set(self.place.expected.split())

    @property
    def shows_nothing(self) -> bool:
        """Whether a real start fails, or ends as another program, and so records nothing."""
        return self.flow is not None and self.flow.fails

    def __str__(self) -> str:
        return f"{self.start}, {self.flow.name if self.flow else self.form}, {self.place.name}"


@dataclass(frozen=True)
class Combination:
    """One service: a program in a layout, started by a launcher."""

    launcher: str
    layout: Layout
    program: Program

    def __str__(self) -> str:
        return f"{self.launcher}, {self.layout.name}, {self.program}"

    def sample(self) -> Sample:
        """The tree. Its label is one of the codes that are right."""
        layout, program = self.layout, self.program
        files = {**layout.extra_files, layout.entry_file: self._entry()}
        if program.place.helper:
            files[layout.helper_path] = program.place.helper
            folder = layout.helper_path.rpartition("/")[0]
            if folder != layout.path() and layout.is_regular_package:
                files.setdefault(f"{folder}/__init__.py", "")
        package = layout.path(*layout.package.split("."))
        files |= {f"{package}/{name}": text for name, text in program.place.files.items()}
        if program.start == "a console script":
            name = f"{layout.root}/pyproject.toml" if layout.root else "pyproject.toml"
            files[name] = (
                f'[project]\nname = "orders"\n[project.scripts]\norders-run = "{layout.module}:main"\n'
            )
        for name, text in LAUNCHERS[self.launcher](layout, self._command()).items():
            files[name] = files[name] + text if name in files else text
        files[".run"] = self._shell() + "\n"
        return Sample(str(self), min(program.expected), files)

    def _entry(self) -> str:
        program = self.program
        if program.flow is not None:
            return programs.script(program.place, program.flow, self.layout.helper)
        return programs.app(program.place, program.form, self.layout.helper)

    def _command(self) -> str:
        layout, program = self.layout, self.program
        if program.start == "the file":
            return (
                f"python {'/'.join(part for part in (layout.source, *layout.module.split('.')) if part)}.py"
            )
        if program.start == "the module":
            return f"python -m {layout.module}"
        if program.start == "a console script":
            return "orders-run"
        source = f" --{'app-dir' if program.start == 'uvicorn' else 'chdir'} {layout.source}" * bool(
            layout.source
        )
        if program.start == "uvicorn":
            factory = program.form == "a factory's"
            return f"uvicorn{source} {layout.module}:{'create_app --factory' if factory else 'app'}"
        made = "create_app()" if program.form == "a factory's" else "app"
        return f"gunicorn{source} -k uvicorn.workers.UvicornWorker {layout.module}:{made}"

    def _shell(self) -> str:
        """The command in the service's directory of a checkout."""
        layout = self.layout
        command = self._command()
        if self.program.start == "a console script":
            command = f"python -c 'from {layout.module} import main; main()'"
        up = "/".join([".."] * (layout.root.count("/") + bool(layout.root)))
        path = [layout.source] * bool(layout.source) + [f"{up}/{layout.shared}"] * bool(layout.shared)
        before = f"cd {layout.root} && " if layout.root else ""
        before += f"PYTHONPATH={':'.join(path)}:$PYTHONPATH " if path else ""
        return before + command


def all_programs() -> list[Program]:
    """Every start with every place and flow."""
    found = [
        Program(start, place, flow=flow)
        for start in SCRIPT_STARTS
        for place in (*ANYWHERE, *IN_SCRIPTS)
        for flow in FLOWS
    ]
    found += [
        Program(start, place, form=form)
        for start in APP_STARTS
        for place in (*ANYWHERE, *IN_APPS)
        for form in programs.APP_FORMS
        if not (start == "gunicorn" and form == "a factory's")
    ]
    return found


def product() -> Iterator[Combination]:
    """All combinations that can exist, each launcher and layout with every program."""
    every = all_programs()
    for launcher, layout in _PAIRS:
        yield from (Combination(launcher, layout, one) for one in every if _fits(layout, one))


def some(count: int, seed: int) -> list[Combination]:
    """A sample in which every program, and every launcher with every layout, occurs about equally often: the
    same one for the same seed.
    """
    chance = random.Random(seed)
    programs_left: list[Program] = []
    pairs_left: list[tuple[str, Layout]] = []
    found: list[Combination] = []
    while len(found) < count:
        if not programs_left:
            programs_left = chance.sample(_PROGRAMS, len(_PROGRAMS))
        if not pairs_left:
            pairs_left = chance.sample(_PAIRS, len(_PAIRS))
        program = programs_left.pop()
        fitting = [pair for pair in pairs_left if _fits(pair[1], program)] or [
            pair for pair in _PAIRS if _fits(pair[1], program)
        ]
        pair = chance.choice(fitting)
        if pair in pairs_left:
            pairs_left.remove(pair)
        found.append(Combination(*pair, program))
    return found


def each_program(seed: int) -> list[Combination]:
    """Every program once, with launchers and layouts in turn."""
    return some(len(_PROGRAMS), seed)


def _fits(layout: Layout, program: Program) -> bool:
    """Whether the start works with such a layout: what is run as a file imports nothing of its package."""
    if program.place.needs_package and not (layout.package and layout.is_regular_package):
        return False
    if program.start == "the file":
        return not layout.package and not program.place.needs_package
    if program.start == "a console script":
        return bool(layout.package) and layout.is_regular_package
    return True


_PAIRS = [(launcher, layout) for launcher in LAUNCHERS for layout in LAYOUTS]
_PROGRAMS = [one for one in all_programs() if any(_fits(layout, one) for layout in LAYOUTS)]
