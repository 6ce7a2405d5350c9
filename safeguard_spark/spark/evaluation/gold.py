"""Gold: a golden set as a table of contents and a table of what people answered."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from safeguard_spark.config.model import RunConfig, ScreenConfig, SourceConfig
from safeguard_spark.errors import ConfigError, SourceError
from safeguard_spark.evaluation.set_files import read_rows
from safeguard_spark.evaluation.sets import GoldenSet, SetManifest, verify_file
from safeguard_spark.policy.document import ALL, Policy
from safeguard_spark.relabel.rules import RuleChanges
from safeguard_spark.spark.files import Files
from safeguard_spark.spark.source import Source, id_text, is_path, open_source, read_column, read_snapshot
from safeguard_spark.spark.source.columns import conversation_payload, text_payload
from safeguard_spark.spark.unreadable import readable
from safeguard_spark.terminal import counted

MAX_SLICES = 500  # values of a column that divides a set: each is a row of every report


@dataclass(frozen=True)
class Gold:
    """A golden set on Spark.

    `answers` has content_id, `slices` (a list of `column=value`, with `*`), and for each of `policies` a struct `p0`,
    `p1`, …: expected (boolean, null: unknown), rules (list of texts or null), category, decide_again (boolean).
    """

    golden_set: GoldenSet
    config: SourceConfig  # how the contents are read; its `name` is the collection of their labels
    contents: Source
    answers: DataFrame
    policies: tuple[Policy, ...]

    def filtered(self, frame: DataFrame) -> DataFrame:
        """The rows of a frame that the manifest's filter selects."""
        return filtered_rows(frame, self.golden_set)

    def label_config(self, config: RunConfig) -> RunConfig:
        """A configuration whose source is the set. No screen: the labeler is what is measured."""
        return config.model_copy(update={"source": self.config, "screen": ScreenConfig()})


def open_gold(
    spark: SparkSession,
    golden_set: GoldenSet,
    policies: Sequence[Policy],
    slices: Sequence[str] = (),
    changes: Mapping[str, RuleChanges] | None = None,
) -> Gold:
    """Read a golden set. Nothing is downloaded. Raises SourceError, ConfigError.

    `slices`: columns, in addition to the manifest's. `changes`: by policy, what changed since people decided; answers
    that name a changed rule are unknown, and marked to be decided again.
    """
    manifest = golden_set.manifest
    location = _location(spark, golden_set)
    config = SourceConfig(
        location=location,
        name=manifest.name,
        id_column=manifest.id_column,
        text_column=manifest.text_column,
        conversation_column=manifest.conversation_column,
    )

    def filtered(frame: DataFrame) -> DataFrame:
        return filtered_rows(frame, golden_set)

    with readable(f"Set {manifest.ref}"):
        _refuse_wrong_columns(read_snapshot(spark, config).frame, manifest)
    contents = open_source(spark, config, row_filter=filtered)
    frame = filtered(read_snapshot(spark, config, contents.version).frame)
    with readable(f"Set {manifest.ref}"):
        parts = {column: _slice(frame, manifest.ref, column) for column in (*manifest.slices, *slices)}
        id = id_text(read_column(frame, manifest.ref, manifest.id_column, "id_column"), manifest.ref)
        expected = {policy.name: _expected(frame, manifest, policy.name) for policy in policies}
        _refuse_unusable(frame, manifest.ref, id, parts, expected)
        answers = frame.select(
            id.alias("content_id"),
            F.array(F.lit(ALL), *parts.values()).alias("slices"),
            *(
                _answer(frame, manifest, policy, expected[policy.name].value, (changes or {}).get(policy.name)).alias(
                    f"p{number}"
                )
                for number, policy in enumerate(policies)
            ),
        )
    # Not the name of a view, which is gone when the session ends.
    return Gold(golden_set, config, replace(contents, name=golden_set.location), answers, tuple(policies))


def filtered_rows(frame: DataFrame, golden_set: GoldenSet) -> DataFrame:
    """The rows of a set that its filter selects. Raises SourceError."""
    condition, ref = golden_set.manifest.filter, golden_set.manifest.ref
    return frame if condition is None else frame.where(read_column(frame, ref, condition, "filter").column)


def _location(spark: SparkSession, golden_set: GoldenSet) -> str:
    """Where Spark reads the set: its own location, or a view of the rows of a file that Spark does not read."""
    manifest = golden_set.manifest
    if manifest.file_format is None:
        location = golden_set.location
        if is_path(location) and not Files(spark, location).exists():
            golden_set.data_file()  # raises, with what to download
        if Path(location).is_file():
            verify_file(manifest, Path(location))
        return location
    import pyarrow as pa

    path = golden_set.data_file()
    rows = read_rows(path, manifest.file_format)
    if not rows:
        raise SourceError(f"{path} has no rows.")
    try:
        table = pa.Table.from_pylist(rows)
    except pa.ArrowException as error:
        raise SourceError(f"{path} has values of different types in one column. Correct the file.") from error
    # Spark has no columns without a type.
    empty = [pa.field(field.name, pa.string()) if pa.types.is_null(field.type) else field for field in table.schema]
    view = f"golden_set_{manifest.digest[:16]}"
    spark.createDataFrame(table.cast(pa.schema(empty))).createOrReplaceTempView(view)
    return view


