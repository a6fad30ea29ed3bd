"""AWS Lambda: handlers that an image's command names.

https://docs.aws.amazon.com/lambda/latest/dg/python-image.html: the entrypoint of AWS's base images takes the
handler from CMD and imports it from LAMBDA_TASK_ROOT; other images run `python -m awslambdaric HANDLER`.
"""

from __future__ import annotations

import re
from typing import Final

from somatrace.check.launch import servers
from somatrace.check.launch.around import Launch, LaunchContext, LaunchOrigin
from somatrace.check.launch.container import DeclaredCommand
from somatrace.check.launch.servers import ServerOptions

BASE_FOLDER: Final = "/var/task"
ENTRYPOINT: Final = "/lambda-entrypoint.sh"
BASE_VARIABLES: Final = {"LAMBDA_TASK_ROOT": BASE_FOLDER}
_BASE = re.compile(
    r"(?:^|/)lambda/python(?:[:@]|$)|(?:^|/)aws-lambda-python\b|(?:^|/)lambda-python(?:[:@]|$)"
)


def is_lambda(image: str) -> bool:
    """Whether an image is AWS's base image for Python, or one of its name."""
    return _BASE.search(image) is not None


def handled(declared: DeclaredCommand, around: LaunchContext) -> list[Launch]:
    """The process of an image whose command is a handler."""
    command = declared.command
    if command is None:
        return []
    words = command.words or tuple(command.shell.split())
    origin = LaunchOrigin(declared.path, command.line, " ".join(words))
    return handler(ServerOptions({}, words), around, origin)


def handler(options: ServerOptions, around: LaunchContext, origin: LaunchOrigin) -> list[Launch]:
    """The runtime imports the module of `module.function` once, and calls the function for each event."""
    target = next(iter(options.rest), "")
    module, _, attribute = target.rpartition(".")
    if not module:
        return []
    start = f"{module.replace('/', '.')}:{attribute}"
    return servers.imported(start, around, origin, role="lambda")
