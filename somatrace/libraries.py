"""The registry of LLM clients, frameworks and databases: one row per library.

Instrumentation, `somatrace check` and `somatrace doctor` derive their tables from it. It is plain data: it
imports none of the libraries, and no OpenTelemetry.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

#: The namespace of the instrumentors' packages, and of the instrumentation scopes of their spans.
_INSTRUMENTATION: Final = "opentelemetry.instrumentation."
#: The libraries that OpenInference instruments, by the last part of the scope of its spans.
_OPENINFERENCE: Final = {
    "agno": "agno",
    "anthropic": "anthropic",
    "bedrock": "bedrock",
    "crewai": "crewai",
    "dspy": "dspy",
    "google.genai": "google_genai",
    "groq": "groq",
    "haystack": "haystack",
    "langchain": "langchain",
    "litellm": "litellm",
    "llama_index": "llama_index",
    "mistralai": "mistralai",
    "openai": "openai",
    "openai_agents": "openai_agents",
    "vertexai": "vertexai",
}
#: The libraries that logfire instruments with scopes of its own.
_LOGFIRE: Final = frozenset({"anthropic", "openai", "openai_agents"})


class RequestMethods(NamedTuple):
    """The methods through which a client sends each of its requests. The defaults are those of the clients
    that Stainless generates."""

    module: str
    classes: tuple[str, ...] = ("SyncAPIClient", "AsyncAPIClient")
    methods: tuple[str, ...] = ("request",)


class Library(NamedTuple):
    """A library, its instrumentor, and how its calls are recognized.

    `role`: a "model" client calls models and does nothing else inside its spans; a "framework" calls models
    and also runs tools there, so its spans count as model calls by their operation only.
    """

    #: The key in `status().instruments`.
    name: str
    role: Literal["model", "framework", "other"]
    #: Modules whose import switches the instrumentor on. Their import completes after everything that the
    #: instrumentor touches.
    modules: tuple[str, ...]
    #: The instrumentor's package below `opentelemetry.instrumentation`, and its class. Empty without one.
    package: str = ""
    instrumentor: str = ""
    #: Further instrumentation scopes of its spans: the library's own, and those of other instrumentors.
    other_scopes: tuple[str, ...] = ()
    #: For clients whose requests are marked as model calls even where no instrumentor is active.
    requests: RequestMethods | None = None
    #: Import names by which `somatrace check` recognizes it; a final `*` matches a family such as
    #: langchain_openai. By default the top-level packages of `modules`.
    imports: tuple[str, ...] | None = None
    #: Further packages whose requests go to model servers only. Those of a framework are the parts that call
    #: models: its other parts also run tools.
    packages: tuple[str, ...] = ()
    #: Modules that call functions of the program: tools, callbacks. They send no request to a model server
    #: themselves. What else of the program runs inside the packages counts as part of a model call.
    tool_callers: tuple[str, ...] = ()
    #: Services of boto3 that call models, for libraries without an import of their own.
    aws_services: tuple[str, ...] = ()
    #: Functions that call a model or build a client. `somatrace check` recognizes classes by their names.
    functions: tuple[str, ...] = ()
    #: Whether a "model" client sends requests through other clients, which may have spans of their own.
    is_gateway: bool = False
    #: Its distribution, and the first major version of it that the instrumentor cannot instrument.
    unsupported: tuple[str, int] | None = None
    #: Whether it makes spans of its own from that version on.
    traces_itself: bool = False

    @property
    def instrumentor_module(self) -> str:
        return _INSTRUMENTATION + self.package

    @property
    def instrumentor_distribution(self) -> str:
        return f"opentelemetry-instrumentation-{self.package.replace('_', '-')}"

    @property
    def scopes(self) -> tuple[str, ...]:
        """Prefixes of the instrumentation scopes of its spans."""
        openinference = _OPENINFERENCE.get(self.name)
        return (
            *((self.instrumentor_module,) if self.package else ()),
            *self.other_scopes,
            *((f"openinference.instrumentation.{openinference}",) if openinference else ()),
            *((f"logfire.{self.name}",) if self.name in _LOGFIRE else ()),
        )

    @property
    def import_names(self) -> tuple[str, ...]:
        if self.imports is not None:
            return self.imports
        return self._top_level

    @property
    def model_packages(self) -> tuple[str, ...]:
        """Packages whose code sends requests to model servers only."""
        return (*((self.imports or self._top_level) if self.role == "model" else ()), *self.packages)

    @property
    def _top_level(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(module.partition(".")[0] for module in self.modules))


LIBRARIES: Final = (
    Library(
        "agno",
        "framework",
        ("agno",),
        "agno",
        "AgnoInstrumentor",
        packages=("agno.models", "agno.embedder", "agno.knowledge.embedder", "agno.knowledge.reranker"),
        # tools that are generators run in `agno.models.base`, all others in `agno.tools`
        tool_callers=("agno.models.base", "agno.tools"),
    ),
    Library("ai21", "model", ("ai21",)),
    Library("aleph_alpha", "model", ("aleph_alpha_client",), "alephalpha", "AlephAlphaInstrumentor"),
    Library(
        "anthropic",
        "model",
        ("anthropic",),
        "anthropic",
        "AnthropicInstrumentor",
        other_scopes=("com.anthropic.sdk",),
        requests=RequestMethods("anthropic._base_client"),
        tool_callers=("anthropic.lib.tools",),
        functions=("create", "acreate"),
    ),
    Library(
        "bedrock",
        "model",
        ("botocore",),
        "bedrock",
        "BedrockInstrumentor",
        imports=(),
        packages=("aiobotocore",),
        aws_services=("bedrock-runtime", "bedrock-agent-runtime"),
    ),
    Library("cerebras", "model", ("cerebras",), requests=RequestMethods("cerebras.cloud.sdk._base_client")),
    Library("chromadb", "other", ("chromadb",), "chromadb", "ChromaInstrumentor"),
    Library("cohere", "model", ("cohere",), "cohere", "CohereInstrumentor"),
    Library(
        "crewai",
        "framework",
        ("crewai",),
        "crewai",
        "CrewAIInstrumentor",
        packages=("crewai.llms",),
        tool_callers=("crewai.llms.base_llm", "crewai.tools"),
    ),
    Library("dashscope", "model", ("dashscope",)),
    Library("dspy", "framework", ("dspy",)),
    Library("fireworks", "model", ("fireworks",)),
    Library(
        "google.genai",
        "model",
        ("google.genai",),
        "google_generativeai",
        "GoogleGenerativeAiInstrumentor",
        other_scopes=("opentelemetry.instrumentation.google_genai",),
        imports=("google.genai", "google.generativeai"),
        tool_callers=("google.genai._adapters", "google.genai._extra_utils"),
    ),
    Library(
        "groq",
        "model",
        ("groq",),
        "groq",
        "GroqInstrumentor",
        requests=RequestMethods("groq._base_client"),
    ),
    Library(
        "haystack",
        "framework",
        ("haystack",),
        "haystack",
        "HaystackInstrumentor",
        unsupported=("haystack-ai", 3),
        other_scopes=("haystack",),
        packages=(
            "haystack.components.embedders", "haystack.components.generators", "haystack.utils.hf",
            "haystack_integrations.components.embedders", "haystack_integrations.components.generators",
        ),
    ),
    Library(
        "huggingface_hub", "model", ("huggingface_hub",), tool_callers=("huggingface_hub.inference._mcp",)
    ),
    Library("lancedb", "other", ("lancedb",), "lancedb", "LanceInstrumentor"),
    Library(
        "langchain",
        "framework",
        ("langchain_core",),
        "langchain",
        "LangchainInstrumentor",
        imports=("langchain*",),
        packages=(
            "langchain_anthropic", "langchain_aws", "langchain_cohere", "langchain_community.chat_models",
            "langchain_community.embeddings", "langchain_community.llms", "langchain_deepseek",
            "langchain_fireworks", "langchain_google_genai", "langchain_google_vertexai", "langchain_groq",
            "langchain_huggingface", "langchain_ibm", "langchain_mistralai", "langchain_nvidia_ai_endpoints",
            "langchain_ollama", "langchain_openai", "langchain_perplexity", "langchain_together",
            "langchain_xai",
        ),
        functions=("init_chat_model", "init_embeddings"),
    ),
    Library(
        "litellm",
        "model",
        ("litellm",),
        "litellm",
        "LiteLLMInstrumentor",
        requests=RequestMethods(
            "litellm.llms.custom_httpx.http_handler",
            ("HTTPHandler", "AsyncHTTPHandler"),
            ("delete", "get", "patch", "post", "put"),
        ),
        tool_callers=(
            "litellm.experimental_mcp_client", "litellm.litellm_core_utils.litellm_logging",
            "litellm.responses.mcp", "litellm.tool_loop",
        ),
        functions=(
            "completion", "acompletion", "embedding", "aembedding", "text_completion", "atext_completion",
            "responses", "aresponses", "image_generation", "aimage_generation", "transcription",
            "speech", "rerank", "Router",
        ),
        is_gateway=True,
    ),
    Library(
        "llama_index",
        "framework",
        ("llama_index.core",),
        "llamaindex",
        "LlamaIndexInstrumentor",
        packages=("llama_index.embeddings", "llama_index.llms", "llama_index.multi_modal_llms"),
    ),
    Library("marqo", "other", ("marqo",), "marqo", "MarqoInstrumentor"),
    Library(
        "mcp",
        "other",
        ("mcp",),
        "mcp",
        "McpInstrumentor",
        other_scopes=("mcp-python-sdk", "fastmcp"),
        unsupported=("mcp", 2),
        traces_itself=True,
    ),
    Library("milvus", "other", ("pymilvus",), "milvus", "MilvusInstrumentor"),
    Library(
        "mistralai",
        "model",
        ("mistralai",),
        "mistralai",
        "MistralAiInstrumentor",
        other_scopes=("mistralai_sdk_tracer",),
        tool_callers=("mistralai.extra.mcp", "mistralai.extra.run"),
    ),
    Library(
        "ollama",
        "model",
        ("ollama",),
        "ollama",
        "OllamaInstrumentor",
        functions=("chat", "generate", "embed", "embeddings"),
    ),
    Library(
        "openai",
        "model",
        ("openai",),
        "openai",
        "OpenAIInstrumentor",
        other_scopes=(
            "opentelemetry.instrumentation.openai_v2",
            "opentelemetry.util.genai",
        ),
        requests=RequestMethods("openai._base_client"),
        functions=("create", "acreate"),
    ),
    # `agents` is the name of many programs' own packages, too
    Library(
        "openai_agents", "framework", ("agents",), "openai_agents", "OpenAIAgentsInstrumentor", imports=()
    ),
    Library("pinecone", "other", ("pinecone",), "pinecone", "PineconeInstrumentor"),
    Library("pydantic_ai", "framework", ("pydantic_ai",), other_scopes=("pydantic-ai",)),
    Library("qdrant", "other", ("qdrant_client",), "qdrant", "QdrantInstrumentor"),
    Library(
        "replicate",
        "model",
        ("replicate",),
        "replicate",
        "ReplicateInstrumentor",
        functions=("run", "async_run", "stream"),
    ),
    Library(
        "sagemaker",
        "model",
        ("botocore",),
        "sagemaker",
        "SageMakerInstrumentor",
        imports=(),
        aws_services=("sagemaker-runtime",),
    ),
    Library("sqlalchemy", "other", ("sqlalchemy",), "sqlalchemy", "SQLAlchemyInstrumentor"),
    Library(
        "together",
        "model",
        ("together",),
        "together",
        "TogetherAiInstrumentor",
        requests=RequestMethods("together._base_client"),
    ),
    Library("transformers", "model", ("transformers.pipelines",), "transformers", "TransformersInstrumentor"),
    Library(
        "vertexai",
        "model",
        ("vertexai",),
        "vertexai",
        "VertexAIInstrumentor",
        packages=("google.ai.generativelanguage", "google.cloud.aiplatform"),
    ),
    Library("voyageai", "model", ("voyageai",), "voyageai", "VoyageAIInstrumentor"),
    Library(
        "watsonx",
        "model",
        ("ibm_watson_machine_learning", "ibm_watsonx_ai"),
        "watsonx",
        "WatsonxInstrumentor",
    ),
    Library("weaviate", "other", ("weaviate",), "weaviate", "WeaviateInstrumentor"),
    Library("writer", "model", ("writerai",), "writer", "WriterInstrumentor"),
    Library("zhipuai", "model", ("zhipuai",)),
)  # fmt: skip

#: The libraries that have an instrumentor.
INSTRUMENTED: Final = tuple(row for row in LIBRARIES if row.package)
