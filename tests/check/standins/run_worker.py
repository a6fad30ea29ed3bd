"""Replacement for `arq`, `dramatiq`, `streamlit run`, `flask run` and lambda's runtime."""

import asyncio
import importlib
import runpy
import sys
from pathlib import Path

import recorder

program, *arguments = sys.argv[1:]
sys.path.insert(0, str(Path.cwd()))
if program == "arq":
    module, _, name = arguments[0].rpartition(".")
    settings = getattr(importlib.import_module(module), name)
    startup = getattr(settings, "on_startup", None)
    if startup is not None:
        asyncio.run(startup({}))
    recorder.serving()
    shutdown = getattr(settings, "on_shutdown", None)
    if shutdown is not None:
        asyncio.run(shutdown({}))
elif program == "dramatiq":
    importlib.import_module(arguments[0])
    recorder.serving()
elif program == "streamlit":
    runpy.run_path(arguments[1], run_name="__main__")
    recorder.serving()
elif program == "flask":
    from flask.cli import main

    main(arguments)
elif program == "lambda":
    module, _, name = arguments[0].rpartition(".")
    handler = getattr(importlib.import_module(module), name)
    recorder.serving()
    handler({}, None)
    handler({}, None)
