"""The suites: a library's own tests, from its source distribution at the version of the development lock."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Suite:
    """How a library's tests are run. Paths are relative to its source distribution."""

    library: str
    #: the package itself, which is removed so that the installed one is tested
    package: str
    #: pytest plugins, by their entry points; others are not loaded
    plugins: tuple[str, ...]
    #: files and folders of tests
    tests: tuple[str, ...] = ("tests",)
    #: files that cannot run here, each with its reason in a comment
    ignore: tuple[str, ...] = ()
    deselect: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    #: processes of pytest-xdist; 0 for suites that need their order or one process
    processes: int = 2


SUITES = (
    Suite(
        "openai",
        "src/openai",
        ("asyncio", "inline_snapshot", "respx", "time_machine"),
        ignore=("tests/api_resources",),  # needs the npm server prism
    ),
    Suite(
        "anthropic",
        "src/anthropic",
        ("tests._alias_httpx", "asyncio", "inline_snapshot", "http_snapshot", "respx", "time_machine"),
        ignore=("tests/api_resources",),  # needs the npm server prism
    ),
    Suite("httpx", "httpx", ("anyio",), processes=0),  # its server has a fixed port
    Suite(
        "langchain-core",
        "langchain_core",
        ("asyncio", "pytest_mock", "syrupy", "socket", "benchmark", "anyio"),
        tests=("tests/unit_tests",),
        options=("--disable-socket", "--allow-unix-socket"),
    ),
    Suite(
        "langgraph",
        "langgraph",
        ("pytest_mock", "syrupy", "anyio"),
        environment=(("NO_DOCKER", "true"),),
    ),
    Suite("starlette", "starlette", ("anyio",)),
    Suite(
        "celery",
        "celery",
        ("pytest_click", "pytest_order", "rerunfailures"),
        tests=("t/unit",),
        ignore=(
            "t/unit/contrib/test_pytest.py",  # needs pytest-celery, which needs docker
            # need clients of clouds and databases
            *(
                f"t/unit/backends/test_{name}.py"
                for name in ("azureblockblob", "dynamodb", "gcs", "mongodb", "s3")
            ),
        ),
        processes=0,
    ),
    Suite("mcp", "src/mcp", ("anyio", "inline_snapshot", "examples")),
    Suite("aiohttp", "aiohttp", ("pytest_mock", "codspeed")),
    Suite("anyio", "src/anyio", ("anyio", "pytest_mock"), options=("-m", "not network")),
)
