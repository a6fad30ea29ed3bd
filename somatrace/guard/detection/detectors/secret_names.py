"""Classify names by the secrets they imply: `max_tokens` is a count, `access_token` a credential."""

from __future__ import annotations

import functools
import re
import string
import unicodedata
from enum import Enum
from typing import Final, NamedTuple

from somatrace.guard.detection.engine import MARKER, compiled


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


class NameStrength(Enum):
    """How strongly a name implies a secret: any value, a random-looking one, a header's whole value."""

    SURE = "any value"
    RANDOM = "a value that looks random"
    KEY = "a value that looks random and is neither an id nor a path, unlike record keys"
    HEADER = "the whole value of the header"


class NameMeaning(NamedTuple):
    """The type of values under a name, the strength of that evidence, and a minimum length."""

    type: str
    strength: NameStrength
    least: int = 3


#: Final words of names that describe a secret but do not contain one.
_ABOUT: Final = _words(
    """
    age alg algorithm at attempts budget changed class count counts cost created description
    enabled env error errors exists expired expires expiration expiry field file format header
    help hint id ids idx index invalid label length len limit limits locked message min max
    missing mode name names note policy placeholder prompt provider rate ref regex required
    reset retries rotation rule rules size source status strength text title total ttl type
    types uri url usage used valid validity var version
    """
)
#: Words before `token` or `key` that make it a position in a list or text, not a secret.
_HARMLESS: Final = {
    "token": _words(
        """
        page next continuation cursor pagination sync cancellation stop eos bos pad unk
        special mask sep cls max min per total first last start end top image audio new
        input output prompt completion
        """
    ),
    "key": _words(
        """
        public primary foreign partition sort cache idempotency object routing row hash
        lookup unique composite dedup dedupe group order sorting index translation message
        storage metric attribute event config feature flag issue project turn shift arrow
        hot s blob file redis document map lock record
        """
    ),
}
_PASSWORD: Final = _words(
    """
    password passwd passphrase passwort passcode pwd kennwort contrasena wachtwoord motdepasse
    """
)
_SECRET: Final = tuple(
    _words(
        """
        apikey secretkey accesskey privatekey clientsecret accesstoken refreshtoken
        authtoken idtoken bearertoken sessiontoken securitytoken apitoken bottoken
        accountkey signingkey encryptionkey masterkey secretkeybase subscriptionkey
        deploykey csrftoken xsrftoken personalaccesstoken secret deploytoken usertoken
        servicetoken authkey functionskey accesskeysecret pat githubtoken gitlabtoken
        npmtoken hftoken slacktoken vaulttoken
        """
    )
)
_HEADERS: Final = frozenset(
    {"authorization", "proxyauthorization", "xauthorization", "xforwardedauthorization"}
)
_RANDOM: Final = {
    "token": 10,
    "key": 20,
    "sig": 12,
    "signature": 16,
    "auth": 8,
    "credential": 8,
    "credentials": 8,
    "jwt": 16,
    "sas": 12,
    "secrets": 8,
}
#: Words after a name that specify a secret's environment or format.
_FORMS: Final = _words("value string text plain plaintext")
_BEHIND: Final = _FORMS | _words("prod production dev staging stage test live old new")
_WORDS: Final = r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+"


@functools.lru_cache(maxsize=4096)
def meaning(name: str) -> NameMeaning | None:
    """The meaning of `name`, or None if it does not imply a secret."""
    if not name.isascii():
        name = unicodedata.normalize("NFKC", name)  # ligatures, the long s, full width
    words = [word.lower() for word in re.findall(_WORDS, name)]
    kept = len(words)
    while kept > max(1, len(words) - 2) and words[kept - 1] in _BEHIND:
        kept -= 1
    what = _meaning(words)
    return _of_words_before(words[:kept], words[kept:]) if what is None else what


def _of_words_before(words: list[str], behind: list[str]) -> NameMeaning | None:
    """The meaning of a name with trailing words. The text of a token is not a secret, and that of a password
    is its form label, unless it looks random; `pass_new` counts."""
    what = _meaning(words) if behind else None
    if what is None or what.strength is NameStrength.HEADER or (words[-1] == "pass" and len(words) == 1):
        return None
    if _FORMS.isdisjoint(behind):
        return what
    if what.strength is not NameStrength.SURE or words[-1] == "pass":
        return None
    return NameMeaning(what.type, NameStrength.RANDOM, 6) if "text" in behind else what


