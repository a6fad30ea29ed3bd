"""The files that start a command in a service's directory, as their tools document them."""

from __future__ import annotations

import json
from collections.abc import Callable

from tests.check.combining.layouts import Layout

Files = dict[str, str]


def _image(layout: Layout, end: str, *, context: str = "") -> str:
    """A Dockerfile that is built in the service's directory, or in the one given."""
    lines = ["FROM python:3.12-slim", "WORKDIR /srv/app"]
    if layout.shared:
        lines += [f"COPY {layout.shared} /srv/shared", f"COPY {layout.root} /srv/app"]
    else:
        lines.append(f"COPY {context or '.'} .")
    path = [f"/srv/app/{layout.source}"] * bool(layout.source) + ["/srv/shared"] * bool(layout.shared)
    if path:
        lines.append(f"ENV PYTHONPATH={':'.join(path)}")
    return "\n".join([*lines, end, ""])


def _exec(command: str) -> str:
    return json.dumps(command.split())


def _beside(layout: Layout, name: str) -> str:
    """The place of a file in the service's directory."""
    return f"{layout.root}/{name}" if layout.root else name


def _dockerfile(layout: Layout) -> str:
    return "Dockerfile" if layout.shared else _beside(layout, "Dockerfile")


def _entering(layout: Layout, command: str) -> str:
    return f"cd {layout.root} && {command}" if layout.root else command


def exec_form(layout: Layout, command: str) -> Files:
    return {_dockerfile(layout): _image(layout, f"CMD {_exec(command)}")}


def shell_form(layout: Layout, command: str) -> Files:
    return {_dockerfile(layout): _image(layout, f"CMD {command}")}


def at_the_top(layout: Layout, command: str) -> Files:
    """A Dockerfile at the repository's root that copies the service's directory."""
    return {"Dockerfile": _image(layout, f"ENTRYPOINT {_exec(command)}", context=layout.root)}


def in_stages(layout: Layout, command: str) -> Files:
    built = _image(layout, "RUN pip install -r requirements.txt").replace("-slim\n", "-slim AS build\n", 1)
    kept = [line for line in built.splitlines() if line.startswith("ENV")]
    end = ["FROM python:3.12-slim", *kept, "COPY --from=build /srv /srv", "WORKDIR /srv/app"]
    return {_dockerfile(layout): "\n".join([built, *end, f"CMD {_exec(command)}", ""])}


def entrypoint_script(layout: Layout, command: str) -> Files:
    return {
        _dockerfile(layout): _image(layout, 'ENTRYPOINT ["./entrypoint.sh"]'),
        _beside(layout, "entrypoint.sh"): f"#!/bin/sh\nset -e\necho starting\nexec {command}\n",
    }


def entrypoint_script_with_arguments(layout: Layout, command: str) -> Files:
    end = f'ENTRYPOINT ["sh", "/srv/app/docker/start.sh"]\nCMD {_exec(command)}'
    script = '#!/bin/sh\nset -eu\nif [ -n "${WAIT:-}" ]; then\n  sleep 1\nfi\nexec "$@"\n'
    return {_dockerfile(layout): _image(layout, end), _beside(layout, "docker/start.sh"): script}


def restarting_script(layout: Layout, command: str) -> Files:
    script = f"#!/bin/bash\nwhile true; do\n  {command}\n  sleep 1\ndone\n"
    return {
        _dockerfile(layout): _image(layout, 'CMD ["bash", "run.sh"]'),
        _beside(layout, "run.sh"): script,
    }


def reporting_script(layout: Layout, command: str) -> Files:
    script = f'#!/bin/bash\n{command}\ncode=$?\necho "ended with $code"\nexit $code\n'
    return {
        _dockerfile(layout): _image(layout, "CMD bash scripts/run.sh"),
        _beside(layout, "scripts/run.sh"): script,
    }


