"""What one module is used for, by its text alone: an app it exposes, a server it runs, a model it calls."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from somatrace.check.project import model_clients
from somatrace.check.run import blocking

#: A file without any of these words exposes no app, serves nothing and calls no model.
WORTH_PARSING = re.compile(
    rb"FastAPI|Flask|Starlette|Quart|Sanic|Litestar|Celery|(?:create|make|build|get)_app|FastMCP|Application\("
    rb"|FunctionApp|functions_framework|TritonPythonModel"
    rb"|Blacksheep|BlackSheep|Robyn|Chalice|Mangum|modal|streamlit|chainlit|uvicorn|serve|run_|launch\("
    rb"|start_polling|start_consuming|infinity_polling|wait_for_termination|\.(?:run|start|work|listen)\(|"
    + rb"|".join(map(re.escape, model_clients.WORDS))
)
_APPS = frozenset([
    "FastAPI", "Flask", "Starlette", "Quart", "Sanic", "Litestar", "create_app", "make_app", "build_app",
    "get_app", "APIFlask", "FunctionApp", "FastMCP", "Application", "Blacksheep", "BlackSheep", "Robyn",
    "Chalice", "Mangum",
])  # fmt: skip
_APP_LINE = re.compile(
    rf"^(\w++)(?:\s*+:[^=\n]++)?\s*+=\s*+(?:\w++\.)*+(?:{'|'.join(sorted(_APPS))})\(".encode(), re.MULTILINE
)
_ROLES = {"celery.Celery": "celery", "modal.App": "server", "modal.Stub": "server"}
#: The class that Triton's backend for Python makes a model of
#: (https://github.com/triton-inference-server/python_backend).
_TRITON = "TritonPythonModel"
_RELATIVE = re.compile(rb"^[ \t]*from[ \t]+\.", re.MULTILINE)
#: Calls that block and are no servers by themselves.
_NO_SERVERS = ("anyio.", "asyncio.Event", "signal.", "threading.", "trio.Event", "trio.sleep")


@dataclass(slots=True)
class ModuleUse:
    """What a module is for. `app` is the app object it exposes, `runs` whether it does work as a script."""

    app: str = ""
    role: str = "server"
    serves: bool = False
    runs: bool = False
    #: whether it calls Streamlit, in functions at least
    draws: bool = False
    #: the line of its first model client; 0 without
    model: int = 0
    relative: bool = False
    #: names bound by imports and by calls, as dotted paths
    names: dict[str, str] = field(default_factory=dict)


def module_use(module: ast.Module, source: bytes) -> ModuleUse:
    """The use of a parsed module."""
    use = ModuleUse(relative=bool(_RELATIVE.search(source)))
    nodes = list(ast.walk(module))
    for node in nodes:
        _bind(use, node)
    for node in nodes:
        if isinstance(node, ast.Call):
            _call(use, node)
    for statement in _statements(module.body):
        _expose(use, statement)
        use.runs = use.runs or _works(statement)
    if use.runs and use.draws and not use.app:
        use.app, use.role = "streamlit", "streamlit"
    return use


def unparsed_use(source: bytes) -> ModuleUse | None:
    """The use of a module that cannot be parsed, by the line that makes its app; None if there is none."""
    match = _APP_LINE.search(source)
    return ModuleUse(app=match[1].decode()) if match is not None else None


def _bind(use: ModuleUse, node: ast.AST) -> None:
    if isinstance(node, ast.Import):
        for alias in node.names:
            name = alias.asname or alias.name.partition(".")[0]
            use.names[name] = alias.name if alias.asname else name
    elif isinstance(node, ast.ImportFrom):
        for alias in node.names:
            use.names[alias.asname or alias.name] = f"{'.' * node.level}{node.module or ''}.{alias.name}"
    elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        _bind_call(use, node.targets[0].id, node.value)
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
        _bind_call(use, node.target.id, node.value)
    elif isinstance(node, ast.withitem) and isinstance(node.optional_vars, ast.Name):
        _bind_call(use, node.optional_vars.id, node.context_expr)


def _bind_call(use: ModuleUse, name: str, value: ast.expr) -> None:
    path = _path(use, value) if isinstance(value, ast.Call | ast.Await) else ""
    if path and name not in use.names:
        use.names[name] = path


def _path(use: ModuleUse, node: ast.expr) -> str:
    """The dotted path of an imported name and what is called on it; empty if it is not imported."""
    parts: list[str] = []
    while True:
        if isinstance(node, ast.Attribute):
            parts.append(f".{node.attr}")
            node = node.value
        elif isinstance(node, ast.Call):
            parts.append("()")
            node = node.func
        elif isinstance(node, ast.Await):
            node = node.value
        else:
            break
    if not isinstance(node, ast.Name) or node.id not in use.names:
        return ""
    return use.names[node.id] + "".join(reversed(parts))


def _call(use: ModuleUse, node: ast.Call) -> None:
    path = _path(use, node.func)
    if not path:
        return
    if path.startswith("chainlit.on_"):
        use.app = use.app or "__name__"
    use.draws = use.draws or path.startswith("streamlit.")
    use.serves = use.serves or (_serves(path) and not path.startswith(_NO_SERVERS))
    if not use.model:
        first = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else None
        if model_clients.is_client(path, first):
            use.model = node.lineno


def _serves(path: str) -> bool:
    """Whether a call of that path serves or waits for work, by itself or when it is awaited or iterated."""
    rows = blocking.blocks, blocking.blocks_awaited, blocking.serves_inside, blocking.waits_for_messages
    return any(row(path) for row in rows)


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that run when the module is imported or run, without those of functions and classes."""
    waiting = list(reversed(body))
    while waiting:
        statement = waiting.pop()
        yield statement
        for name in ("body", "orelse", "finalbody"):
            if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                waiting.extend(one for one in getattr(statement, name, ()) if isinstance(one, ast.stmt))


