"""Extract values for a JSON schema from text: tool arguments and structured answers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from somatrace.modelserver.task import Json, Tool
from somatrace.modelserver.text import words

_IDENTIFIER: Final = re.compile(r"\b[A-Z]{1,5}-\d{1,8}\b")
_NUMBER: Final = re.compile(r"(?<![\w.])-?\d{1,12}(?:\.\d{1,6})?(?![\w])")
_IDENTIFYING: Final = frozenset({"id", "sku", "number", "code", "order", "item", "key", "reference"})
_MAX_DEPTH: Final = 12
_MAX_PROPERTIES: Final = 100
_MAX_VALUES: Final = 1_000
_MAX_NUMBER: Final = 1e15


class Facts:
    """The values in a text: identifiers such as `A-1001`, numbers, and the text itself."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.identifiers = _IDENTIFIER.findall(text)
        self._numbers = [float(number) for number in _NUMBER.findall(_IDENTIFIER.sub(" ", text))]

    def number(self) -> float | None:
        """The next number; the last one repeats, for schemas with more numbers than the text."""
        if len(self._numbers) > 1:
            return self._numbers.pop(0)
        return self._numbers[0] if self._numbers else None


def arguments(tool: Tool, question: str) -> dict[str, Any] | None:
    """The arguments for `tool` found in `question`, or None if a required one is missing."""
    facts = Facts(question)
    found = {}
    for name, schema in _properties(tool.parameters):
        value = _extract(name, schema, facts)
        if value is not None:
            found[name] = value
    required = tool.parameters.get("required")
    if isinstance(required, list) and any(name not in found for name in map(str, required)):
        return None
    return found


def structure(schema: Json, question: str, quotes: Sequence[str]) -> Any:
    """A value that matches `schema`, built from the question and the sentences quoted for it.

    Supports type, properties, items, enum, const, anyOf/oneOf/allOf (the first that is not null), local
    `$ref`, minimum/maximum, minItems/maxItems and maxLength. Values nested deeper than 12 levels or
    beyond the first 1,000 become null.
    """
    return _Structure(schema, question, quotes).value(schema, "", 0)


def _properties(schema: Json) -> list[tuple[str, Json]]:
    properties = schema.get("properties", {})
    if not isinstance(properties, Mapping):
        return []
    return [(name, part) for name, part in properties.items() if isinstance(part, Mapping)][:_MAX_PROPERTIES]


def _extract(name: str, schema: Json, facts: Facts) -> Any:
    """The question's value for one argument, None if there is none."""
    if isinstance(schema.get("enum"), list):
        return _mentioned(schema["enum"], facts.text)
    kind = _type(schema)
    if kind in ("integer", "number"):
        number = facts.number()
        return None if number is None else _bounded(schema, number, kind)
    if kind == "string":
        if _identifying(name):
            return facts.identifiers[0] if facts.identifiers else None
        return facts.text
    return None


def _identifying(name: str) -> bool:
    return bool(_IDENTIFYING & set(name.lower().replace("-", "_").split("_")))


def _mentioned(options: Sequence[Any], text: str) -> Any:
    present = set(words(text))
    return next((option for option in options if set(words(str(option))) & present), None)


def _type(schema: Json) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((each for each in kind if each != "null"), "null")
    if kind is None and "properties" in schema:
        return "object"
    return str(kind)


def _bounded(schema: Json, number: float, kind: str) -> float | int:
    low, high = schema.get("minimum"), schema.get("maximum")
    if isinstance(low, int | float) and abs(low) <= _MAX_NUMBER:
        number = max(number, low)
    if isinstance(high, int | float) and abs(high) <= _MAX_NUMBER:
        number = min(number, high)
    return int(number) if kind == "integer" else number


class _Structure:
    def __init__(self, root: Json, question: str, quotes: Sequence[str]) -> None:
        self._root = root
        self._question = Facts(question)
        self._answer = Facts(" ".join(quotes))
        self._quotes = quotes
        self._left = _MAX_VALUES  # bounds schemas that refer to themselves twice per level

    def value(self, schema: Json, name: str, depth: int) -> Any:
        schema = self._resolved(schema)
        self._left -= 1
        if depth > _MAX_DEPTH or self._left < 0:
            return None
        if "const" in schema:
            return schema["const"]
        options = schema.get("enum")
        if isinstance(options, list) and options:
            mentioned = (_mentioned(options, facts.text) for facts in (self._question, self._answer))
            return next((option for option in mentioned if option is not None), options[0])
        kind = _type(schema)
        if kind == "object":
            return {key: self.value(part, key, depth + 1) for key, part in _properties(schema)}
        if kind == "array":
            return self._array(schema, name, depth)
        return self._scalar(schema, name, kind)

    def _resolved(self, schema: Json) -> Json:
        for _ in range(_MAX_DEPTH):
            reference = schema.get("$ref")
            choice = next((schema[key] for key in ("anyOf", "oneOf", "allOf") if key in schema), None)
            if isinstance(reference, str):
                schema = self._lookup(reference)
            elif isinstance(choice, list):
                options = [each for each in choice if isinstance(each, Mapping)]
                schema = next((each for each in options if each.get("type") != "null"), {"type": "null"})
            else:
                return schema
        return {"type": "null"}

    def _lookup(self, reference: str) -> Json:
        node: Any = self._root
        for part in reference.removeprefix("#").strip("/").split("/"):
            node = node.get(part) if part and isinstance(node, Mapping) else node
        return node if isinstance(node, Mapping) else {"type": "null"}

    def _array(self, schema: Json, name: str, depth: int) -> list[Any]:
        items = schema.get("items")
        items = self._resolved(items) if isinstance(items, Mapping) else {"type": "string"}
        low, high = schema.get("minItems", 0), schema.get("maxItems", 3)
        low, high = (low, high) if isinstance(low, int) and isinstance(high, int) else (0, 3)
        if _type(items) == "string" and "enum" not in items:
            values: list[Any] = list(self._quotes)
        else:
            values = [self.value(items, name, depth + 1)]
        while values and len(values) < min(low, _MAX_PROPERTIES):
            values.append(values[-1])
        return values[: max(high, 0)]

    def _scalar(self, schema: Json, name: str, kind: str) -> Any:
        if kind in ("integer", "number"):
            number = self._question.number()
            number = self._answer.number() if number is None else number
            return _bounded(schema, 0.0 if number is None else number, kind)
        if kind == "boolean":
            return bool(self._quotes)
        if kind == "string":
            found = _extract(name, schema, self._question) if _identifying(name) else None
            text = str(found or self._answer.text)
            limit = schema.get("maxLength")
            return text[:limit] if isinstance(limit, int) and limit >= 0 else text
        return None
