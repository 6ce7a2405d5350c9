"""The run configuration as frozen models; every key of conf/*.yaml is a field here.

`make docs` copies the docstring below a field to docs/configuration.md.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from safeguard_spark.config.engine import AnyEngineConfig
from safeguard_spark.config.fields import FilePath, Positive, Refs, Seconds, Section, Word
from safeguard_spark.config.review import ReviewConfig
from safeguard_spark.keys import sha256
from safeguard_spark.policy.document import Effort, SetGate
from safeguard_spark.policy.scalars import EXPONENTS, Share, Truth, Whole


class SourceConfig(Section):
    """The table of content, and how it is read: `docs/sources.md`."""

    location: str | None = None
    """A path (Delta, Parquet, CSV, JSON lines or ORC), a table's name, or a view. Required. Option `--source`"""
    format: Literal["delta", "parquet", "csv", "json", "orc"] | None = None
    """Format of the files of a path; null: by `_delta_log` and the files' endings"""
    options: dict[str, Word] = Field(default_factory=dict)
    """Options of Spark's reader of that format, for example `sep`, `encoding`, `pathGlobFilter`. `--set
    source.options.NAME=value`"""
    version: Annotated[Whole, Field(ge=0)] | None = None
    """Version of a Delta table; null: the newest"""
    name: Word | None = None
    """Name of the collection, the set of contents in which an id is unique; null: the table's name, or the path. Set it
    if the location may change"""
    id_column: str = "id"
    """Column that identifies each content, or an SQL expression over the row. Option `--id-column`"""
    duplicate_ids: Literal["refuse", "all"] = "refuse"
    """If an id has several contents: `refuse` the run, or label `all` of them under the id"""
    text_column: str | None = None
    """Column of texts, or an SQL expression. Either this or `source.conversation_column`. Option `--text-column`"""
    conversation_column: str | None = None
    """Column of conversations (lists of turns, also as JSON), of which the last turn is judged, or an SQL expression.
    Option `--conversation-column`"""
    limit: Positive | None = None
    """Label only this many contents, those with the lowest ids, which are compared as texts: `10` is below `9`. Option
    `--limit`"""
    time_column: str | None = None
    """Column that says when a content was made, or an SQL expression, for `relabel --scope since` and `--order newest`;
    null: the only date or timestamp column"""

    @model_validator(mode="after")
    def _one_content_column(self) -> Self:
        if self.text_column and self.conversation_column:
            raise ValueError("give either text_column or conversation_column, not both")
        return self

    def collection(self, source_name: str) -> str:
        """The collection of a source that has this name: `name`, by default the same."""
        return self.name or source_name


class RunSettings(Section):
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
    full_every: Positive = 30
    """Days after which a run reads all rows of the source again, though it knows which have changed"""
    metrics_file: Path | None = None
    """File of the driver for the run's metrics in Prometheus's text format, for node exporter's textfile collector
    (its name ends in `.prom`); null: none"""
    follow_every: Seconds = 10.0
    """How often `safeguard label --follow` looks for a new version of the source"""
    shadow_share: Share | None = None
    """Also label this share of the contents under the version with alias `shadow` of each policy; null: none"""


class SecondLook(StrEnum):
    """How a content is asked about once more if its answer could not be read."""

    none = "none"
    effort = "effort"
    structured = "structured"


class LabelerConfig(Section):
    """What, besides policy and content, can change a label."""

    effort: Effort | None = None
    """Reasoning effort; null: what the policy recommends, else `medium`. `none`: not sent, for models in the `chat`
    dialect that have none"""
    max_tokens: Positive | None = None
    """Tokens of an answer, reasoning included; null: what the policy recommends, else 4096. A longer answer is
    `truncated`"""
    max_prompt_tokens: Positive = 16_384
    """A longer prompt is `too_long`; a policy that is longer by itself ends the run at once, exit code 3. With
    `labeler.max_tokens` it must fit the engine's `max_model_len`"""
    temperature: Annotated[float, Field(strict=True, ge=0, le=2), EXPONENTS] = 0.0
    """Sampling temperature. Even at 0, answers may differ slightly from run to run"""
    top_p: Annotated[float, Field(strict=True, gt=0, le=1), EXPONENTS] = 1.0
    """Nucleus sampling"""
    structured: Truth = True
    """Whether the engine constrains the answer to the output contract. If not, any answer still has an outcome"""
    second_look: SecondLook = SecondLook.effort
    """What is `unparseable` or `truncated` at temperature 0 is asked once more, for up to 5 % of the calls (or 8 of a
    task): with the effort one step up, or down if it was truncated (`effort`), or with structured output
    (`structured`, for `labeler.structured=false`). `none`: it is not"""
    escalate: Annotated[float, Field(strict=True, gt=0, le=1), EXPONENTS] | None = None
    """Ask once more, with the effort one step up, about contents whose verdict names a critical rule, and about those
    that a glance screen nearly cleared, for up to this share of the calls; the second verdict is the label. null: do
    not. What it buys: `safeguard evaluate --versus labeler.escalate=0.1` (docs/screening.md)"""