def _expose(use: ModuleUse, statement: ast.stmt) -> None:
    """Note an app object, and the decorators by which a framework takes functions of the module."""
    if isinstance(statement, ast.ClassDef):
        if statement.name == _TRITON:
            use.app, use.role = _TRITON, "triton"
        return
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
        _expose_function(use, statement)
        return
    if not use.app and _draws(use, statement):
        use.app, use.role = "streamlit", "streamlit"
    if isinstance(statement, ast.Assign):
        target, value = statement.targets[0], statement.value
    elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
        target, value = statement.target, statement.value
    else:
        return
    if not isinstance(target, ast.Name) or not isinstance(value, ast.Call):
        return
    name = value.func.id if isinstance(value.func, ast.Name) else ""
    path = _path(use, value.func) or (name if name.endswith("_app") else "")
    if path in _ROLES or path.rpartition(".")[2] in _APPS:
        use.app, use.role = target.id, _ROLES.get(path, "server")


def _expose_function(use: ModuleUse, function: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
    paths = [_path(use, one) for one in function.decorator_list]
    if any(path.startswith("chainlit.on_") for path in paths):
        use.app = use.app or function.name
    elif not use.app and any(path.startswith("functions_framework.") for path in paths):
        use.app, use.role = function.name, "lambda"


def _draws(use: ModuleUse, statement: ast.stmt) -> bool:
    """Whether a statement itself calls Streamlit: `if st.button("x"):`."""
    own = [node for node in ast.iter_child_nodes(statement) if not isinstance(node, ast.stmt)]
    calls = [node for part in own for node in ast.walk(part) if isinstance(node, ast.Call)]
    return any(_path(use, call.func).startswith("streamlit.") for call in calls)


def _works(statement: ast.stmt) -> bool:
    """Whether a statement makes the module a program: a `__main__` guard, a call, a loop."""
    if isinstance(statement, ast.If):
        return any(isinstance(node, ast.Name) and node.id == "__name__" for node in ast.walk(statement.test))
    if isinstance(statement, ast.Expr):
        return isinstance(statement.value, ast.Call | ast.Await)
    return isinstance(statement, ast.For | ast.While)