def choosing_script(layout: Layout, command: str) -> Files:
    script = (
        f'#!/bin/sh\nif [ "$1" = "serve" ]; then\n  exec {command}\nelif [ "$1" = "migrate" ]; then\n'
        '  exec python -m alembic upgrade head\nfi\nexec "$@"\n'
    )
    return {
        _dockerfile(layout): _image(layout, 'ENTRYPOINT ["./entrypoint.sh"]\nCMD ["serve"]'),
        _beside(layout, "entrypoint.sh"): script,
    }


def written_script(layout: Layout, command: str) -> Files:
    run = f"RUN printf '#!/bin/sh\\nset -e\\nexec {command}\\n' > /start.sh && chmod +x /start.sh"
    return {_dockerfile(layout): _image(layout, f'{run}\nCMD ["/start.sh"]')}


def make(layout: Layout, command: str) -> Files:
    makefile = f".PHONY: run test\n\ntest:\n\tpytest\n\nrun: ## start it\n\t@{command}\n"
    return {
        _dockerfile(layout): _image(layout, 'CMD ["make", "run"]'),
        _beside(layout, "Makefile"): makefile,
    }


def s6(layout: Layout, command: str) -> Files:
    run = f"#!/command/with-contenv sh\ncd /srv/app\nexec {command}\n"
    return {
        _dockerfile(layout): _image(
            layout, f'COPY {layout.root + "/" if layout.shared else ""}rootfs /\nENTRYPOINT ["/init"]'
        ),
        _beside(layout, "rootfs/etc/s6-overlay/s6-rc.d/orders/run"): run,
        _beside(layout, "rootfs/etc/s6-overlay/s6-rc.d/orders/type"): "longrun\n",
    }


def poe(layout: Layout, command: str) -> Files:
    return _task(layout, "poe serve", f'[tool.poe.tasks]\nserve = "{command}"\n')


def pdm(layout: Layout, command: str) -> Files:
    return _task(layout, "pdm run serve", f'[tool.pdm.scripts]\nserve.cmd = "{command}"\n')


def hatch(layout: Layout, command: str) -> Files:
    return _task(layout, "hatch run serve", f'[tool.hatch.envs.default.scripts]\nserve = "{command}"\n')


def pixi(layout: Layout, command: str) -> Files:
    return _task(layout, "pixi run serve", f'[tool.pixi.tasks]\nserve = {{ cmd = "{command}" }}\n')


def _task(layout: Layout, call: str, table: str) -> Files:
    return {
        _dockerfile(layout): _image(layout, f"CMD {_exec(call)}"),
        _beside(layout, "pyproject.toml"): table,
    }


def uv(layout: Layout, command: str) -> Files:
    return {_dockerfile(layout): _image(layout, f"CMD {_exec('uv run --no-sync ' + command)}")}


def compose(layout: Layout, command: str) -> Files:
    context = "." if layout.shared else layout.root or "."
    text = f"services:\n  orders:\n    build: {context}\n    command: {command}\n    restart: always\n"
    return {_dockerfile(layout): _image(layout, "EXPOSE 8000"), "compose.yaml": text}


def compose_list(layout: Layout, command: str) -> Files:
    place = _dockerfile(layout)
    text = (
        f"services:\n  db:\n    image: postgres:16\n  orders:\n    build:\n      context: ./{place[:-11]}\n"
        f"    command: {_exec(command)}\n"
    )
    return {place: _image(layout, "EXPOSE 8000"), "docker-compose.yml": text}


def compose_volume(layout: Layout, command: str) -> Files:
    text = f"services:\n  orders:\n    image: python:3.12\n    working_dir: /code/{layout.root}\n"
    path = [f"/code/{layout.path()}"] * bool(layout.source) + [f"/code/{layout.shared}"] * bool(layout.shared)
    if path:
        text += f"    environment:\n      PYTHONPATH: {':'.join(path)}\n"
    return {"compose.yaml": text + f"    volumes:\n      - .:/code\n    command: {command}\n"}


