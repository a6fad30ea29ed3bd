"""Programs that start Python code in ways the check does not follow, and those that start none.

The first are reported (ST041) where the process sees Python of the tree, so that none passes in silence.
"""

from __future__ import annotations

import re
from posixpath import basename

from somatrace.check.launch import programs, words
from somatrace.check.launch.around import LaunchContext

_ANY: frozenset[str] = frozenset()
#: With the commands of them that start code of the project; none where all of them do.
_STARTERS = {
    "adk": frozenset(["api_server", "run", "web"]),
    "airflow": frozenset([
        "celery", "dag-processor", "kubernetes", "scheduler", "standalone", "triggerer", "worker",
    ]),
    "bentoml": frozenset(["serve", "start"]), "chalice": frozenset(["local"]), "circusd": _ANY,
    "dagster": _ANY, "dagster-daemon": _ANY, "dagster-webserver": _ANY,
    "jupyter": frozenset(["enterprisegateway", "kernelgateway", "voila"]), "kedro": frozenset(["run"]),
    "luigi": _ANY, "mlflow": frozenset(["models", "run"]), "pm2": _ANY, "pm2-runtime": _ANY,
    "prefect": frozenset(["agent", "deploy", "worker"]), "pserve": _ANY, "rasa": frozenset(["run"]),
    "ray": frozenset(["job"]), "reflex": frozenset(["run"]), "rqscheduler": _ANY, "rqworker": _ANY,
    "scrapy": frozenset(["crawl", "runspider"]), "torchserve": _ANY, "tritonserver": _ANY, "twistd": _ANY,
    "voila": _ANY, "zappa": _ANY,
}  # fmt: skip
#: Programs that start nothing, or do one thing and end, whatever they are given.
_TOOLS = frozenset([
    "[", "[[", "aerich", "alembic", "apk", "apt", "apt-get", "awk", "aws", "az", "black", "cat", "cd",
    "chmod", "chown", "coverage", "cp", "curl", "cut", "cython", "dbt", "django-admin", "echo", "exit",
    "export", "false", "find", "flake8", "fly", "gcloud", "git", "grep", "head", "helm", "isort", "kill",
    "killall", "kubectl", "ln", "local", "ls", "mkdir", "mkdocs", "mv", "mypy", "nuitka", "pgrep", "pip",
    "pip3", "pkill", "playwright", "pre-commit", "printf", "ps", "psql", "pyinstaller", "pylint", "pyright",
    "pytest", "read", "redis-cli", "return", "rm", "rsync", "ruff", "scp", "sed", "service", "set", "shift",
    "sleep", "sphinx-build", "ssh", "supervisorctl", "systemctl", "tail", "tar", "tee", "terraform", "test",
    "touch",
    "trap", "true", "twine", "ulimit", "umask", "unset", "unzip", "vulture", "wait", "wc", "wget", "which",
    "zip", ":",
])  # fmt: skip
_PYTHON = re.compile(r"(?:python|pypy)[\d.]*")
_SERVERS = frozenset(["celery", "daphne", "gunicorn", "hypercorn", "uvicorn"])
_TARGET = re.compile(r"[\w.]+:[\w.]+(?:\(\))?")


def is_silent(name: str) -> bool:
    """Whether a program is known to start no Python code."""
    return name in _TOOLS or name in programs.OTHERS


def is_unknown(name: str) -> bool:
    """Whether nothing is known about a program."""
    known = is_silent(name) or name in programs.PROGRAMS or name in words.SHELLS or name == "supervisord"
    return not known and not _PYTHON.fullmatch(name) and "$" not in name


def wrapped(argv: tuple[str, ...]) -> tuple[str, ...]:
    """The command of Python, or a server of it, that an unknown program is given: `acme-run python m.py`."""
    if is_silent(basename(argv[0])):
        return ()
    for place, word in enumerate(argv[1:-1], 1):
        if _PYTHON.fullmatch(basename(word)) or basename(word) in _SERVERS:
            return argv[place:]
    return ()


def starts_unknown_code(argv: tuple[str, ...], around: LaunchContext) -> bool:
    """Whether an unknown program starts Python code of the tree."""
    name = basename(argv[0])
    commands = _STARTERS.get(name)
    if commands is not None and (not commands or commands & {*argv[1:]}):
        return around.holds_python()
    if is_silent(name):
        return False
    return any(_is_code(word, around) for word in argv[1:])


def _is_code(word: str, around: LaunchContext) -> bool:
    """Whether a word names a module of the tree: `app.py`, `app:main`."""
    if word.endswith(".py"):
        return around.file(word) is not None
    path = word.partition(":")[0].replace(".", "/")
    return _TARGET.fullmatch(word) is not None and bool(
        around.file(f"{path}.py") or around.file(f"{path}/__init__.py")
    )
