"""Keep the tree that is checked from being imported.

This module runs before any other import of the check, so it imports only what Python has loaded already.
"""

import os
import sys


def drop_working_directory() -> None:
    """Remove the working directory and those below it from `sys.path`, except the interpreter's own."""
    try:
        here = os.path.realpath(os.curdir)
    except OSError:  # it was deleted: nothing can be imported from it
        return
    own = tuple({os.path.realpath(prefix) for prefix in (sys.prefix, sys.base_prefix, sys.exec_prefix)})
    sys.path[:] = [entry for entry in sys.path if _is_kept(entry, here, own)]


def _is_kept(entry: str, here: str, own: tuple[str, ...]) -> bool:
    if not entry.startswith(os.sep):
        return False
    place = os.path.realpath(entry)
    inside = place == here or place.startswith(here.rstrip("/") + "/")
    return not inside or (place != here and any(place.startswith(prefix.rstrip("/") + "/") for prefix in own))
