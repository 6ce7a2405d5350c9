"""The label job and the SQL function through one vLLM server on the CPU, and the same server as a chat endpoint."""

import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from safeguard_spark.config.load import build_config
from safeguard_spark.config.model import Dialect, EngineKind, RunConfig
from safeguard_spark.demo import content, model
from safeguard_spark.engines.endpoint import EndpointEngine
from safeguard_spark.errors import EngineError
from safeguard_spark.labelling.content import from_text
from safeguard_spark.labelling.labeler import Labeler
from safeguard_spark.labelling.rows import LabelSpec, Row, label_rows
from safeguard_spark.labelling.verdict import Outcome
from safeguard_spark.policy.document import Policy, load_policy
from safeguard_spark.spark.label.job import label_table
from safeguard_spark.spark.label.udf import register
from tests.engine import laptop

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]
ROWS = 200
ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("SAFEGUARD_DATA", ROOT.parent / "shared" / "data"))


class Place:
    """One output, one engine's working folder and so one server for all tests of this file."""

    def __init__(self, spark: SparkSession, folder: Path) -> None:
        self.spark, self.folder = spark, folder
        self.policy = load_policy(ROOT / "policies" / "marketplace" / "1.0.0" / "policy.md")

    def config(self, source: str, column: str, output: str) -> RunConfig:
        return build_config({
            "source": {"location": str(self.folder / source), column: "turns" if "conv" in column else "body"},
            "output": str(self.folder / output),
            "engine": {
                "kind": "vllm", "model": str(model.model_path(self.folder / "cache")), "model_name": "demo",
                "work_dir": str(self.folder / "w"), "env": laptop.ENV, "args": laptop.args(max_num_seqs=64),
            },
            "labeler": {"max_prompt_tokens": 2048, "max_tokens": 256},
            "tracking": {"enabled": False},
        })  # fmt: skip

    def endpoint(self, dialect: Dialect) -> RunConfig:
        """The server that was started, as if somebody else ran it."""
        # Not always beside the state: a path too long for a socket has a shorter one.
        socket = Path(json.loads(self.servers()[0].read_text())["sockets"]) / "s"
        config = self.config("posts", "text_column", "elsewhere")
        asked = {"kind": EngineKind.endpoint, "dialect": dialect, "url": f"unix:{socket}", "deadline_s": 60.0}
        return config.model_copy(update={"engine": config.engine.model_copy(update=asked)})

    def servers(self) -> list[Path]:
        """Folders of the servers that were started."""
        return sorted((self.folder / "w").glob("safeguard-*/*/state.json"))

    @property
    def starts(self) -> int:
        """Servers started so far, by the runs that did."""
        counts = [json.loads((found.parent / "starts.json").read_text()) for found in self.servers()]
        return sum(sum(count.values()) for count in counts)


