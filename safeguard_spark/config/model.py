"""The run configuration as frozen models; every key of conf/*.yaml is a field here."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from safeguard_spark.keys import canonical_json, sha256
from safeguard_spark.policy.document import Effort, Share

Positive = Annotated[int, Field(gt=0)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def _word(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else str(value) if isinstance(value, int | float) else value


Word = Annotated[str, BeforeValidator(_word)]  # YAML reads 4 and true as something else than text


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Refs = Annotated[tuple[str, ...], BeforeValidator(_listed)]  # one alone needs no brackets


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
    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _empty(cls, values: Any) -> Any:
        return {} if values is None else values  # in YAML a section whose keys are all commented out


class SourceConfig(_Section):
    """The table of content. `location` is a path (Parquet or Delta) or a table's name."""

    location: str | None = None
    id_column: str = "id"
    text_column: str | None = None
    conversation_column: str | None = None
    limit: Positive | None = None
    time_column: str | None = None  # when a content was made; default: the only date or timestamp column

    @model_validator(mode="after")
    def _one_content_column(self) -> Self:
        if self.text_column and self.conversation_column:
            raise ValueError("give either text_column or conversation_column, not both")
        return self


class RunSettings(_Section):
    """How a run is cut and recovered."""

    chunk_rows: Positive = 20_000  # contents that commit together
    max_attempts: Positive = 3  # for outcomes that may succeed next time
    staging: str | None = None  # default: `_staging` beside the tables
    heartbeat_s: Seconds = 10.0  # a run silent for 30 of these counts as dead
    partitions_per_slot: Positive = 1  # label tasks of a chunk, per Spark task slot; more empty the engine more often
    shadow_share: Share | None = None  # of the contents, also labelled under a policy's version with alias `shadow`


class EngineConfig(_Section):
    """The engine. `args` goes to vLLM (or the scripted engine) as it is."""

    kind: EngineKind = EngineKind.vllm
    model: str | None = None
    model_name: str | None = None  # what labels say; a stable name where `model` is a folder of this machine
    revision: str | None = None
    dialect: Dialect = Dialect.harmony
    version_class: str = ""  # raise it when an engine upgrade changes answers
    window: Positive | None = None  # requests in flight per engine; default 1.5 x args.max_num_seqs
    deadline_s: Seconds = 300.0  # for one answer, retries included
    retries: Annotated[int, Field(ge=0)] = 4
    url: str | None = None
    api_key_env: str | None = None
    python: str | None = None  # interpreter that has vllm; default: the worker's own
    start_deadline_s: Seconds = 900.0
    restarts: Annotated[int, Field(ge=0)] = 2  # of a dead or hung server, per executor
    idle_s: Seconds = 900.0  # a server nobody uses for so long ends
    niceness: Annotated[int, Field(ge=0, le=19)] = 0  # of all but the model, where that has the same cores
    work_dir: str | None = None  # sockets and logs; default: the system's temporary folder
    env: dict[str, Word] = Field(default_factory=dict)
    args: dict[str, Any] = Field(default_factory=dict)

    @property
    def name(self) -> str:
        """The model's name in labels."""
        return self.model_name or self.model or self.kind.value

    @property
    def requests_in_flight(self) -> int:
        """Requests all tasks of one executor together keep in flight."""
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

    effort: Effort | None = None  # default: the policy's, else medium
    max_tokens: Positive | None = None  # default: the policy's, else 4096
    max_prompt_tokens: Positive = 16_384  # a longer prompt is `too_long`
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    structured: bool = True
    salt: str | None = None


class TrackingConfig(_Section):
    """MLflow. `uri` null: a sqlite file beside the tables, or below the current directory."""

    enabled: bool = True
    uri: str | None = None
    experiment: str = "safeguard-spark"


class GoldConfig(_Section):
    """A table of human decisions. `location` is a path (Parquet or Delta) or a table's name."""

    location: str | None = None
    id_column: str = "id"
    violation_column: str = "violation"


class GateConfig(_Section):
    """What any version must reach before it may be promoted, besides its own front matter. None asks nothing."""

    cases: bool = True  # the policy's cases pass
    max_unexplained_flips: Share | None = None  # of the contents compared: flips of rules that did not change
    min_coverage: Share | None = 0.99  # of the source's contents, with a label under the version
    min_gold_precision: Share | None = None
    min_gold_recall: Share | None = None


class RelabelConfig(_Section):
    """Re-labelling: what an engine-hour costs, what people decided, what a promotion asks."""

    price_per_engine_hour: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    currency: str = "USD"
    gold: GoldConfig = GoldConfig()
    gate: GateConfig = GateConfig()


class SparkConfig(_Section):
    """The session, where nothing else made one. spark-submit's own settings win."""

    master: str | None = None
    conf: dict[str, Word] = Field(default_factory=dict)


class RunConfig(_Section):
    """Everything a job is told."""

    source: SourceConfig = SourceConfig()
    policy: Refs = ()
    policies: Path = Path("policies")
    output: str | None = None
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
