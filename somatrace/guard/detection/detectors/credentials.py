"""Detect secrets in URL userinfo, `Bearer` and `Basic` credentials, and command lines."""

from __future__ import annotations

import base64
import binascii
from typing import Final

from somatrace.guard.detection.detectors.secret_names import looks_random, stands_elsewhere
from somatrace.guard.detection.engine import LEFT, Detector, ValueSpan, compiled

#: user:password@host. The password may contain an @ (the last one before the host counts), but not a slash,
#: which begins the path of a web or git URL. In other URLs it may, unless a port is in its place.
_USERINFO: Final = r"://(?P<user>[^\s/@:\"'<>\\?#]{0,128}):(?P<password>(?:[^\s/\"'<>\\]|'(?=[\w!$%^*+.-])){1,256})@(?=[\w.\[-])"
_SLASHED: Final = (
    r"://(?P<user>[^\s/@:\"'<>\\?#]{0,128}):(?!\d{1,5}(?:[/?#,;]|$))"
    r"(?P<password>(?:[^\s@/?\"'<>\\]|'(?=[\w!$%^*+.-])|/|\?(?![\w.-]{1,40}=)){1,256}+(?:@[^\s@/\"'<>\\]{0,64}){0,4})"
    r"@(?=[\w.\[-])"
)
#: As far as the patterns reach.
_MAX_USERINFO: Final = 720
_PATHS: Final = r"(?i:.*[^a-z])?(?i:https?|wss?|file|ssh|git)"
_USER: Final = r"://(?P<user>[^\s/@:\"'<>\\?#]{16,256})@(?=[\w.\[-])"


def _userinfo(text: str, at: int) -> ValueSpan | None:
    if text.find("@", at, at + _MAX_USERINFO) < 0:
        return None
    match = compiled(_USERINFO).match(text, at)
    if match is not None:
        if stands_elsewhere(match["password"]):
            return None
        return ValueSpan(*match.span("password"), "PASSWORD")
    if compiled(_PATHS).fullmatch(text[max(0, at - 16) : at].replace("\n", " ")) is None:
        match = compiled(_SLASHED).match(text, at)
        if match is not None and not stands_elsewhere(match["password"].partition("/")[0]):
            return ValueSpan(*match.span("password"), "PASSWORD")
    match = compiled(_USER).match(text, at)
    if match is not None and looks_random(match["user"], 16):
        return ValueSpan(*match.span("user"), "SECRET")
    return None


def _bearer(text: str, at: int) -> ValueSpan | None:
    match = compiled(LEFT + r"(?i:bearer)(?:[ \t]{1,4}|%20|\+)([A-Za-z0-9._~+/=-]{8,4096})").match(text, at)
    if match is None or (len(match[1]) < 24 and not any(character.isdigit() for character in match[1])):
        return None
    return ValueSpan(*match.span(1), "AUTHORIZATION")


def _basic(text: str, at: int) -> ValueSpan | None:
    """`Basic` followed by the base64 of a text with a colon."""
    match = compiled(LEFT + r"(?i:basic)(?:[ \t]{1,4}|%20|\+)([A-Za-z0-9+/_-]{6,1024}={0,2})").match(text, at)
    if match is None:
        return None
    try:
        pair = base64.b64decode(match[1].replace("-", "+").replace("_", "/") + "==")
    except (binascii.Error, ValueError):
        return None
    return ValueSpan(*match.span(1), "AUTHORIZATION") if _user_and_password(pair, match[1]) else None


def _user_and_password(pair: bytes, token: str) -> bool:
    """Whether bytes are `user:password`; non-ASCII text is UTF-8 or, from older clients, Latin-1."""
    user, colon, password = pair.partition(b":")
    if not colon or pair.isascii():
        return bool(colon)
    try:
        return pair.decode().isprintable()
    except UnicodeDecodeError:
        word = compiled(r"[A-Z]?[a-z]+|[A-Z]+").fullmatch(token) is not None  # a word of a sentence
        return not word and user.isascii() and (user + password).decode("latin-1").isprintable()


def _curl(text: str, at: int) -> ValueSpan | None:
    match = compiled(
        r"(?<![\w-])(?:-u|--(?:proxy-)?user)[ \t=]{1,4}\\{0,7}[\"']?[^\s:\"'\\/]{1,64}:([^\s\"'\\]{3,256})"
    ).match(text, at)
    if match is None or stands_elsewhere(match[1]):
        return None
    return ValueSpan(*match.span(1), "PASSWORD")


def _oracle(text: str, at: int) -> ValueSpan | None:
    match = compiled(r"jdbc:oracle:\w{1,16}:[^\s/@:\"'\\]{1,64}/([^\s/@\"'\\]{1,128})@").match(text, at)
    return None if match is None or stands_elsewhere(match[1]) else ValueSpan(*match.span(1), "PASSWORD")


#: The clients take a password directly after -p; digits and a colon are the ports of another command.
_MYSQL: Final = (
    r"(?:mysql|mariadb)[\w-]{0,12}[ \t](?:[^\r\n|;&]{0,200}?[ \t])?-p\\{0,7}[\"']?"
    r"([^\s\"'\\-][^\s\"'\\]{2,255})"
)
_SSHPASS: Final = r"sshpass[ \t]{1,4}-p[ \t]{0,4}\\{0,7}[\"']?([^\s\"'\\]{3,256})"


def _client(text: str, at: int) -> ValueSpan | None:
    """The password on a client's command line."""
    match = compiled(f"(?i:{LEFT})(?:{_MYSQL}|{_SSHPASS})").match(text, at)
    if match is None:
        return None
    group = match.lastindex or 0
    if stands_elsewhere(match[group]) or compiled(r"[\d:]+").fullmatch(match[group]):
        return None
    return ValueSpan(*match.span(group), "PASSWORD")


CARRIED: Final[tuple[Detector, ...]] = (
    Detector(
        ("PASSWORD", "SECRET"),
        "secrets",
        "the password in `scheme://user:password@host`, including DSNs; a token in place of the user",
        "raw",
        (b"://",),
        _userinfo,
        reach=512,
    ),
    Detector(("AUTHORIZATION",), "secrets", "the token after `Bearer`", "low", (b"bearer",), _bearer),
    Detector(
        ("AUTHORIZATION",), "secrets", "`Basic` and base64 that contains a colon", "low", (b"basic",), _basic
    ),
    Detector(
        ("PASSWORD",),
        "secrets",
        "`-u user:password`, `--user user:password` of commands",
        "raw",
        (b"-u ", b"--user", b"--proxy-user"),
        _curl,
    ),
    Detector(
        ("PASSWORD",),
        "secrets",
        "`mysql -pX`, `mariadb -pX`, `sshpass -p X`",
        "raw",
        (b"mysql", b"mariadb", b"sshpass"),
        _client,
    ),
    Detector(
        ("PASSWORD",),
        "secrets",
        "`jdbc:oracle:thin:user/password@`",
        "raw",
        (b"jdbc:oracle:",),
        _oracle,
    ),
)
