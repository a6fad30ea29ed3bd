"""Commands of `manage.py` and `flask`: which of them are tools, and which keep running."""

from __future__ import annotations

import re

from somatrace.check.launch.around import LaunchContext

#: Django's own, without its servers (django-admin's reference), and those of common packages.
_DJANGO_TOOLS = frozenset([
    "changepassword", "check", "clearsessions", "collectstatic", "compilemessages", "createcachetable",
    "createsuperuser", "dbshell", "diffsettings", "dumpdata", "findstatic", "flush", "help", "inspectdb",
    "loaddata", "makemessages", "makemigrations", "migrate", "ogrinspect", "optimizemigration",
    "remove_stale_contenttypes", "sendtestemail", "shell", "showmigrations", "sqlflush", "sqlmigrate",
    "sqlsequencereset", "squashmigrations", "startapp", "startproject", "test", "testserver", "version",
    "compress", "compilescss", "compilejsi18n", "generateschema", "migrate_schemas", "rebuild_index",
    "reset_db", "shell_plus", "show_urls", "spectacular", "tailwind", "update_index",
])  # fmt: skip
_FLASK_TOOLS = frozenset([
    "assets", "babel", "cov", "create_all", "db", "digest", "fab", "lint", "routes", "shell", "test",
    "translate",
])  # fmt: skip
_DATABASE_TOOL = re.compile(
    r"(?:create|drop|ensure|init|migrate|recreate|reset|seed|setup|wait_for|wait)[-_]?"
    r"(?:db|database|tables?|schemas?|postgres|superuser|admin)"
)
_FRAMEWORK = re.compile(r"execute_from_command_line|call_command|FlaskGroup|flask_script")


def command_of(words: tuple[str, ...]) -> str:
    """The command among the words after `manage.py`."""
    return next((word for word in words if not word.startswith("-")), "")


def line_of(words: tuple[str, ...]) -> str:
    """The command and the words after it: `jobs run`."""
    return " ".join(word for word in words if not word.startswith("-"))


def is_tool(command: str) -> bool:
    """Whether a command of Django or Flask does one thing and ends, and is known for it."""
    return command in _DJANGO_TOOLS or command in _FLASK_TOOLS or bool(_DATABASE_TOOL.fullmatch(command))


def is_one_off(path: str, words: tuple[str, ...], around: LaunchContext) -> bool:
    """Whether `manage.py` with these words is a tool. Without a command, a framework's prints its help."""
    command = command_of(words)
    if command:
        return is_tool(command)
    found = around.file(path)
    return found is not None and bool(_FRAMEWORK.search(around.tree.text(found) or ""))
