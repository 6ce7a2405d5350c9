"""The labeler as a function, for notebooks and SQL. Nothing is stored; same server and verdicts as the label job."""

import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd
from pyspark import TaskContext
from pyspark.sql import SparkSession
from pyspark.sql.pandas.functions import pandas_udf

from safeguard_spark.config.model import RunConfig
from safeguard_spark.labelling.inputs import content_of
from safeguard_spark.labelling.rows import Labelled, LabelSpec, Row, label_rows
from safeguard_spark.policy.document import Policy
from safeguard_spark.spark.executors import executors, task_slots
from safeguard_spark.spark.label.executor import VERDICT_COLUMNS, VERDICT_TYPE, Recipe

NAME = "safeguard_label"
QUERY = "spark.sql.execution.id"  # Spark's local property with the number of a query


def label_udf(config: RunConfig, policy: Policy) -> Callable[..., Any]:
    """An iterator pandas UDF: a column of texts, bytes or turns to a column of structs `VERDICT_TYPE`.

    It goes through this executor's engine. Every evaluation calls the model: Spark may evaluate it twice (a sort, a
    second action). Raises EngineError inside the query if the engine cannot be reached.
    """
    spec, window = LabelSpec.of(config, policy), _window(config)

    def label(batches: Iterator[pd.Series]) -> Iterator[pd.DataFrame]:
        yield from _frames(Recipe(config, spec, _query_id(), window), batches)

    udf: Callable[..., Any] = pandas_udf(label, VERDICT_TYPE)  # type: ignore[call-overload]  # the type hints say which kind
    return udf


def register(spark: SparkSession, config: RunConfig, policy: Policy, name: str = NAME) -> None:
    """Register `safeguard_label(text)` for SQL, under a policy."""
    spark.udf.register(name, label_udf(config, policy))


def _query_id() -> str:
    """The run of a query: what one query finds out about its engine must not stop the next one."""
    context = TaskContext.get()
    query = context.getLocalProperty(QUERY) or f"stage-{context.stageId()}" if context else secrets.token_hex(4)
    return f"udf-{query}"


def _window(config: RunConfig) -> int:
    spark = SparkSession.getActiveSession()
    slots = task_slots(spark, executors(spark)).per_executor if spark else 1
    return -(-config.engine.requests_in_flight // slots)


def _frames(recipe: Recipe, batches: Iterator[pd.Series]) -> Iterator[pd.DataFrame]:
    with recipe.engine() as engine:
        for texts in batches:
            rows = (Row(number, content_of(text)) for number, text in enumerate(texts))
            results = {result.key: result for result in label_rows(recipe.spec, engine, rows)}
            yield pd.DataFrame([_fields(results[number]) for number in range(len(texts))], columns=VERDICT_COLUMNS)


def _fields(result: Labelled) -> list[Any]:
    verdict = result.verdict
    return [
        verdict.outcome.value, verdict.violation, verdict.category, list(verdict.rule_ids), verdict.confidence,
        verdict.rationale, verdict.error,
    ]  # fmt: skip
