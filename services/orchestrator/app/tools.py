"""The orchestrator's tools: order lookup and price calculation over two small tables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

ORDERS = {
    "A-1001": "shipped on 2 March by van and will arrive on 4 March",
    "A-1002": "packed and leaves the warehouse this afternoon",
    "A-1003": "waiting for the payment of invoice I-7731",
    "A-1004": "delivered on 27 February and signed for by M. Okafor",
    "A-1005": "split: the beans have been delivered, the machine follows on 9 March",
}
PRICES = {
    "KT-200": ("box of 12 cups", Decimal("38.40")),
    "BN-010": ("kilogram of the Canal blend", Decimal("19.90")),
    "BN-020": ("kilogram of the Morning blend", Decimal("21.50")),
    "FH-001": ("Finch machine", Decimal("1290.00")),
    "FH-002": ("Heron machine", Decimal("3480.00")),
}
DISCOUNTS = ((50, Decimal("0.12")), (10, Decimal("0.05")))
MOST = 10_000


class ToolError(Exception):
    """A tool call failed; `status` is the HTTP status for the caller."""

    def __init__(self, code: str, message: str, status: int) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


def lookup_order(order_id: str) -> str:
    """The status of one order."""
    if order_id not in ORDERS:
        raise ToolError("order_not_found", f"there is no order {order_id}", 404)
    return f"Order {order_id} is {ORDERS[order_id]}."


def quote_price(sku: str, quantity: int) -> str:
    """The price for a quantity of an article, with the volume discount."""
    if sku not in PRICES:
        raise ToolError("article_not_found", f"there is no article {sku}", 404)
    if not 0 < quantity <= MOST:
        raise ToolError("quantity_out_of_range", f"quote 1 to {MOST} pieces", 422)
    name, price = PRICES[sku]
    discount = next((share for least, share in DISCOUNTS if quantity >= least), Decimal(0))
    total = (price * quantity * (1 - discount)).quantize(Decimal("0.01"), ROUND_HALF_UP)
    reduced = f", {discount:.0%} discount included" if discount else ""
    return f"The price quote for {quantity} of {sku} ({name}) is {total} euros{reduced}."


def run_tool(name: str, arguments: str) -> str:
    """Call one of `DEFINITIONS` with JSON arguments from a model, validated like any other input."""
    try:
        given = json.loads(arguments)
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict):
        raise ToolError("tool_call_invalid", "the plan's arguments are not a JSON object", 502)
    return _dispatch(name, given)


def _dispatch(name: str, arguments: Mapping[str, Any]) -> str:
    if name == "lookup_order" and isinstance(order := arguments.get("order_id"), str):
        return lookup_order(order[:32])
    if name == "quote_price" and isinstance(sku := arguments.get("sku"), str):
        quantity = arguments.get("quantity")
        if isinstance(quantity, int):
            return quote_price(sku[:32], quantity)
    raise ToolError("tool_call_invalid", "the plan requested an invalid call", 502)


def _definition(name: str, description: str, properties: dict[str, dict[str, Any]]) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    return {
        "type": "function",
        "function": {"name": name, "description": description, "parameters": parameters},
    }


DEFINITIONS = [
    _definition("lookup_order", "Status of an order by its number", {"order_id": {"type": "string"}}),
    _definition(
        "quote_price",
        "Price quote for a quantity of an article",
        {"sku": {"type": "string"}, "quantity": {"type": "integer", "minimum": 1}},
    ),
]
