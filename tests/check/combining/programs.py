"""The modules of a service, for a place of the call and a flow."""

from __future__ import annotations

from textwrap import indent

from tests.check.combining.flows import Flow
from tests.check.combining.places import Place

#: How an application is made: by its module, by a function of it, or by a function that the server calls.
APP_FORMS = ("the module's", "made by a function", "a factory's")


def script(place: Place, flow: Flow, helper: str) -> str:
    """A module with a function `main`."""
    parts = [
        place.first,
        flow.imports,
        place.imports,
        place.top,
        flow.definitions,
        place.definitions,
        place.end,
        _function("def main():", place.start, flow.body, place.after),
        _block('if __name__ == "__main__":', place.guard, "main()"),
    ]
    return _text(parts, helper)


def app(place: Place, form: str, helper: str) -> str:
    """A module with an application of FastAPI."""
    parts = [place.first, "from contextlib import asynccontextmanager\n\nfrom fastapi import FastAPI"]
    parts += [place.imports, place.top, place.definitions, place.end]
    lifespan = place.before_yield or place.after_yield
    if lifespan:
        head = "@asynccontextmanager\nasync def lifespan(app):"
        parts.append(_function(head, place.before_yield, "yield", place.after_yield))
    made = f"FastAPI({'lifespan=lifespan' if lifespan else ''})"
    build = [f"app = {made}"]
    if place.startup:
        build.append(_block('@app.on_event("startup")\nasync def begin():', place.startup))
    build.append(_function('@app.get("/")\nasync def read():', place.request, "return {}"))
    if form == "the module's":
        parts += build
    else:
        parts.append(_function("def create_app():", *build, "return app"))
        parts += ["app = create_app()"] * (form == "made by a function")
    if place.guard:
        parts.append(_block('if __name__ == "__main__":', place.guard))
    return _text(parts, helper)


def _function(head: str, *parts: str) -> str:
    return _block(head, *parts)


def _block(head: str, *parts: str) -> str:
    return f"{head}\n" + indent("\n".join(part for part in parts if part), "    ")


def _text(parts: list[str], helper: str) -> str:
    return "\n\n".join(part for part in parts if part).replace("{helper}", helper) + "\n"