def _meaning(words: list[str]) -> NameMeaning | None:
    if not words or words[-1] in _ABOUT:
        return None
    squashed = "".join(words)
    last, before = words[-1], words[-2] if len(words) > 1 else ""
    if squashed in _HEADERS:
        return NameMeaning("AUTHORIZATION", NameStrength.HEADER)
    if last == "cookie" or squashed == "cookies":
        return NameMeaning("COOKIE", NameStrength.HEADER)
    if any(word in squashed for word in _PASSWORD) or squashed == "senha" or last in ("pass", "passe"):
        return NameMeaning("PASSWORD", NameStrength.SURE)
    if before in _HARMLESS.get(last, ()):
        return None
    if squashed.endswith(_SECRET) and not (last == "pat" and len(words) == 1):
        return NameMeaning("SECRET", NameStrength.SURE, 5)
    if squashed.endswith("s") and squashed[:-1].endswith(_SECRET) and last != "pats":
        return NameMeaning("SECRET", NameStrength.RANDOM, 8)  # several secrets, or a count of them
    if words == ["key"]:
        return NameMeaning("SECRET", NameStrength.KEY, _RANDOM["key"])
    if last in _RANDOM:
        return NameMeaning("SECRET", NameStrength.RANDOM, _RANDOM[last])
    return None


_PLACEHOLDERS: Final = _words(
    """
    null none nil undefined true false string str int integer bool boolean object required
    optional invalid missing wrong empty changed expired incorrect unset redacted hidden masked
    bytes any text yes no n/a infinity -infinity nan self this here optional[str] default
    """
)
_MAX_PLACEHOLDER: Final = max(map(len, _PLACEHOLDERS))
#: A variable, a template, a format, a mask: a placeholder for the value.
_ELSEWHERE: Final = (
    rf"(?:{MARKER}[\s,;.)]{{0,3}}){{1,64}}|\[REDACTED[^\]]{{0,40}}\]|\[TRUNCATED|\$\{{[\w.:-]{{1,80}}\}}?|\$[A-Z_][A-Z0-9_]*"
    r"|\{\{[^{}]{0,80}\}\}|<[A-Za-z][\w /-]{0,40}>?|%[sdr]|%\(\w{1,40}\)s|[*•x.#_-]+|\{\w{0,40}\}"
)
_CODE: Final = r"[A-Za-z_][A-Za-z_]*(?:[._(\[][A-Za-z_.()\[\]]*)"


def stands_elsewhere(value: str) -> bool:
    """Whether the text is a marker, a variable, a mask, or a word for "none" rather than a value."""
    plain = value.rstrip("\\")
    if len(plain) <= _MAX_PLACEHOLDER and plain.casefold() in _PLACEHOLDERS:
        return True
    return compiled(_ELSEWHERE).fullmatch(plain) is not None


def is_code(name: str, value: str) -> bool:
    """Whether `name=value` passes a variable: `password=password`, `token=self.token`, `key=load_key()`."""
    return value == name.rpartition(".")[2] or compiled(_CODE).fullmatch(value) is not None


_DIGITS: Final = string.digits.encode()
_UPPER: Final = string.ascii_uppercase.encode()
_LOWER: Final = string.ascii_lowercase.encode()
#: Letters and digits stay, everything else separates words.
_WORD_CLASSES: Final = bytes(one if chr(one).isalnum() and one < 128 else 32 for one in range(256))


def looks_random(value: str, least: int) -> bool:
    """Whether a value looks like a key: mixed letters and digits, `least` long, no words joined by dashes."""
    if len(value) < least or not compiled(r"[\x21-\x7e]+").fullmatch(value):
        return False
    plain = value.encode()
    digits = len(plain) - len(plain.translate(None, _DIGITS))
    upper = len(plain) - len(plain.translate(None, _UPPER))
    letters = upper + len(plain) - len(plain.translate(None, _LOWER))
    if letters == 0 or (digits == 0 and not letters // 5 <= upper <= letters * 4 // 5):
        return False
    longest = max(map(len, plain.translate(_WORD_CLASSES).split()))
    if digits == 0:  # some keys have no digit, but words do not mix cases like this
        return longest >= 20
    return longest >= min(least, 12) or (digits >= 4 and len(value) >= 20)


def is_proved(what: NameMeaning, value: str, least: int) -> bool:
    """Whether a value looks like a secret under a name that is weak evidence."""
    return looks_random(value, least) and not (what.strength is NameStrength.KEY and _names_a_record(value))


_UUID: Final = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"


def _names_a_record(value: str) -> bool:
    """Whether a value is an id or a path: only parts of digits, parts of letters, and UUIDs."""
    parts = re.split(r"[/:_.-]", compiled(_UUID).sub("0", value))
    plain = all(not part or part.isdigit() or (part.isalpha() and len(part) < 20) for part in parts)
    return plain and (len(parts) > 1 or parts[0] == "0")
