"""Run configuration: one YAML per environment, then environment variables, then `--set a.b=c`."""

import difflib
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from safeguard_spark.errors import ConfigError
from safeguard_spark.keys import canonical_json, sha256
from safeguard_spark.policy.document import ENCODING, Effort, Share

ENV_PREFIX = "SAFEGUARD_"
FREE = ("spark.conf", "engine.env")  # mappings whose keys are names of others, dots and all
OPEN = ("spark.conf.", "engine.env.", "engine.args.")  # what may be anything
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


def load(path: Path, environ: Mapping[str, str], overrides: Iterable[tuple[str, Any]]) -> RunConfig:
    """Read `path`, then `SAFEGUARD_A__B` variables, then overrides (`a.b`, value). Raises ConfigError."""
    try:
        values = yaml.safe_load(path.read_text(encoding=ENCODING))
    except OSError as error:
        raise ConfigError(f"Configuration {path} cannot be read: {error.strerror}.") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # not UTF-8; no such date; brackets without end
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise ConfigError(f"Configuration {path} is not valid YAML{where}.") from error
    values = {} if values is None else values
    if not isinstance(values, dict):
        raise ConfigError(f"Configuration {path} must be `key: value` lines, not a {type(values).__name__}.")
    override(values, environ, overrides)
    return build(values)


def override(values: dict[str, Any], environ: Mapping[str, str], overrides: Iterable[tuple[str, Any]]) -> None:
    """Put `SAFEGUARD_A__B` variables, then overrides (`a.b`, value), over nested values. Raises ConfigError."""
    known = set(_names(RunConfig))
    for name, raw in environ.items():
        if name.startswith(ENV_PREFIX):
            key = _dotted(name.removeprefix(ENV_PREFIX))
            if key not in known and not key.startswith(OPEN):
                raise ConfigError(f"Environment variable {name}: {_unknown(key)}")
            put(values, key, scalar(raw))
    for name, value in overrides:
        put(values, name, value)


def build(values: dict[str, Any]) -> RunConfig:
    """The configuration of nested values. Raises ConfigError naming every problem in one sentence."""
    try:
        config = RunConfig.model_validate(values)
        _ = config.config_hash
    except ValidationError as error:
        said = "; ".join(_say(problem) for problem in error.errors())
        raise ConfigError(f"Configuration: {said}{'' if said.endswith('?') else '.'}") from error
    except UnicodeEncodeError as error:
        raise ConfigError("Configuration: a value is not UTF-8 text.") from error
    return config


def assignment(text: str) -> tuple[str, Any]:
    """A `--set` argument `a.b=c` as (name, value read as YAML). Raises ConfigError."""
    name, equals, raw = text.partition("=")
    if not equals or not name.strip():
        raise ConfigError(f"--set {text}: write it as key=value, for example engine.window=256.")
    return name.strip(), scalar(raw)


def scalar(raw: str) -> Any:
    """A command line or environment value read as YAML, or as the plain text it is."""
    try:
        return yaml.safe_load(raw)
    except (yaml.YAMLError, ValueError, RecursionError):
        return raw


def put(values: dict[str, Any], name: str, value: Any) -> None:
    """Set the dotted `name` in nested `values`. What follows `spark.conf.` or `engine.env.` is one key."""
    *path, last = _parts(name)
    for key in path:
        inner = values.setdefault(key, {})
        if inner is None:
            inner = values[key] = {}
        if not isinstance(inner, dict):
            raise ConfigError(f"{name}: {key} is a value, not a section.")
        values = inner
    values[last] = value


def _parts(name: str) -> list[str]:
    section = next((free for free in FREE if name.startswith(f"{free}.")), None)
    return name.split(".") if section is None else [*section.split("."), name.removeprefix(f"{section}.")]


def _dotted(variable: str) -> str:
    """`A__B` as `a.b`; a key of `engine.env` keeps its case."""
    section, free, key = variable.partition("ENGINE__ENV__")
    return f"engine.env.{key}" if free and not section else variable.lower().replace("__", ".")


def _say(problem: Any) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return _unknown(where).removesuffix(".")
    if problem["type"] == "missing":
        return f"{where} is missing"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{where}: {message}" if where and problem["type"] != "value_error" else message


def _unknown(key: str) -> str:
    near = _nearest(key)
    return f"there is no key {key}" + (f"; did you mean {near}?" if near else ".")


def _nearest(where: str) -> str | None:
    """The known key most like one that is not: first of its own section, then of the whole configuration."""
    section, _, last = where.rpartition(".")
    names = list(_names(RunConfig))
    siblings = [name for name in names if name.rpartition(".")[0] == section]
    for cutoff, among in ((0.65, siblings), (0.75, names), (0.5, siblings)):
        lasts = {name.rpartition(".")[2]: name for name in reversed(among)}
        near = difflib.get_close_matches(last, list(lasts), n=1, cutoff=cutoff)
        if near:
            return lasts[near[0]]
    return None


def _names(model: type[BaseModel], prefix: str = "") -> Iterable[str]:
    for name, field in model.model_fields.items():
        yield prefix + name
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _names(field.annotation, f"{prefix}{name}.")
