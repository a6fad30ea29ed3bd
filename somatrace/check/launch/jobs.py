"""Processes that run on a schedule: they count where nothing else of the repository starts one.

Kubernetes' CronJob, https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/, and units of
systemd with a timer of their name, https://www.freedesktop.org/software/systemd/man/latest/systemd.timer.html.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from somatrace.check.launch import pods, units
from somatrace.check.launch.around import Launch, LaunchContext
from somatrace.check.project import yaml_reader
from somatrace.check.project.file_tree import FileTree, is_test

_ASSUMED = (
    "{path} starts it on a schedule, and nothing else in this tree starts a process; if it is a tool,"
    " `exclude` {path} in [tool.somatrace.check]"
)
_NOT_HERE = "{path} starts Python, and its program is not found in this tree"


def launches(tree: FileTree, around: LaunchContext, images: tuple[str, ...]) -> Iterator[Launch]:
    """The processes of CronJobs, and of units of the type `oneshot` that a timer starts."""
    for path in tree.files:
        if is_test(path):
            continue
        if path.endswith((".yml", ".yaml")):
            found = _jobs(path, around, images)
        elif units.is_unit(path) and tree.is_file(path.partition(".service")[0] + ".timer"):
            found = units.launches(path, around, once=True)
        else:
            continue
        for one in found:
            if one.problem and around.holds_python():
                reason = _NOT_HERE.format(path=path)
                yield replace(one, problem=reason, unnamed=reason, line=one.origin.line)
            elif not one.problem:
                yield replace(one, guess=_ASSUMED.format(path=path))


def _jobs(path: str, around: LaunchContext, images: tuple[str, ...]) -> Iterator[Launch]:
    text = around.tree.text(path) or ""
    if "kind:" not in text or not any(kind in text for kind in pods.RECURRING):
        return
    try:
        documents = yaml_reader.load(pods.without_templates(text))
    except yaml_reader.UndecidableError:
        return
    yield from pods.launches(path, documents, around, images, pods.RECURRING)
