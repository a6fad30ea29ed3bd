"""Services of a container's init: a directory for each, with a script named `run`.

s6-overlay, https://github.com/just-containers/s6-overlay: `/init` starts what lies in
`/etc/s6-overlay/s6-rc.d/NAME/run` (unless `type` is `oneshot`) and `/etc/services.d/NAME/run`, and then the
command of the image. runit, http://smarden.org/runit/runsvdir.8.html, and images that use it:
`/etc/service/NAME/run`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from posixpath import basename, dirname

from somatrace.check.launch.around import LaunchContext

_FOLDERS = (
    "/etc/s6-overlay/s6-rc.d",
    "/etc/services.d",
    "/etc/service",
    "/etc/sv",
    "/etc/runit/runsvdir/default",
)
_ONCE = re.compile(r"oneshot|bundle")
_MOST = 50


def scripts(around: LaunchContext) -> list[str]:
    """The paths of the scripts in the image that its init keeps running."""
    found = dict.fromkeys(path for folder in _FOLDERS for path in _below(folder, around))
    return [path for path in found if not _runs_once(path, around)][:_MOST]


def _below(folder: str, around: LaunchContext) -> Iterator[str]:
    for place in around.candidates(folder):
        for name in around.tree.folders.get(place, ()):
            if around.tree.is_file(f"{place}/{name}/run"):
                yield f"{folder}/{name}/run"
    for path in [*(target for target, _ in around.mounts), *around.written]:
        if path.startswith(f"{folder}/"):
            script = path if basename(path) == "run" else f"{path}/run"
            if dirname(dirname(script)) == folder and (script in around.written or around.file(script)):
                yield script


def _runs_once(path: str, around: LaunchContext) -> bool:
    """Whether the service is a step of the start: its `type` says so."""
    place = f"{dirname(path)}/type"
    found = around.file(place)
    text = around.tree.text(found) or "" if found is not None else ""
    return bool(_ONCE.search(around.written[place].text if place in around.written else text))
