"""Table of library calls that serve or wait for work: whatever the program does after them is late.

Each row names a library and its members. One that begins with `()` is a method of any class of the library:
`discord.Client().start`, `discord.ext.commands.Bot().start`.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import Final

#: They block the thread that calls them.
_CALLED: Final = {
    "aiogram": "executor.start_polling executor.start_webhook ().run_polling",
    "aiohttp": "web.run_app",
    "apscheduler.schedulers.blocking": "().start",
    "arq": "run_worker ().run",
    "bentoml": "serve",
    "bjoern": "run",
    "bottle": "run ().run",
    "celery": "().worker_main ().start ().Worker().start",
    "chainlit": "run_chainlit",
    "cheroot": "().start ().serve",
    "cherrypy": "quickstart engine.block",
    "confluent_kafka": "().poll ().consume",
    "dash": "().run ().run_server",
    "discord": "().run",
    "disnake": "().run",
    "dramatiq.cli": "main",
    "eventlet.wsgi": "server",
    "faust": "().main",
    "fastmcp": "().run",
    "flask": "().run",
    "flask_socketio": "().run",
    "flet": "app run",
    "google.cloud": "SubscriberClient().subscribe().result",
    "granian": "().serve ().run",
    "grpc": "server().start",
    "gunicorn": "().run",
    "hikari": "().run",
    "huey": "().run ().create_consumer().run",
    "hypercorn.run": "run",
    "interactions": "().start",
    "kombu": "().run",
    "kopf": "run",
    "kserve": "().start",
    "litestar": "().run",
    "litserve": "().run",
    "livekit.agents": "run_app",
    "locust.main": "main",
    "mcp.server.fastmcp": "().run",
    "mcp.server": "FastMCP().run",
    "meinheld": "server.run",
    "nextcord": "().run",
    "nicegui": "ui.run",
    "paste.httpserver": "serve",
    "prefect": "serve",
    "procrastinate": "().run_worker",
    "pyrogram": "().run",
    "Pyro5": "().requestLoop",
    "pywebio": "start_server",
    "quart": "().run",
    "ray.serve": "run",
    "robyn": "().start",
    "rpyc": "().start",
    "rq": "().work ().start",
    "runpod": "serverless.start",
    "sanic": "().run",
    "signal": "pause",
    "slack_bolt": "().start",
    "slack_sdk": "().start",
    "streamlit": "run",
    "telebot": "().polling ().infinity_polling",
    "telegram": "().idle ().run_polling ().run_webhook",
    "threading": "Event().wait",
    "thrift": "().serve",
    "tornado.ioloop": "current().start instance().start",
    "twisted.internet": "reactor.run",
    "twitchio": "().run",
    "uvicorn": "run Server().run",
    "vkbottle": "().run_forever",
    "waitress": "serve",
    "watchdog.observers": "().join",
    "watchfiles": "run_process",
    "werkzeug": "run_simple",
    "zerorpc": "().run",
}
#: Coroutines: they block what awaits them.
_AWAITED: Final = {
    "aiogram": "().start_polling",
    "aiohttp": "().start",
    "anyio": "sleep_forever Event().wait ().serve",
    "apscheduler": "().run_until_stopped",
    "arq": "().async_run ().main",
    "asyncio": "Event().wait start_server start_unix_server",
    "discord": "().start ().connect",
    "disnake": "().start ().connect",
    "fastmcp": "().run_async ().run_stdio_async ().run_http_async ().run_sse_async",
    "faststream": "().run",
    "grpc.aio": "server().start",
    "hypercorn": "asyncio.serve trio.serve",
    "interactions": "().astart",
    "livekit.agents": "().run",
    "mcp.server": "Server().run ().run_stdio_async ().run_sse_async ().run_streamable_http_async",
    "nextcord": "().start ().connect",
    "nio": "().sync_forever",
    "pipecat": "().run",
    "procrastinate": "().run_worker_async",
    "pyrogram": "idle",
    "quart": "().run_task",
    "saq": "().start",
    "slack_bolt": "().start_async",
    "socketio": "().wait",
    "telebot.async_telebot": "().polling ().infinity_polling",
    "temporalio": "().run",
    "trio": "sleep_forever serve_tcp serve_ssl_over_tcp Event().wait",
    "twitchio": "().start",
    "uvicorn": "Server().serve",
    "websockets": "serve ().wait_closed",
}
#: Context managers that serve while they are entered.
_ENTERED: Final = {"websockets": "serve unix_serve"}
#: Iterables that wait for the next message.
_ITERATED: Final = {
    "aio_pika": "().iterator ().declare_queue().iterator ().channel().declare_queue().iterator",
    "aiokafka": "AIOKafkaConsumer",
    "aiomqtt": "().messages",
    "aioredis": "().listen ().pubsub().listen",
    "azure.servicebus": "().get_queue_receiver ().get_subscription_receiver",
    "kafka": "KafkaConsumer",
    "nats": "().messages ().subscribe().messages ().jetstream().subscribe().messages",
    "pika": "().consume ().channel().consume",
    "psycopg": "().notifies",
    "redis": "().listen ().pubsub().listen",
    "valkey": "().listen ().pubsub().listen",
    "watchfiles": "watch awatch",
}
#: Conditions of a loop that works until another thread, or a signal, tells the process to stop.
_TOLD: Final = re.compile(r"(?:threading|asyncio|multiprocessing|anyio|trio)\.Event\(\)\.(?:is_set|wait)\(\)")
_MOST_PATHS: Final = 4_096
#: Methods of any library's objects.
_METHODS: Final = frozenset([
    "serve_forever", "run_forever", "wait_for_termination", "start_consuming", "run_polling", "loop_forever",
    "infinity_polling", "start_polling", "launch", "run_server", "run_until_disconnected",
])  # fmt: skip


@cache
def _pattern(members: str, library: str) -> re.Pattern[str]:
    """One row as a pattern of dotted paths. Modules and classes may stand between the parts."""
    rows = []
    for member in members.split():
        before = r"[\w.]*" if member.startswith("()") else r"(?:\w+[.])*"
        rows.append(rf"{re.escape(library)}[.]{before}{re.escape(member)}")
    return re.compile("|".join(rows))


def _is_in(table: dict[str, str], path: str) -> bool:
    return any(
        _pattern(members, library).fullmatch(path) is not None
        for library, members in table.items()
        if path.startswith(f"{library}.")
    )


@lru_cache(_MOST_PATHS)
def blocks(path: str) -> bool:
    """Whether calling that path serves or waits for work, until the process ends."""
    if blocks_awaited(path):
        return False
    head, _, last = path.rpartition(".")
    return (last in _METHODS and head.endswith(")")) or _is_in(_CALLED, path)


@lru_cache(_MOST_PATHS)
def blocks_awaited(path: str) -> bool:
    """Whether awaiting a call of that path does."""
    return _is_in(_AWAITED, path)


def serves_inside(path: str) -> bool:
    """Whether a context manager, made by calling that path, serves from when it is entered."""
    return _is_in(_ENTERED, path)


@lru_cache(_MOST_PATHS)
def waits_for_messages(path: str) -> bool:
    """Whether a loop over that waits for messages: the call's result, or the attribute."""
    return _is_in(_ITERATED, path.removesuffix("()"))


def is_told_to_stop(path: str) -> bool:
    """Whether the result of that call says whether the process is to stop."""
    return _TOLD.fullmatch(path) is not None
