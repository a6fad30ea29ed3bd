"""The langfuse SDK's attributes, each decided by what it holds.

Content: input, output, status messages, the expected output, descriptions, metadata of experiments and of
their items. No content: prompts' names and versions, parameters of models, names and ids of experiments.
Metadata is the program's own: numbers leave, and words under names that say where and as what it runs.
"""

from __future__ import annotations

from typing import Final

from somatrace.guard import model_parameters
from somatrace.guard.safe_shapes import IDENTIFIER, LABEL, VERSION, SafeShape

#: Texts in metadata of the langfuse SDK are JSON.
_QUOTED = r'(?:"{0}"|{0})'
PLAIN_METADATA: Final = SafeShape(
    r"-?[0-9]{1,7}(?:\.[0-9]{1,12})?|true|false|null", "a number of at most 7 digits, true or false"
)
DIMENSION: Final = SafeShape(
    _QUOTED.format(r"[A-Za-z0-9][A-Za-z0-9_./-]{0,47}") + "|" + PLAIN_METADATA.pattern,
    "one word of at most 48 characters, a number, true or false, also as JSON",
    few=True,
)
RUN_NAME: Final = SafeShape(
    _QUOTED.format(r"[^\W_<][\w.:/<>+#()-]{0,63}(?: [\w.:/<>+#()-]{1,64}){0,9}"),
    "a name of at most ten words, also as JSON",
    few=True,
)
RECORD_ID: Final = SafeShape(
    _QUOTED.format(r"(?:[0-9a-f]{16}|[0-9a-f]{32})") + "|" + _QUOTED.format(f"(?:{IDENTIFIER.pattern})"),
    "an identifier, not only digits, a UUID, or an id of 16 or 32 hexadecimal digits, also as JSON",
)
TIME: Final = SafeShape(r'"?[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{5,18}(?:Z|[+-][0-9:]{5})?"?', "a time")
PARAMETERS: Final = SafeShape(
    model_parameters.PATTERN,
    "a JSON object of model parameters with numbers and set words; others are left out",
)

LANGFUSE_KEYS: Final[dict[str, SafeShape]] = {
    "langfuse.observation.model.parameters": PARAMETERS,
    "llm.invocation_parameters": PARAMETERS,
    "langfuse.observation.prompt.name": LABEL,
    "langfuse.observation.prompt.version": VERSION,
    "langfuse.prompt.name": LABEL,
    "langfuse.prompt.version": VERSION,
    # experiments: the expected output, descriptions and metadata of items are content
    "langfuse.experiment.id": RECORD_ID,
    "langfuse.experiment.name": RUN_NAME,
    "langfuse.experiment.dataset.id": RECORD_ID,
    "langfuse.experiment.item.id": RECORD_ID,
    "langfuse.experiment.item.version": TIME,
    "langfuse.experiment.item.root_observation_id": RECORD_ID,
}
#: Prefixes of the program's metadata for Langfuse.
METADATA: Final = ("langfuse.observation.metadata.", "langfuse.trace.metadata.", "langfuse.metadata.")
#: Metadata whose name says that its values are of the program's making: where and as what it runs.
SAFE_METADATA: Final[dict[str, SafeShape]] = {
    **dict.fromkeys(
        (
            "app", "application", "availability_zone", "branch", "channel", "cloud", "cluster",
            "commit", "component", "datacenter", "deployment", "env", "environment", "experiment",
            "feature", "feature_flag", "job_type", "language", "locale", "model", "namespace", "phase",
            "pipeline", "plan", "platform", "priority", "prompt_version", "provider", "queue",
            "region", "release", "route", "runtime", "service", "stage", "step", "strategy", "tier",
            "timezone", "trigger", "variant", "version", "workflow", "zone",
        ),
        DIMENSION,
    ),
    "experiment_name": RUN_NAME,
    "experiment_run_name": RUN_NAME,
    "dataset_name": RUN_NAME,
    "dataset_id": RECORD_ID,
    "dataset_item_id": RECORD_ID,
    "dataset_run_id": RECORD_ID,
}  # fmt: skip