class TrackingConfig(Section):
    """MLflow: where runs are logged and policies are registered."""

    enabled: Truth = True
    """Whether runs are logged to MLflow"""
    uri: str | None = None
    """Tracking server and policy registry; null: `MLFLOW_TRACKING_URI`, else a SQLite file `mlflow.db`: for runs next
    to tables in a local folder, else in the current folder; for policies next to the policies folder"""
    experiment: str = "safeguard-spark"
    """The MLflow experiment of the runs; on Databricks, where it is a path, below `/Shared/`"""
    prompt_schema: Annotated[str, Field(pattern=r"^[^.'\s]+\.[^.'\s]+$")] | None = None
    """On Databricks: the schema of Unity Catalog in which policies are published, `CATALOG.SCHEMA`"""


class GoldConfig(Section):
    """A table of human decisions. `location` is a path (Parquet or Delta) or a table's name."""

    location: str | None = None
    """A path (Parquet or Delta) or a table's name; null: there is none"""
    id_column: str = "id"
    """Column of content ids"""
    violation_column: str = "violation"
    """Column of decisions: true, false, or null where there is no decision"""
    rules_column: str | None = None
    """Column of the rules that a decision names, a text or a list; null: there is none. With `version_column`,
    decisions that name a rule which a later version changes are to be decided again, and not counted for it"""
    version_column: str | None = None
    """Column of the policy version that was decided under; null: there is none"""


class GateConfig(Section):
    """What any version must reach before it may be promoted, besides its own front matter; null: not checked."""

    cases: Truth = True
    """Whether the policy's cases must pass, or meet the gate in its front matter"""
    max_unexplained_flips: Share | None = None
    """Of the contents compared with the active version: at most this share flipped without a changed rule in the
    verdict, noise subtracted"""
    min_coverage: Share | None = 0.99
    """At least this share of the source's contents has a label under the version that could be read, and of
    all collections' contents together"""
    min_gold_precision: Share | None = None
    """Precision against the gold table"""
    min_gold_recall: Share | None = None
    """Recall against the gold table"""
    sets: tuple[SetGate, ...] = ()
    """What golden sets must show, each with `set`, `min_recall` and other bounds (docs/evaluating.md). They are
    evaluated when a version is promoted"""


class RelabelConfig(Section):
    """Re-labelling: what an engine-hour costs, what people decided, what a promotion requires."""

    price_per_engine_hour: Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False), EXPONENTS] | None = None
    """What one engine costs per hour, for the cost that a plan shows; null: a plan shows no cost"""
    currency: str = "USD"
    """The currency of that price"""
    gold: GoldConfig = GoldConfig()
    gate: GateConfig = GateConfig()


class ScreenConfig(Section):
    """A light classifier in front of the model: `docs/screening.md`."""

    id: Word | None = None
    """The screen that clears contents before the model is called (`safeguard screen train` prints its id); null: none.
    It is refused for another policy text or labeler than its own; of several policies it screens its own"""
    audit: Positive | None = None
    """How many of the contents that it clears each run has the model judge too, to audit it; null: as many as show its
    target if none is a violation, at least 100 (of a small run fewer once 100 are judged), at most a tenth of what it
    clears"""


class SparkConfig(Section):
    """The Spark session, where there is none yet. spark-submit's own settings win."""

    master: str | None = None
    """Spark's master; null: `local[*]`, or what spark-submit sets"""
    conf: dict[str, Word] = Field(default_factory=dict)
    """Spark settings by their own names, dots included: `--set spark.conf.spark.driver.memory=8g`. The environment can
    set only names in lower case (`SAFEGUARD_SPARK__CONF__SPARK__DRIVER__MEMORY`)"""


class RunConfig(Section):
    """The whole configuration of a job."""

    source: SourceConfig = SourceConfig()
    policy: Refs = ()
    """Policies to label under: files, `name@version` or `name@alias`. A single one needs no brackets. Option
    `--policy`, repeatable"""
    policies: Path = Path("policies")
    """Folder of published policies, `<name>/<version>/policy.md`, with the folder `lock`"""
    sets: Path = Path("sets")
    """Folder of golden sets, `<name>/<version>/set.yaml`"""
    output: str | None = None
    """Where the label tables are: a folder on any file system Spark knows (one in the current folder is `./name`), or
    `CATALOG.SCHEMA`. Required. Option `--output`"""
    run: RunSettings = RunSettings()
    engine: AnyEngineConfig
    labeler: LabelerConfig = LabelerConfig()
    tracking: TrackingConfig = TrackingConfig()
    relabel: RelabelConfig = RelabelConfig()
    screen: ScreenConfig = ScreenConfig()
    review: ReviewConfig = ReviewConfig()
    spark: SparkConfig = SparkConfig()

    @property
    def config_hash(self) -> str:
        """SHA-256 of the resolved configuration."""
        return sha256(self.model_dump(mode="json"))
