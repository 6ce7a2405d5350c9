"""The run configuration as frozen models; every key of conf/*.yaml is a field here.

`make docs` copies the docstring below a field to docs/configuration.md.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from safeguard_spark.keys import canonical_json, sha256
from safeguard_spark.policy.document import Effort, Share

Positive = Annotated[int, Field(gt=0)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False, json_schema_extra={"format": "seconds"})]
FilePath = Annotated[str, Field(json_schema_extra={"format": "path"})]


def _as_text(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else str(value) if isinstance(value, int | float) else value


Word = Annotated[str, BeforeValidator(_as_text)]  # YAML reads 4 and true as a number and a boolean


def _as_tuple(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Refs = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]  # a single one needs no brackets


class EngineKind(StrEnum):
    """Where answers come from."""

    scripted = "scripted"
    endpoint = "endpoint"
    vllm = "vllm"


class Dialect(StrEnum):
    """How a prompt reaches the model: harmony token ids, or chat messages."""

    harmony = "harmony"
    chat = "chat"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _empty(cls, values: Any) -> Any:
        return {} if values is None else values  # None: a YAML section whose keys are all commented out


class SourceConfig(_Section):
    """The table of content. `location` is a path (Parquet or Delta) or a table's name."""

    location: str | None = None
    """A path (Parquet file or folder, or Delta table) or a table's name. Required. Option `--source`"""
    id_column: str = "id"
    """Column that identifies each content. Option `--id-column`"""
    text_column: str | None = None
    """Column of texts. Either this or `source.conversation_column`. Option `--text-column`"""
    conversation_column: str | None = None
    """Column of lists of (role, text) turns, of which the last is judged. Option `--conversation-column`"""
    limit: Positive | None = None
    """Label only this many contents, those with the lowest ids. Option `--limit`"""
    time_column: str | None = None
    """Column that says when a content was made, for `relabel --scope since` and `--order newest`; null: the only date
    or timestamp column"""

    @model_validator(mode="after")
    def _one_content_column(self) -> Self:
        if self.text_column and self.conversation_column:
            raise ValueError("give either text_column or conversation_column, not both")
        return self


class RunSettings(_Section):
    """How a run is divided into chunks and recovered."""

    chunk_rows: Positive = 20_000
    """Contents that commit together. Choose some minutes of the engines' time: a lost driver costs at most two
    chunks"""
    max_attempts: Positive = 3
    """How often a content is tried, over all runs, if its outcome may be different next time"""
    staging: FilePath | None = None
    """Where results wait for their commit; null: `_staging` next to the tables. Every executor must reach it"""
    heartbeat_s: Seconds = 10.0
    """How often a run reports that it is alive. A run silent for 30 of these counts as dead, and another run commits
    what it left"""
    partitions_per_slot: Positive = 1
    """Label tasks of a chunk, per Spark task slot. With more tasks a lost one loses less, but each task's slot waits at
    its end for its longest answers, so the engine runs empty more often"""
    shadow_share: Share | None = None
    """Also label this share of the contents under the version with alias `shadow` of each policy; null: none"""