@pytest.fixture(scope="module")
def place(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    pytest.importorskip("vllm", reason="vLLM is not installed")
    made = Place(spark, tmp_path_factory.mktemp("job"))
    parquet = content.write(made.folder / "posts.parquet", count=ROWS)
    spark.read.parquet(str(parquet)).write.format("delta").save(str(made.folder / "posts"))
    yield made


def test_a_table_is_labelled_once_through_one_server_and_then_for_nothing(place: Place) -> None:
    config = place.config("posts", "text_column", "tables")

    first = label_table(place.spark, config, [place.policy], show=False)
    again = label_table(place.spark, config, [place.policy], show=False)

    assert (first.status, first.rows, first.written, first.engine_starts) == ("complete", ROWS, ROWS, 1)
    assert sum(first.outcomes.values()) == ROWS and first.outcomes["labelled"] > 0.9 * ROWS
    assert first.tokens["cached"] > 0
    assert (again.calls, again.written, again.engine_starts) == (0, 0, 0)
    assert place.starts == 1
    labels = place.spark.read.format("delta").load(str(place.folder / "tables" / "labels"))
    assert labels.select("content_id").distinct().count() == labels.count() == ROWS


def test_sql_gives_the_jobs_verdicts_and_starts_no_second_server(place: Place) -> None:
    config = place.config("posts", "text_column", "tables")
    label_table(place.spark, config, [place.policy], show=False)
    labels = place.spark.read.format("delta").load(str(place.folder / "tables" / "labels")).collect()
    register(place.spark, config, place.policy)
    place.spark.read.format("delta").load(str(place.folder / "posts")).createOrReplaceTempView("posts")

    rows = place.spark.sql("SELECT id, safeguard_label(body) AS said FROM posts").collect()

    jobs = {row.content_id: (row.outcome, row.violation, row.category, row.rule_ids) for row in labels}
    said = {row.id: (row.said.outcome, row.said.violation, row.said.category, row.said.rule_ids) for row in rows}
    # The same model under another batching may round another way; hardly one verdict turns.
    assert len(said) == ROWS and sum(said[id] != jobs[id] for id in jobs) <= 0.01 * ROWS
    assert place.starts == 1


def test_conversations_go_the_same_way(place: Place) -> None:
    result = label_table(place.spark, place.config("posts", "conversation_column", "talks"), [place.policy], show=False)

    assert (result.written, sum(result.outcomes.values())) == (ROWS, ROWS)
    assert place.starts == 1  # the other run found the server


@pytest.mark.parametrize("output", ["binary", "category", "full"])
def test_a_chat_server_is_read_in_every_output_form(place: Place, output: str) -> None:
    label_table(place.spark, place.config("posts", "text_column", "tables"), [place.policy], show=False)
    chat = place.endpoint(Dialect.chat)
    asked = Policy.model_validate({**place.policy.model_dump(), "output": output})
    job = LabelSpec(asked, Labeler.of(chat, asked))
    rows = [Row(number, from_text(f"Selling garden chairs number {number}.")) for number in range(16)]

    with EndpointEngine(chat.engine, 16) as engine:
        done = list(label_rows(job, engine, rows))

    assert sorted(item.key for item in done) == list(range(16))
    assert all(item.completion is not None and item.completion.text is not None for item in done)
    # The model was never taught this dialect; the answer's form is bound all the same.
    assert {item.verdict.outcome for item in done} <= {Outcome.labelled, Outcome.truncated, Outcome.unparseable}
    if output == "binary":
        assert {item.verdict.outcome for item in done} == {Outcome.labelled}


def test_a_policy_longer_than_the_servers_context_ends_the_run_and_no_row_has_an_outcome(place: Place) -> None:
    label_table(place.spark, place.config("posts", "text_column", "tables"), [place.policy], show=False)
    config = place.endpoint(Dialect.harmony)
    config = config.model_copy(update={"labeler": config.labeler.model_copy(update={"max_prompt_tokens": 16_384})})
    long = place.policy.model_copy(update={"body": place.policy.body * 8})

    with pytest.raises(EngineError, match=r"alone takes [\d,]+ tokens, and the server's context leaves [\d,]+: every"):
        label_table(place.spark, config, [long], show=False)

    written = place.spark.read.format("delta").load(str(place.folder / "elsewhere" / "labels"))
    assert written.isEmpty()


@pytest.mark.slow
@pytest.mark.skipif(not (SHARED / "openai-moderation-2022.jsonl.gz").exists(), reason="the data is not at hand")
def test_real_texts_have_one_named_outcome_each(place: Place) -> None:
    with gzip.open(SHARED / "openai-moderation-2022.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows: list[dict[str, Any]] = [
            {"id": f"m{number}", "body": json.loads(line)["prompt"]} for number, line in enumerate(lines)
        ]
    _write(place, "moderation", rows)

    result = label_table(place.spark, place.config("moderation", "text_column", "real"), [place.policy], show=False)

    assert (result.rows, result.written, sum(result.outcomes.values())) == (1680, 1680, 1680)
    assert set(result.outcomes) <= {outcome.value for outcome in Outcome} and "engine_failed" not in result.outcomes
    assert place.starts == 1


def _write(place: Place, name: str, rows: list[dict[str, Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(rows), place.folder / name)
