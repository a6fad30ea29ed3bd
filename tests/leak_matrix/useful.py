"""The span values that an operator needs without content, each of which should leave unchanged."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, Final

from tests.leak_matrix.canary import found

#: Written down here and not taken from the guard's tables, which are what is measured.
NEEDED: Final = re.compile(
    r"(?:exception/)?(?:"
    # models, usage, ids, finish reasons
    r"gen_ai\.(?:request|response)\.model|langfuse\.observation\.model\.name|gen_ai\.usage\..*|llm\.usage\..*"
    r"|langfuse\.observation\.(?:usage|cost)_details|gen_ai\.(?:response|tool\.call|conversation)\.id"
    r"|gen_ai\.response\.(?:finish_reasons?|stop_reason)|gen_ai\.request\.(?:temperature|max_tokens|seed|top_p)"
    r"|gen_ai\.(?:operation\.name|provider\.name|system)|gen_ai\.is_streaming|llm\.is_streaming"
    r"|llm\.(?:provider|system|model_name|finish_reason)|openinference\.span\.kind|embedding\.model_name"
    r"|crewai\.(?:agent|crew|task)\.id|haystack\.component\.(?:name|type)|tool\.name"
    # the transport
    r"|http\.(?:request\.)?method|http\.route|http\.(?:response\.)?status_code|server\.(?:address|port)"
    r"|url\.scheme|network\.protocol\.version"
    # stores
    r"|db\.system(?:\.name)?|db\.operation(?:\.name)?|db\.(?:sql\.table|collection\.name)|db\..*n_results"
    # agents, tools and failures
    r"|gen_ai\.(?:tool|agent|workflow)\.name|traceloop\.(?:entity\.name|entity\.path|workflow\.name|span\.kind)"
    r"|langfuse\.observation\.(?:type|level)|mcp\.(?:method\.name|session\.id)|error\.(?:type|code)|exception\.type"
    r")"
)


def compared(recorded: Iterable[dict[str, Any]]) -> tuple[int, list[str]]:
    """The number of needed values recorded, and a list of those that did not leave unchanged.

    A value that contains a canary is content, wherever it is.
    """
    count, changed = 0, []
    for span in recorded:
        pairs = {key: pair for key, pair in span["attributes"].items() if NEEDED.fullmatch(key)}
        pairs |= {f"span {part}": pair for part, pair in span["parts"].items()}
        for key, (before, after) in pairs.items():
            if found(json.dumps(before).encode()):
                continue
            count += 1
            if before != after:
                changed.append(f"{span['scope']}: {key}: {before!r} became {after!r}")
    return count, changed
