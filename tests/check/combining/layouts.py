"""Where a service's files lie in the repository, and the names by which they are imported."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Layout:
    """The directory that is built and started, and the modules in it."""

    name: str
    #: the directory of the service in the repository, which is its working directory
    root: str = ""
    #: the directory below it that holds the modules or their package
    source: str = ""
    package: str = ""
    entry: str = "main"
    #: the dotted name and the file of the module that helps the entrypoint, from the repository's root
    helper: str = "starting"
    helper_file: str = ""
    files: dict[str, str] = field(default_factory=dict)
    #: a directory of the repository that is on the module path beside the source
    shared: str = ""
    is_regular_package: bool = True

    def path(self, *parts: str) -> str:
        return "/".join(part for part in (self.root, self.source, *parts) if part)

    @property
    def entry_file(self) -> str:
        return self.path(self.package.replace(".", "/"), f"{self.entry}.py")

    @property
    def module(self) -> str:
        return f"{self.package}.{self.entry}" if self.package else self.entry

    @property
    def helper_path(self) -> str:
        return self.helper_file or self.path(f"{self.helper.replace('.', '/')}.py")

    @property
    def extra_files(self) -> dict[str, str]:
        """The files of the layout itself."""
        parts = self.package.split(".") if self.package and self.is_regular_package else []
        inits = {self.path(*parts[: number + 1], "__init__.py"): "" for number in range(len(parts))}
        return {**inits, **self.files}


_PROJECT = '[project]\nname = "{name}"\nversion = "0"\n'

LAYOUTS = (
    Layout("modules at the root"),
    Layout("a package", package="orders", helper="orders.starting"),
    Layout(
        "a namespace package", package="orders.api", helper="orders.api.starting", is_regular_package=False
    ),
    Layout(
        "src",
        source="src",
        package="orders",
        helper="orders.starting",
        files={"pyproject.toml": _PROJECT.format(name="orders")},
    ),
    Layout("services with app", root="services/orders", package="app", helper="app.core.starting"),
    Layout("services with modules", root="services/orders", helper="core.starting"),
    Layout("a backend folder", root="backend", package="orders", helper="orders.starting"),
    Layout("an app folder of modules", root="apps/orders-api", entry="app", helper="lib.starting"),
    Layout(
        "a shared package",
        root="services/orders",
        helper="acme_common.starting",
        helper_file="libs/common/acme_common/starting.py",
        shared="libs/common",
        files={
            "libs/common/pyproject.toml": _PROJECT.format(name="acme-common"),
            "libs/common/acme_common/__init__.py": "",
        },
    ),
)
