"""The label tables for a reader. Nothing is created or changed."""

from dataclasses import dataclass
from datetime import datetime

from pyspark.sql import DataFrame, SparkSession

from safeguard_spark import schema
from safeguard_spark.spark.history import labels_as_of
from safeguard_spark.spark.tables import Tables


@dataclass(frozen=True)
class LabelTables:
    """The label tables of one output as Spark DataFrames. docs/tables.md describes every column."""

    tables: Tables

    @classmethod
    def open(cls, spark: SparkSession, output: str) -> "LabelTables":
        """The tables in a folder, or in a catalog's schema. Raises TableError if there are none."""
        return cls(Tables.open(spark, output))

    @property
    def labels(self) -> DataFrame:
        """Every label ever written, whichever policy version it is under."""
        return self.tables.read(schema.LABELS)

    @property
    def labels_current(self) -> DataFrame:
        """The newest label per content and policy, under the active version of the policy."""
        return self.tables.spark.sql(self.tables.labels_current)

    def labels_as_of(self, moment: datetime) -> DataFrame:
        """What `labels_current` showed at a moment, less what was erased since. A time without a zone is UTC."""
        return labels_as_of(self.tables, moment)

    @property
    def reasoning(self) -> DataFrame:
        """One row per model call: the model's reasoning and its raw output."""
        return self.tables.read(schema.REASONING)

    @property
    def runs(self) -> DataFrame:
        """One row per run of the label job."""
        return self.tables.read(schema.RUNS)

    @property
    def policy_activations(self) -> DataFrame:
        """One row each time a policy version became active."""
        return self.tables.read(schema.ACTIVATIONS)

    @property
    def policies(self) -> DataFrame:
        """One row per policy version that a run used: its text, owner, hashes, and who published it when."""
        return self.tables.read(schema.POLICIES)

    @property
    def policy_rules(self) -> DataFrame:
        """One row per rule of a policy version: its category, severity and title."""
        return self.tables.read(schema.POLICY_RULES)

    def create_views(self) -> None:
        """Let SQL in this session name them: `SELECT … FROM labels_current`, `FROM labels_as_of(TIMESTAMP'…')`."""
        self.tables.create_session_views()
        self.tables.create_analyst_views()
