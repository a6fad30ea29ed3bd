"""OpenLLMetry's instrumentors, each loaded when the program has imported its library and not before.

They are constructed with arguments under which nothing leaves the process but spans: no uploads of
images, no trace headers to model providers, no metrics.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import logging
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final, NamedTuple

import wrapt
from opentelemetry.metrics import NoOpMeterProvider

from somatrace.instrumentation.content_capture import gate
from somatrace.instrumentation.coverage import ON, WAITING, Coverage
from somatrace.instrumentation.import_hooks import when_imported
from somatrace.instrumentation.llm import repairs
from somatrace.instrumentation.llm.log_filter import withhold
from somatrace.instrumentation.llm.mcp_errors import own_errors_pass

log = logging.getLogger("somatrace")

_HOME: Final = "opentelemetry.instrumentation."


class LibraryRow(NamedTuple):
    """A library, the module whose import says that it is used, and who instruments it."""

    library: str
    module: str
    package: str
    instrumentor: str


#: A module is waited for whose import completes after all that the instrumentor touches.
ROWS: Final = tuple(
    LibraryRow(*line.split())
    for line in """
agno            agno                        agno                 AgnoInstrumentor
aleph_alpha     aleph_alpha_client          alephalpha           AlephAlphaInstrumentor
anthropic       anthropic                   anthropic            AnthropicInstrumentor
bedrock         botocore                    bedrock              BedrockInstrumentor
chromadb        chromadb                    chromadb             ChromaInstrumentor
cohere          cohere                      cohere               CohereInstrumentor
crewai          crewai                      crewai               CrewAIInstrumentor
google.genai    google.genai                google_generativeai  GoogleGenerativeAiInstrumentor
groq            groq                        groq                 GroqInstrumentor
haystack        haystack                    haystack             HaystackInstrumentor
lancedb         lancedb                     lancedb              LanceInstrumentor
langchain       langchain_core              langchain            LangchainInstrumentor
litellm         litellm                     litellm              LiteLLMInstrumentor
llama_index     llama_index.core            llamaindex           LlamaIndexInstrumentor
marqo           marqo                       marqo                MarqoInstrumentor
mcp             mcp                         mcp                  McpInstrumentor
milvus          pymilvus                    milvus               MilvusInstrumentor
mistralai       mistralai                   mistralai            MistralAiInstrumentor
ollama          ollama                      ollama               OllamaInstrumentor
openai          openai                      openai               OpenAIInstrumentor
openai_agents   agents                      openai_agents        OpenAIAgentsInstrumentor
pinecone        pinecone                    pinecone             PineconeInstrumentor
qdrant          qdrant_client               qdrant               QdrantInstrumentor
replicate       replicate                   replicate            ReplicateInstrumentor
sagemaker       botocore                    sagemaker            SageMakerInstrumentor
sqlalchemy      sqlalchemy                  sqlalchemy           SQLAlchemyInstrumentor
together        together                    together             TogetherAiInstrumentor
transformers    transformers.pipelines      transformers         TransformersInstrumentor
vertexai        vertexai                    vertexai             VertexAIInstrumentor
voyageai        voyageai                    voyageai             VoyageAIInstrumentor
watsonx         ibm_watson_machine_learning watsonx              WatsonxInstrumentor
watsonx         ibm_watsonx_ai              watsonx              WatsonxInstrumentor
weaviate        weaviate                    weaviate             WeaviateInstrumentor
writer          writerai                    writer               WriterInstrumentor
""".strip().splitlines()
)


async def _upload_nothing(*_: object) -> str:
    return ""


def _note(error: Exception) -> None:
    """An instrumentor failed at one call. The error's text may hold that call's content."""
    log.debug("an instrumentor could not record a call: %s", type(error).__name__)


#: Given to each instrumentor that takes them.
_ARGUMENTS: Final[dict[str, Any]] = {
    "disable_trace_context_propagation": True,
    "enable_trace_context_propagation": False,
    "enrich_assistant": False,
    "enrich_token_usage": False,
    "exception_logger": _note,
    "upload_base64_image": _upload_nothing,
    "use_attributes": True,
}


def install(coverage: Coverage) -> None:
    """Wait for the import of each library in the table."""
    for row in ROWS:
        Switch(row, coverage).wait()


class Switch:
    """Instruments one library when both it and its instrumentor are there."""

    def __init__(self, row: LibraryRow, coverage: Coverage) -> None:
        self._row = row
        self._package = _HOME + row.package
        self._coverage = coverage
        self._library: ModuleType | None = None

    def wait(self) -> None:
        """Wait for the library; where the program imports the instrumentor by itself, for that as well."""
        when_imported(self._row.module, self._coverage, self._imported, library=self._row.library)
        _guarded_hooks(self._row.library, self._coverage)(self._completed, self._package)

    def _imported(self, library: ModuleType) -> str | None:
        """The library is there; what `status()` says of it, None for "on"."""
        package = sys.modules.get(self._package)
        if package is not None and not hasattr(package, self._row.instrumentor):
            self._library = library  # this is the instrumentor's own import of it, in the middle of its own
            return WAITING
        if importlib.util.find_spec(self._package) is None:
            distribution = self._package.replace(".", "-").replace("_", "-")
            return f"off: needs `pip install {distribution}`"
        return self._switch_on(library)

    def _completed(self, _: ModuleType) -> None:
        library, self._library = self._library, None
        if library is not None:
            self._coverage.set(self._row.library, self._switch_on(library) or ON)

    def _switch_on(self, library: ModuleType) -> str | None:
        made = getattr(importlib.import_module(self._package), self._row.instrumentor)
        taken = inspect.signature(made.__init__).parameters
        instrumentor = made(**{name: value for name, value in _ARGUMENTS.items() if name in taken})
        said = None
        if instrumentor.is_instrumented_by_opentelemetry:
            said = "on (switched on by the program)"
        else:
            _defer(self._package, self._row.library, self._coverage)
            if self._row.library == "mcp":
                own_errors_pass(self._package)
            instrumentor.instrument(meter_provider=NoOpMeterProvider(), raise_exception_on_conflict=True)
        gate(self._package)
        withhold(self._package)
        return _mend(self._row, self._package, library) or said


def _mend(row: LibraryRow, package: str, library: ModuleType) -> str | None:
    if row.library in ("anthropic", "openai"):
        repairs.leave_event_loops_alone(package)
    if row.library == "openai":
        repairs.forget_finished_responses()
    if row.library == "anthropic":
        return repairs.anthropic_own_spans_off(library)
    return None


def _defer(package: str, library: str, coverage: Coverage) -> None:
    """Let an instrumentor's own import hooks fail without failing the program's import, and keep the
    langchain one from importing langgraph and langchain into programs that use neither."""
    for name, module in list(sys.modules.items()):
        if name == package or name.startswith(package + "."):
            if getattr(module, "register_post_import_hook", None) is wrapt.register_post_import_hook:
                module.register_post_import_hook = _guarded_hooks(library, coverage)  # type: ignore[attr-defined]
            if package == _HOME + "langchain" and hasattr(module, "wrap_function_wrapper"):
                module.wrap_function_wrapper = _wrap_when_imported(library, coverage)  # type: ignore[attr-defined]


def _guarded_hooks(library: str, coverage: Coverage) -> Callable[[Callable[[ModuleType], Any], str], None]:
    def register(hook: Callable[[ModuleType], Any], name: str) -> None:
        def run(module: ModuleType) -> None:
            try:
                hook(module)
            except Exception as error:
                coverage.failed(library, error)

        wrapt.register_post_import_hook(run, name)

    return register


def _wrap_when_imported(library: str, coverage: Coverage) -> Callable[[str, str, Any], None]:
    register = _guarded_hooks(library, coverage)

    def wrap(module: str, name: str, wrapper: Any) -> None:
        register(lambda loaded: wrapt.wrap_function_wrapper(loaded, name, wrapper), module)

    return wrap
