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
        # what sends requests; api_resources needs the npm server prism
        tests=(
            "tests/lib/streaming",
            "tests/lib/test_bedrock.py",
            "tests/lib/test_vertex.py",
            "tests/lib/tools/test_open_telemetry.py",
            "tests/lib/tools/test_runners.py",
            "tests/test_client.py",
            "tests/test_middleware.py",
            "tests/test_open_telemetry.py",
            "tests/test_response.py",
            "tests/test_streaming.py",
            "tests/test_tracing.py",
        ),
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
            "t/unit/tasks/test_stamping.py",  # 28,000 subtests, which take as long as all other tests
            "t/unit/contrib/test_pytest.py",  # needs pytest-celery, which needs docker
            # need the clients of clouds and databases
            "t/unit/backends/test_azureblockblob.py",
            "t/unit/backends/test_dynamodb.py",
            "t/unit/backends/test_gcs.py",
            "t/unit/backends/test_mongodb.py",
            "t/unit/backends/test_s3.py",
        ),
        # a fixture compares the threads after each test with those at the start
        environment=(("DIFFERENTIAL_START_THREAD", "true"),),
    ),
    Suite("mcp", "src/mcp", ("anyio", "inline_snapshot", "examples")),
    Suite(
        "aiohttp",
        "aiohttp",
        ("pytest_mock", "codspeed"),
        options=("-m", "not dev_mode and not autobahn and not internal"),  # as its own settings have it
    ),
    Suite("anyio", "src/anyio", ("anyio", "pytest_mock"), options=("-m", "not network")),
)
