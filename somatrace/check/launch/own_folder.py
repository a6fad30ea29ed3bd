"""The directory of a shell script, where the script itself asks for it: `$(dirname "$0")`."""

from __future__ import annotations

import re

_OWN = r'"?\$(?:0|\{0\}|BASH_SOURCE|\{BASH_SOURCE(?:\[0\])?(?::-\$0)?\})"?'
_REAL = rf'(?:{_OWN}|"?\$\([ ]*(?:readlink[ ]+(?:-\w+[ ]+)?|realpath[ ]+)(?:--[ ]+)?{_OWN}[ ]*\)"?)'
_FOLDER = rf"(?:\$\([ ]*dirname[ ]+(?:--[ ]+)?{_REAL}[ ]*\)|\$\{{(?:0|BASH_SOURCE(?:\[0\])?)%/\*\}})"
_FOLDERS = re.compile(_FOLDER)
#: `$(cd "$(dirname "$0")/.." && pwd)`, `$(realpath "$(dirname "$0")/..")`, once the inner part is resolved.
_BELOW = r'"?(/[^\s"$]*)"?'
_ENTERED = re.compile(
    rf"\$\([ ]*(?:CDPATH=\S*[ ]+)?(?:cd[ ]+(?:-\w[ ]+)?(?:--[ ]+)?{_BELOW}"
    rf"(?:[ ]*[&>]{{1,2}}[ ]*/dev/null(?:[ ]*2>&1)?)?[ ]*(?:&&|;)[ ]*pwd(?:[ ]+-\w)?"
    rf"|(?:readlink[ ]+-\w+|realpath)[ ]+{_BELOW})[ ]*\)"
)


def resolved(text: str, folder: str) -> str:
    """The script with its own directory in place of the commands that find it."""
    if "$0" not in text and "BASH_SOURCE" not in text and "${0" not in text:
        return text
    text = _FOLDERS.sub(lambda _: folder, text)
    return _ENTERED.sub(lambda match: match[1] or match[2], text)
