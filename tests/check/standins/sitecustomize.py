"""Real servers, stopped as soon as they serve."""

import importlib.abc
import importlib.util
import os
import pathlib
import signal
import sys
import time

import recorder

if os.environ.get("WITHOUT_UVLOOP"):
    sys.modules["uvloop"] = None


def _uvicorn(module):
    async def main_loop(self):
        recorder.serving()
        host = self.servers[0].sockets[0].getsockname()
        await _get(host[1])

    module.Server.main_loop = main_loop


def _uvicorn_config(module):
    """A free port instead of the default one, which another tree may hold."""
    begin = module.Config.__init__

    def configure(self, *args, **kwargs):
        begin(self, *args, **{**kwargs, "port": 0} if kwargs.get("port") == 8000 else kwargs)

    module.Config.__init__ = configure


async def _get(port):
    import asyncio

    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    await asyncio.wait_for(reader.read(), 5)
    writer.close()


def _uvicorn_supervisor(module):
    """Workers run once; the supervisor ends with them, and fails if one failed, instead of going on."""

    def ended(self):
        workers = [one.process for one in self.processes]
        if not any(worker.is_alive() for worker in workers):
            if any(worker.exitcode for worker in workers):
                os._exit(1)
            self.should_exit.set()

    module.Multiprocess.keep_subprocess_alive = ended


def _gunicorn(module):
    def run(self):
        recorder.serving()
        os.kill(os.getppid(), signal.SIGQUIT)
        os._exit(0)

    module.SyncWorker.run = run


def _celery(module):
    """A child of the pool serves, and runs every task once; the parent waits for that and ends."""

    def ready(**_):
        folder = pathlib.Path(os.environ["RECORD_TO"])
        deadline = time.monotonic() + 60
        while not list(folder.glob("*.json")) and time.monotonic() < deadline:
            time.sleep(0.02)
        os._exit(0)

    def beat(**_):
        recorder.serving()
        os._exit(0)

    module.worker_ready.connect(ready, weak=False)
    module.beat_init.connect(beat, weak=False)


def _celery_pool(module):
    initialize = module.process_initializer

    def process_initializer(app, hostname):
        initialize(app, hostname)
        recorder.note("serving")
        try:
            for name, task in app.tasks.items():
                if not name.startswith("celery."):
                    task()
        finally:
            recorder.written()  # only now: the parent ends this process when it sees the record

    module.process_initializer = process_initializer


def _asyncio(module):
    serve = module.Server.serve_forever

    async def serve_forever(self):
        if "gunicorn" in sys.modules:  # its master serves a socket of its own, for control
            await serve(self)
        recorder.serving()

    module.Server.serve_forever = serve_forever


_PATCHES = {
    "asyncio.base_events": _asyncio,
    "uvicorn.config": _uvicorn_config,
    "uvicorn.server": _uvicorn,
    "uvicorn.supervisors.multiprocess": _uvicorn_supervisor,
    "gunicorn.workers.sync": _gunicorn,
    "celery.signals": _celery,
    "celery.concurrency.prefork": _celery_pool,
}


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name not in _PATCHES:
            return None
        patch = _PATCHES.pop(name)
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            patch(module)

        spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, _Finder())
