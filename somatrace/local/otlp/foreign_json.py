"""JSON inside the values of senders, read as values that the store and a response can hold."""

from __future__ import annotations

import json
import math
from typing import Any, Final


def parse(text: str) -> Any:
    """The value of a JSON text. Raises `ValueError` if it is none, or is nested too deeply.

    Lone surrogates, which UTF-8 cannot encode, become question marks; infinities and NaN become text.
    """
    try:
        value = _DECODER.decode(text)
        return _without_surrogates(value) if "\\u" in text else value
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _number(text: str) -> float | str:
    number = float(text)
    return number if math.isfinite(number) else text


#: shared, since `json.loads` builds a new one on every call with non-default options
_DECODER: Final = json.JSONDecoder(parse_float=_number, parse_constant=str)


def _without_surrogates(node: Any) -> Any:
    if isinstance(node, str):
        return node if node.isascii() else node.encode("utf-8", "replace").decode()
    if isinstance(node, list):
        return [_without_surrogates(item) for item in node]
    if isinstance(node, dict):
        return {_without_surrogates(key): _without_surrogates(value) for key, value in node.items()}
    return node