def kubernetes(layout: Layout, command: str) -> Files:
    words = command.split()
    text = (
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: orders\nspec:\n  template:\n    spec:\n"
        f"      containers:\n        - name: orders\n          image: registry.local/orders:1\n"
        f"          command: {json.dumps(words[:1])}\n          args: {json.dumps(words[1:])}\n"
    )
    return {_dockerfile(layout): _image(layout, "EXPOSE 8000"), "deploy/orders.yaml": text}


def procfile(layout: Layout, command: str) -> Files:
    return {"Procfile": f"release: python -m alembic upgrade head\nweb: {_entering(layout, command)}\n"}


def systemd(layout: Layout, command: str) -> Files:
    path = [f"/opt/shop/{layout.path()}"] * bool(layout.source)
    path += [f"/opt/shop/{layout.shared}"] * bool(layout.shared)
    more = f"Environment=PYTHONPATH={':'.join(path)}\n" if path else ""
    unit = (
        f"[Unit]\nDescription=Orders\n\n[Service]\nWorkingDirectory=/opt/shop/{layout.root}\n{more}"
        f"ExecStart=/opt/shop/.venv/bin/{command}\nRestart=always\n"
    )
    return {"deploy/orders.service": unit}


def supervisord(layout: Layout, command: str) -> Files:
    text = (
        "[supervisord]\nnodaemon=true\n\n[program:orders]\n"
        f"command={command}\ndirectory=/srv/app\nautorestart=true\n"
    )
    end = 'CMD ["supervisord", "-c", "/srv/app/supervisord.conf"]'
    return {_dockerfile(layout): _image(layout, end), _beside(layout, "supervisord.conf"): text}


def render(layout: Layout, command: str) -> Files:
    text = (
        "services:\n  - type: web\n    name: orders\n    runtime: python\n"
        f"    rootDir: {layout.root or '.'}\n    startCommand: {command}\n"
    )
    return {"render.yaml": text}


def railway(layout: Layout, command: str) -> Files:
    text = json.dumps({"deploy": {"startCommand": command, "restartPolicyType": "ALWAYS"}}, indent=2)
    return {_beside(layout, "railway.json"): text + "\n"}


def fly(layout: Layout, command: str) -> Files:
    place = _dockerfile(layout)
    text = f'app = "orders"\n\n[processes]\napp = "{command}"\n'
    return {place: _image(layout, "EXPOSE 8000"), place.replace("Dockerfile", "fly.toml"): text}


def app_engine(layout: Layout, command: str) -> Files:
    return {_beside(layout, "app.yaml"): f"runtime: python312\nentrypoint: {command}\n"}


def app_runner(layout: Layout, command: str) -> Files:
    text = f"version: 1.0\nruntime: python311\nrun:\n  command: {command}\n"
    return {_beside(layout, "apprunner.yaml"): text}


LAUNCHERS: dict[str, Callable[[Layout, str], Files]] = {
    "CMD as a list": exec_form,
    "CMD as shell text": shell_form,
    "ENTRYPOINT at the top": at_the_top,
    "a build in stages": in_stages,
    "a script": entrypoint_script,
    "a script with arguments": entrypoint_script_with_arguments,
    "a script that restarts": restarting_script,
    "a script that reports": reporting_script,
    "a script that chooses": choosing_script,
    "a script that a RUN writes": written_script,
    "make": make,
    "s6": s6,
    "poe": poe,
    "pdm": pdm,
    "hatch": hatch,
    "pixi": pixi,
    "uv": uv,
    "compose": compose,
    "compose with a list": compose_list,
    "compose with a volume": compose_volume,
    "Kubernetes": kubernetes,
    "Procfile": procfile,
    "systemd": systemd,
    "supervisord": supervisord,
    "Render": render,
    "Railway": railway,
    "Fly": fly,
    "App Engine": app_engine,
    "App Runner": app_runner,
}