def _slice(frame: DataFrame, ref: str, column: str) -> Column:
    value = read_column(frame, ref, column, "slices").column.cast("string")
    return F.concat(F.lit(f"{column}="), F.coalesce(value, F.lit("null")))


class _Expected(NamedTuple):
    """The answers for a policy: true, false or null for unknown; which are none of these; and what to write then."""

    value: Column
    is_other: Column
    advice: str


def _expected(frame: DataFrame, manifest: SetManifest, policy: str) -> _Expected:
    """Raises SourceError for a type that has no truth values."""
    (expression,) = manifest.answers_for([policy]).values()
    option = f"mapping.{policy}"
    field = read_column(frame, manifest.ref, expression, option)
    example = f"{field.sql} = 'VALUE'"
    match field.type:
        case T.BooleanType() | T.NullType():
            value = field.column.cast("boolean")
            is_other = F.lit(False)
        case T.StringType():
            value = field.column.try_cast("boolean")
            is_other = field.column.isNotNull() & value.isNull()
        case T.NumericType():
            value, example = field.column.cast("boolean"), f"{field.sql} >= NUMBER"
            is_other = ~field.column.isin(0, 1)
        case _:
            kind = field.type.simpleString()
            raise SourceError(
                f"{option} {field.name} of {manifest.ref} is {kind}, not true or false. Write an expression that is."
            )
    return _Expected(value, is_other, f'Write which values mean a violation, as {option}: "{example}"')


def _answer(
    frame: DataFrame, manifest: SetManifest, policy: Policy, expected: Column, changes: RuleChanges | None
) -> Column:
    name = policy.name
    rules, category = F.lit(None).cast("array<string>"), F.lit(None).cast("string")
    if name in manifest.rules:
        rules = _rules(frame, manifest.ref, manifest.rules[name], name)
        of_rule = F.create_map(*(F.lit(text) for rule in policy.rules for text in (rule.id, rule.category)))
        category = F.try_element_at(of_rule, F.try_element_at(rules, F.lit(1))) if policy.rules else category
    if name in manifest.categories:
        field = read_column(frame, manifest.ref, manifest.categories[name], f"categories.{name}")
        category = F.coalesce(field.column.cast("string"), category)
    again = F.lit(False)
    if changes is not None:
        affected = F.array(*map(F.lit, changes.affected)).cast("array<string>")
        by_category = rules.isNull() & F.coalesce(category.isin(*changes.categories), F.lit(False))
        again = F.coalesce(F.arrays_overlap(rules, affected), F.lit(False)) | by_category
    return F.struct(
        F.when(~again, expected).alias("expected"),
        rules.alias("rules"),
        category.alias("category"),
        (again & expected.isNotNull()).alias("decide_again"),
    )


def _rules(frame: DataFrame, ref: str, expression: str, policy: str) -> Column:
    field = read_column(frame, ref, expression, f"rules.{policy}")
    if isinstance(field.type, T.ArrayType):
        return field.column.cast("array<string>")
    return F.when(field.column.isNotNull(), F.array(field.column.cast("string")))


def _refuse_wrong_columns(frame: DataFrame, manifest: SetManifest) -> None:
    """Raise SourceError in the manifest's words for a column of contents that is not there, or of another type."""
    ref = manifest.ref
    id_text(read_column(frame, ref, manifest.id_column, "id_column"), ref)
    if manifest.conversation_column is not None:
        conversation_payload(read_column(frame, ref, manifest.conversation_column, "conversation_column"), ref)
    else:
        text_payload(read_column(frame, ref, str(manifest.text_column), "text_column"), ref)


def _refuse_unusable(
    frame: DataFrame, ref: str, id: Column, slices: Mapping[str, Column], expected: Mapping[str, _Expected]
) -> None:
    """Raise SourceError for repeated ids and for answers that are none, ConfigError for a slice of too many values.

    Reads the set once.
    """
    others = [F.count_if(answers.is_other) for answers in expected.values()]
    row = frame.agg(F.count(id), F.count_distinct(id), *others, *map(F.count_distinct, slices.values())).first()
    assert row is not None  # an aggregate without groups has one row
    num_others, num_values = row[2 : 2 + len(others)], row[2 + len(others) :]
    for policy, count in zip(expected, num_others, strict=True):
        if count:
            raise SourceError(
                f"Answers for {policy} in {ref} that are neither true nor false, 1 nor 0: {count:,}. "
                f"{expected[policy].advice}."
            )
    for column, values in zip(slices, num_values, strict=True):
        if values > MAX_SLICES:
            raise ConfigError(f"{column} of {ref} has more than {MAX_SLICES} values. Slice by a column with fewer.")
    if row[0] != row[1]:
        repeats = counted(row[0] - row[1], "row repeats", "rows repeat")
        raise SourceError(f"In {ref}, {repeats} the id of another. Name what identifies a row in id_column.")
