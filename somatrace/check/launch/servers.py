"""Server command lines: the module each server imports, and the app it serves."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from posixpath import basename, dirname

from somatrace.check.launch import management
from somatrace.check.launch.around import Launch, LaunchContext, LaunchOrigin
from somatrace.check.project import toml_reader
from somatrace.check.project.file_tree import beside
from somatrace.check.run.loader import SearchRoot
from somatrace.check.run.process import ProcessStart

_FLAGS = {
    "--reload", "--factory", "--preload", "--daemon", "--proxy-headers", "--no-access-log", "-D",
    "--use-colors", "--dev", "-B", "--beat", "--access-log", "--watch", "-v", "--verbose",
    "--no-server-header", "--no-use-colors", "-E", "--events", "--debug", "--quiet", "-q", "--headless",
    "--no-proxy-headers", "--with-scheduler", "--without-gossip", "--without-mingle",
    "--without-heartbeat", "--capture-output", "--no-date-header", "--burst", "-r",
    "--respawn-failed-workers", "--no-reload", "--fs-discover", "-fsd", "--standalone", "--all-namespaces",
}  # fmt: skip
_PATH_CHANGE = re.compile(r"^[ \t]*sys\.path\.insert\([ \t]*0,", re.MULTILINE)
_PARENT = re.compile(
    r"^(?=[^\n]*__file__)[^\n]*(?:\.\.|\.parent\.parent|parents\[1\]|dirname\([^\n]*dirname\()", re.MULTILINE
)
_FLASK_APP = re.compile(r"^[ \t]*(?:export[ \t]+)?FLASK_APP[ \t]*=[ \t]*[\"']?([^\s\"'#]+)", re.MULTILINE)


def undecidable(origin: LaunchOrigin, target: str, problem: str) -> Launch:
    """A launch that cannot be followed, with the reason."""
    return Launch(origin, ProcessStart("import"), problem, target)


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """A parsed command line: options with their values, and positional arguments."""

    named: dict[str, str]
    rest: tuple[str, ...]

    @classmethod
    def of(cls, argv: tuple[str, ...]) -> ServerOptions:
        named: dict[str, str] = {}
        rest: list[str] = []
        waiting = list(argv)
        while waiting:
            word = waiting.pop(0)
            if not word.startswith("-") or word == "-":
                rest.append(word)
            elif "=" in word:
                name, _, value = word.partition("=")
                named[name] = value
            elif word in _FLAGS or not waiting or (waiting[0].startswith("-") and waiting[0] != "-"):
                named[word] = ""
            elif len(word) > 2 and not word.startswith("--"):
                named[word[:2]] = word[2:]
            else:
                named[word] = waiting.pop(0)
        return cls(named, tuple(rest))

    def get(self, *names: str) -> str | None:
        return next((self.named[name] for name in names if name in self.named), None)


def checked(launch: Launch) -> Launch:
    """Mark a launch as undecidable if its target is known only at run time."""
    if "$" in launch.target or "{{" in launch.target:
        return replace(launch, problem=f"`{launch.target}` is known only at run time")
    return launch


def script(
    path: str, around: LaunchContext, origin: LaunchOrigin, role: str = "script", command: str = ""
) -> list[Launch]:
    """`python FILE`: the file's directory comes first on the path."""
    own = around.roots(".")
    first = replace(around, mounts=(("/", dirname(path)),), workdir="/", pythonpath=(), shared=()).roots("/")
    if _puts_parent_first(around.tree.text(path) or ""):
        first = (SearchRoot(beside(dirname(path), "..")), *first)
    roots = tuple(dict.fromkeys((*first, *own)))
    start = ProcessStart("script", path=path, role=role, roots=roots, command=command)
    return [Launch(origin, start, target=path)]


def _puts_parent_first(text: str) -> bool:
    """Whether a script puts the parent of its directory first on `sys.path`."""
    return bool(_PATH_CHANGE.search(text)) and bool(_PARENT.search(text))


def console(target: str, around: LaunchContext, origin: LaunchOrigin) -> Launch:
    """A console script: `package.module:function`."""
    module, _, attribute = target.partition(":")
    start = ProcessStart(
        "function",
        module.strip(),
        attribute=attribute.partition("[")[0].strip(),
        role="script",
        roots=around.roots("."),
    )
    return Launch(origin, start, target=target)


def imported(
    target: str,
    around: LaunchContext,
    origin: LaunchOrigin,
    *,
    role: str = "server",
    factory: bool = False,
    folder: str = ".",
    settings: str = "",
    server: str = "",
    command: str = "",
) -> list[Launch]:
    """`module:attribute`, `module:factory()`, `module`."""
    module, _, attribute = target.partition(":")
    called = attribute.endswith(")")
    if module.endswith(".py") and (path := around.file(module)):
        module = basename(path)[:-3]
        around = replace(around, mounts=(*around.mounts, ("/.script", dirname(path))))
        roots = around.roots("/.script", folder)
    else:
        roots = around.roots(folder)
    attribute = re.split(r"[(\s]", attribute)[0]
    start = ProcessStart(
        "import",
        module.replace("/", "."),
        attribute=attribute,
        role=role,
        factory=factory or called,
        settings=settings,
        roots=roots,
        server=server,
        command=command,
    )
    return [checked(Launch(origin, start, target=target))]