class EngineConfig(_Section):
    """The engine. `args` goes to vLLM (or the scripted engine) unchanged."""

    kind: EngineKind = EngineKind.vllm
    """Where answers come from"""
    model: str | None = None
    """A model's name, or a folder that is on every executor. Required, except for `scripted`"""
    model_name: str | None = None
    """The model's name in labels; null: `engine.model`. Set it where `engine.model` is a folder: without
    it, another path means another labeler"""
    revision: str | None = None
    """The model's revision. Part of the labeler"""
    dialect: Dialect = Dialect.harmony
    """`harmony`: token ids, for models of the gpt-oss family. `chat`: messages, for any other. Part of the labeler"""
    version_class: str = ""
    """Part of the labeler. Change it when an upgrade of the engine changes answers: everything is then labelled
    again"""
    window: Positive | None = None
    """Requests in flight per engine; null: 1.5 x `engine.args.max_num_seqs` (256 if that is not set)"""
    deadline_s: Seconds = 300.0
    """For one answer, retries included; after that the row is `engine_failed`"""
    retries: Annotated[int, Field(ge=0)] = 4
    """How often a lost request is sent again. Waiting for a busy server does not count"""
    url: str | None = None
    """`endpoint`: `http://…`, `https://…` or `unix:/path`, with or without `/v1`. Required there"""
    api_key_env: str | None = None
    """`endpoint`: name of the environment variable that holds the key, on driver and executors. The key itself is in no
    configuration"""
    python: FilePath | None = None
    """`vllm`: the interpreter that has vLLM; null: the one of Spark's Python workers"""
    start_deadline_s: Seconds = 900.0
    """`vllm`: time for the server to be ready, model loading included"""
    restarts: Annotated[int, Field(ge=0)] = 2
    """`vllm`: how often a dead or hung server is restarted, per executor and run"""
    idle_s: Seconds = 900.0
    """`vllm`: a server that is unused for this long ends"""
    niceness: Annotated[int, Field(ge=0, le=19)] = 0
    """`vllm`: nice value of the server's HTTP process once it is healthy, and of the Python workers of label tasks; 19
    where the model computes on the same cores, 0 on a GPU"""
    work_dir: FilePath | None = None
    """`vllm`: folder for sockets and logs, on each executor; null: the system's temporary folder"""
    env: dict[str, Word] = Field(default_factory=dict)
    """`vllm`: environment of the server, for example `VLLM_CPU_KVCACHE_SPACE`. `--set engine.env.NAME=value`"""
    args: dict[str, Any] = Field(default_factory=dict)
    """`vllm`: arguments of its server, passed on unchanged, with underscores: `max_num_seqs`, `max_model_len`,
    `gpu_memory_utilization`, `tensor_parallel_size`, … On a CPU without AVX-512 `dtype` is `float32` unless set here. A
    wrong one fails with vLLM's own message; arguments that would open the server to others, rename the model, run a
    model's code or log content are refused. `scripted`: the script. `--set engine.args.NAME=value`"""

    @property
    def name(self) -> str:
        """The model's name in labels."""
        return self.model_name or self.model or self.kind.value

    @property
    def requests_in_flight(self) -> int:
        """Number of requests that all tasks of one executor together keep in flight."""
        return self.window or -(-3 * int(self.args.get("max_num_seqs") or 256) // 2)

    @field_validator("args")
    @classmethod
    def _plain(cls, args: dict[str, Any]) -> dict[str, Any]:
        try:
            canonical_json(args).encode()
        except (TypeError, ValueError) as error:
            raise ValueError("engine.args takes texts, numbers, true, false, null, lists and mappings") from error
        seqs = args.get("max_num_seqs")
        if seqs is not None and (not isinstance(seqs, int) or seqs < 1):
            raise ValueError("engine.args.max_num_seqs must be a whole number from 1")
        return args

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.kind is EngineKind.endpoint:
            if not self.url:
                raise ValueError("engine.kind=endpoint needs engine.url (http://, https:// or unix:)")
            if not self.url.startswith(("http://", "https://", "unix:")):
                raise ValueError(f"engine.url must begin with http://, https:// or unix:, not {self.url!r}")
        if self.kind is not EngineKind.scripted and not self.model:
            raise ValueError(f"engine.kind={self.kind.value} needs engine.model")
        return self


class LabelerConfig(_Section):
    """What, besides policy and content, can change a label."""

    effort: Effort | None = None
    """Reasoning effort; null: what the policy recommends, else `medium`"""
    max_tokens: Positive | None = None
    """Tokens of an answer, reasoning included; null: what the policy recommends, else 4096. A longer answer is
    `truncated`"""
    max_prompt_tokens: Positive = 16_384
    """A longer prompt is `too_long`; a policy that is longer by itself ends the run at once, exit code 3. With
    `labeler.max_tokens` it must fit the engine's `max_model_len`"""
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    """Sampling temperature. Even at 0, answers may differ slightly from run to run"""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Nucleus sampling"""
    structured: bool = True
    """Whether the engine constrains the answer to the output contract. If not, any answer still has an outcome"""
    salt: str | None = None
    """Keeps a second labelling, made to measure how often the labeler disagrees with itself, apart from the one that
    counts. Labels with a salt are in `labels` and never in `labels_current`"""


class TrackingConfig(_Section):
    """MLflow: where runs are logged and policies are registered."""

    enabled: bool = True
    """Whether runs are logged to MLflow"""
    uri: str | None = None
    """Tracking server and policy registry; null: `MLFLOW_TRACKING_URI`, else a SQLite file `mlflow.db`: for runs next
    to tables in a local folder, else in the current folder; for policies next to the policies folder"""
    experiment: str = "safeguard-spark"
    """The MLflow experiment of the runs"""


class GoldConfig(_Section):
    """A table of human decisions. `location` is a path (Parquet or Delta) or a table's name."""

    location: str | None = None
    """A path (Parquet or Delta) or a table's name; null: there is none"""
    id_column: str = "id"
    """Column of content ids"""
    violation_column: str = "violation"
    """Column of decisions: true, false, or null where there is no decision"""


class GateConfig(_Section):
    """What any version must reach before it may be promoted, besides its own front matter; null: not checked."""

    cases: bool = True
    """Whether the policy's cases must pass, or meet the gate in its front matter"""
    max_unexplained_flips: Share | None = None
    """Of the contents compared with the active version: at most this share flipped without a changed rule in the
    verdict, noise subtracted"""
    min_coverage: Share | None = 0.99
    """At least this share of the source's contents has a label under the version"""
    min_gold_precision: Share | None = None
    """Precision against the gold table"""
    min_gold_recall: Share | None = None
    """Recall against the gold table"""


class RelabelConfig(_Section):
    """Re-labelling: what an engine-hour costs, what people decided, what a promotion requires."""

    price_per_engine_hour: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """What one engine costs per hour, for the cost that a plan shows; null: a plan shows no cost"""
    currency: str = "USD"
    """The currency of that price"""
    gold: GoldConfig = GoldConfig()
    gate: GateConfig = GateConfig()


class SparkConfig(_Section):
    """The Spark session, where there is none yet. spark-submit's own settings win."""

    master: str | None = None
    """Spark's master; null: `local[*]`, or what spark-submit sets"""
    conf: dict[str, Word] = Field(default_factory=dict)
    """Spark settings by their own names, dots included: `--set spark.conf.spark.driver.memory=8g`. The environment can
    set only names in lower case (`SAFEGUARD_SPARK__CONF__SPARK__DRIVER__MEMORY`)"""


class RunConfig(_Section):
    """The whole configuration of a job."""

    source: SourceConfig = SourceConfig()
    policy: Refs = ()
    """Policies to label under: files, `name@version` or `name@alias`. A single one needs no brackets. Option
    `--policy`, repeatable"""
    policies: Path = Path("policies")
    """Folder of published policies, `<name>/<version>/policy.md`, with `lock.json`"""
    output: str | None = None
    """Where the label tables are: a folder on any file system Spark knows (one in the current folder is `./name`), or
    `CATALOG.SCHEMA`. Required. Option `--output`"""
    run: RunSettings = RunSettings()
    engine: EngineConfig
    labeler: LabelerConfig = LabelerConfig()
    tracking: TrackingConfig = TrackingConfig()
    relabel: RelabelConfig = RelabelConfig()
    spark: SparkConfig = SparkConfig()

    @property
    def config_hash(self) -> str:
        """SHA-256 of the resolved configuration."""
        return sha256(self.model_dump(mode="json"))
