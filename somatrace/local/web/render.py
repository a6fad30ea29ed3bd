"""Template rendering. Everything is escaped, so span content never becomes markup."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from somatrace.local import formatting
from somatrace.local.web.page_query import tenant_filter

_HERE: Final = Path(__file__).parent


def _template_environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        visible=formatting.visible,
        line=formatting.line,
        duration=formatting.duration,
        count=formatting.count,
        counted=formatting.counted,
        cost=formatting.cost,
        rate=formatting.rate,
        size=formatting.size,
        moment=moment,
        period=formatting.period,
        day=lambda seconds: moment(int(seconds * 1e9), "short"),
        words=lambda name: str(name).replace("_", " "),
        segment=lambda text: quote(str(text), safe="", errors="replace"),
    )
    environment.globals["tenant_filter"] = tenant_filter
    return environment


def moment(nanoseconds: int | None, form: str = "long") -> Markup:
    """A `<time>` element in UTC, which the script may convert to the reader's time zone."""
    if nanoseconds is None:
        return Markup("never")
    text = formatting.moment(nanoseconds)
    shown = text[5:16] if form == "short" else text
    timestamp = text.replace(" ", "T") + "Z" if text[4:5] == "-" else ""
    return Markup('<time datetime="{}" data-form="{}">{}</time>').format(timestamp, form, escape(shown))


class Renderer:
    """Renders templates for one server; `status` returns the figures in every page's header."""

    def __init__(self, status: Callable[[], dict[str, Any]]) -> None:
        self._environment = _template_environment()
        self._status = status

    def __call__(self, template: str, status: int = 200, **values: Any) -> Response:
        """Render a whole page, with current figures in the header."""
        began = time.perf_counter()
        text = self._environment.get_template(template).render(
            {"header": self._status(), "now_ns": time.time_ns(), **values}
        )
        took = (time.perf_counter() - began) * 1000
        return HTMLResponse(text, status, {"Server-Timing": f"render;dur={took:.1f}"})

    def part(self, template: str, status: int = 200, **values: Any) -> Response:
        """Render a part of a page, which a script inserts."""
        return HTMLResponse(self._environment.get_template(template).render(values), status)


def wants_part(request: Request, target: str) -> bool:
    """Whether htmx requested only the element `target`, and not a page restored from history."""
    return (
        request.headers.get("hx-request") == "true"
        and request.headers.get("hx-history-restore-request") != "true"
        and request.headers.get("hx-target", "").endswith("#" + target)
    )