def uvicorn(options: ServerOptions, around: LaunchContext, origin: LaunchOrigin) -> list[Launch]:
    """uvicorn, which also calls a factory that is not declared as one."""
    return asgi(options, around, origin, server="uvicorn")


def asgi(
    options: ServerOptions, around: LaunchContext, origin: LaunchOrigin, server: str = ""
) -> list[Launch]:
    """uvicorn, hypercorn, granian, daphne, waitress-serve."""
    target = next(
        (word for word in options.rest if ":" in word or "$" in word), next(iter(options.rest), None)
    )
    if target is None:
        return []
    folder = options.get("--app-dir", "--working-dir") or "."
    return imported(
        target,
        around,
        origin,
        factory="--factory" in options.named or "--call" in options.named,
        folder=folder,
        server=server,
    )


def gunicorn(options: ServerOptions, around: LaunchContext, origin: LaunchOrigin) -> list[Launch]:
    """`gunicorn`: the active configuration file runs too and may name the application."""
    folder = options.get("--chdir") or "."
    around = replace(around, workdir=around.in_image(folder))
    config = options.get("-c", "--config")
    extra = config.removeprefix("python:") if config and config.startswith("python:") else ""
    settings = "" if extra else around.file((config or "gunicorn.conf.py").removeprefix("file:")) or ""
    if extra:
        settings = next(
            (
                found
                for found in around.candidates(extra.replace(".", "/") + ".py")
                if around.tree.is_file(found)
            ),
            "",
        )
    target = next(iter(options.rest), None) or _assigned(around, settings, "wsgi_app")
    if target is None:
        return [undecidable(origin, "gunicorn", "gunicorn is given no application")]
    attribute = "" if ":" in target else ":application"
    server = "uvicorn" if "uvicorn" in (options.get("-k", "--worker-class") or "") else ""
    return imported(target + attribute, around, origin, settings=settings, server=server)


def _assigned(around: LaunchContext, path: str, name: str) -> str | None:
    text = around.tree.text(path) if path else None
    match = re.search(rf"^{name}\s*=\s*[\"']([^\"']+)[\"']", text or "", re.MULTILINE)
    return match[1] if match else None


def flask(options: ServerOptions, around: LaunchContext, origin: LaunchOrigin) -> list[Launch]:
    """`flask --app m run`, or a command of the project's own. Flask calls a factory by itself."""
    command = management.command_of(options.rest)
    if not command or management.is_tool(command):
        return []
    target = options.get("--app", "-A") or around.variables.get("FLASK_APP") or _from_dotenv(around)
    if target is None:
        target = next((name for name in ("wsgi.py", "app.py") if around.file(name)), None)
    if target is None:
        return [undecidable(origin, f"flask {command}", "no application is named (--app or FLASK_APP)")]
    role = "server" if command == "run" else "command"
    return imported(
        target, around, origin, role=role, server="flask", command=management.line_of(options.rest)
    )


def _from_dotenv(around: LaunchContext) -> str | None:
    """FLASK_APP in the files that flask reads."""
    for name in (".env", ".flaskenv"):
        path = around.file(name)
        match = _FLASK_APP.search(around.tree.text(path) or "") if path else None
        if match:
            return match[1]
    return None


def fastapi(options: ServerOptions, around: LaunchContext, origin: LaunchOrigin) -> list[Launch]:
    """`fastapi run FILE`, or the entrypoint it discovers."""
    if not options.rest or options.rest[0] not in {"run", "dev"}:
        return []
    target = options.rest[1] if len(options.rest) > 1 else _fastapi_default(around)
    if target is None:
        return [
            undecidable(origin, "fastapi run", "no file is named, and neither main.py nor app/main.py exists")
        ]
    if target.endswith(".py"):
        return _fastapi_file(target, around, origin, options.get("--app") or "app")
    return imported(target, around, origin)


def _fastapi_default(around: LaunchContext) -> str | None:
    project = around.file("pyproject.toml")
    if project is not None:
        try:
            named = (
                toml_reader.load(around.tree.text(project) or "")
                .get("tool", {})
                .get("fastapi", {})
                .get("entrypoint")
            )
        except (toml_reader.UnreadableTomlError, AttributeError):
            named = None
        if isinstance(named, str):
            return named
    return next(
        (
            name
            for name in ("main.py", "app.py", "api.py", "app/main.py", "app/app.py", "app/api.py")
            if around.file(name)
        ),
        None,
    )


def _fastapi_file(target: str, around: LaunchContext, origin: LaunchOrigin, attribute: str) -> list[Launch]:
    """The command imports the file as a module of its outermost enclosing package."""
    path = around.file(target)
    if path is None:
        return [undecidable(origin, target, f"`{target}` is not in the tree")]
    parts = [basename(path)[:-3]]
    folder = dirname(path)
    while folder and around.tree.is_file(f"{folder}/__init__.py"):
        parts.insert(0, basename(folder))
        folder = dirname(folder)
    if parts[-1] == "__init__":
        parts.pop()
    inner = replace(around, mounts=(*around.mounts, ("/.package", folder)))
    start = ProcessStart("import", ".".join(parts), attribute=attribute, roots=inner.roots("/.package", "."))
    return [Launch(origin, start, target=target)]
