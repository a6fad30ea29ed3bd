"""The shapes of safe values, by what they are."""

from __future__ import annotations

from typing import Final, NamedTuple


class SafeShape(NamedTuple):
    """The form of a safe value: a pattern for the whole value, and a description for the documentation.

    With `scanned`, a value of this shape is removed if a detector finds something in it. With `few`, values
    leave until a key has had too many distinct ones; from then on they are treated as content.
    """

    pattern: str
    about: str
    scanned: bool = True
    #: Its texts are words of the program and its libraries, so there are few distinct ones.
    few: bool = False


WORD: Final = SafeShape(r"[A-Za-z][A-Za-z0-9_./-]{0,47}", "one word of at most 48 characters", few=True)
MODEL: Final = SafeShape(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127}", "a model name without spaces")
IDENTIFIER: Final = SafeShape(
    r"(?=[0-9]{0,7}(?:[A-Za-z_-]|$))[A-Za-z0-9][A-Za-z0-9_.:=|/-]{0,127}"
    r"|[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
    "an identifier, not only digits, or a UUID",
)
LABEL: Final = SafeShape(
    r"[^\W\d_<][\w.:/<>+-]{0,63}(?: [\w.:/<>+-]{1,32}){0,3}", "a name of at most four words", few=True
)
DATABASE: Final = SafeShape(r"[A-Za-z_][A-Za-z0-9_$.-]{0,62}", "a database name, not a path or address")
DATABASE_OPERATION: Final = SafeShape(
    r"[A-Za-z]{2,16}(?: [A-Za-z_][A-Za-z0-9_$.-]{0,62})?", "an operation, optionally with a database name"
)
HOST: Final = SafeShape(
    r"[A-Za-z0-9](?:[A-Za-z0-9-]|\.(?=[A-Za-z0-9])){0,252}|[0-9a-f:]{2,39}",
    "a host name, or a loopback address",
)
ROUTE: Final = SafeShape(
    r"(?=[^/]*/)(?!.*://)(?:[A-Za-z0-9_.~:<>*-]|/|\{[A-Za-z0-9_:]+\}){1,200}", "a route template"
)
METHOD: Final = SafeShape(r"[A-Z_]{1,16}", "an HTTP method")
TYPE: Final = SafeShape(
    r"[A-Za-z_][A-Za-z0-9_.<>]{0,127}|<class '[A-Za-z_][A-Za-z0-9_.]{0,127}'>|[1-5][0-9]{2}|-32[0-9]{3}",
    "a class or its name, a code, an HTTP status, or a code of JSON-RPC",
    few=True,
)
VERSION: Final = SafeShape(r"[A-Za-z0-9][A-Za-z0-9.+_-]{0,31}", "a version")
_NUMBER = r"(?:-?[0-9]{1,12}(?:\.[0-9]{1,20})?(?:[eE][+-]?[0-9]{1,3})?|null)"
#: The words of usage counter names, joined by `_`; with free names, any text could be one.
_COUNTER = (
    "input|output|total|prompt|completion|candidates|thoughts|tokens?|count|cost|usage|details?|cached?|cacheable"
    "|creation|read|write|hits?|miss|audio|text|images?|video|document|file|speech|reasoning|thinking|accepted"
    "|rejected|prediction|ephemeral|5m|1h|server|tool|use|web|search|requests?|characters|seconds|duration|units?"
    "|billed|modality|embeddings?|content|amount"
)
COUNTERS: Final = rf"(?:(?:{_COUNTER})(?:[_.](?=[a-z0-9])|(?![a-z0-9_.])))+"
_NAME = rf'\s?"{COUNTERS}"\s?:\s?'
_OBJECT = rf"\{{(?:{_NAME}{_NUMBER},?){{0,32}}\s?\}}"
NUMBERS: Final = SafeShape(
    rf"\{{(?:{_NAME}(?:{_NUMBER}|{_OBJECT}),?){{0,32}}\s?\}}", "a JSON object of counters and numbers"
)
PUBLIC_KEY: Final = SafeShape(r"pk-lf-[A-Za-z0-9-]{1,64}", "a Langfuse project's public key", scanned=False)
