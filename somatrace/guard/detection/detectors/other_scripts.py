"""Detect passwords after a non-ASCII word for password: `пароль: X`."""

from __future__ import annotations

import re
from typing import Final

from somatrace.guard.detection.detectors.secret_names import stands_elsewhere
from somatrace.guard.detection.detectors.value_bounds import trimmed
from somatrace.guard.detection.engine import Detector, ValueSpan

# ruff: noqa: RUF001 - separators of other scripts
_VALUE: Final = (
    r"\w{2,14}(?: \w{1,8})?[\"'`]?\s{0,4}(?:[=:：]|это|是|は|为|為)\s{0,4}"
    r"[\"'`«“]?([^\s\"'`<>&;,\\，。；»”]{3,512})"
)

#: Words for password and secret that are non-ASCII, or more than one word.
_WORDS: Final = (
    "пароль",
    "секрет",
    "contraseña",
    "密码",
    "密碼",
    "口令",
    "パスワード",
    "비밀번호",
    "hasło",
    "şifre",
    "κωδικός",
    "סיסמה",
    "كلمة المرور",
    "पासवर्ड",
)


def _locate(text: str, at: int) -> ValueSpan | None:
    """The value after a non-ASCII word for password: `пароль: X`."""
    match = re.compile(_VALUE).match(text, at)
    if match is None:
        return None
    start, end = match.start(1), trimmed(text, *match.span(1))
    value = text[start:end]
    if len(value) < 3 or value[0] in "{[" or stands_elsewhere(value):
        return None
    if value.isalpha() and not value.isascii():
        return None
    return ValueSpan(start, end, "PASSWORD")


FOREIGN: Final = Detector(
    ("PASSWORD",), "secrets", "values after non-ASCII words for password", "wide", _WORDS, _locate
)
