"""The label job and the SQL function through one vLLM server on the CPU, and the same server as a chat endpoint."""

import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyspark.sql import SparkSession

from safeguard_spark.config.engine import Dialect, VllmConfig
from safeguard_spark.config.load import build_config
from safeguard_spark.config.model import RunConfig
from safeguard_spark.demo import content, model
from safeguard_spark.engines.endpoint import EndpointEngine
from safeguard_spark.engines.server_folder import ServerFolder, Starts
from safeguard_spark.errors import PolicyError
from safeguard_spark.labelling.content import from_text
from safeguard_spark.labelling.labeler import Labeler
from safeguard_spark.labelling.rows import LabelSpec, Row, label_rows
from safeguard_spark.labelling.verdict import Outcome
from safeguard_spark.policy.document import Policy, load_policy
from safeguard_spark.screen.glance import GlanceScreen
from safeguard_spark.spark.label.job import label_table
from safeguard_spark.spark.label.udf import register
from tests.engine import laptop

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]
ROWS = 200
ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("SAFEGUARD_DATA", ROOT.parent / "shared" / "data"))


class Workspace:
    """Folders for all tests of this file: with one working folder for the engine there is only one server."""

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
        """The running server, used as an endpoint."""
        # The socket is not always next to the state file: if that path is too long for a socket, it is elsewhere.
        config = self.config("posts", "text_column", "elsewhere")
        assert isinstance(config.engine, VllmConfig)
        endpoint = config.engine.as_endpoint(f"unix:{self.servers()[0].socket}").model_copy(
            update={"dialect": dialect, "deadline_s": 60.0}
        )
        return config.model_copy(update={"engine": endpoint})

    def servers(self) -> list[ServerFolder]:
        """Folders of the servers that were started."""
        return [ServerFolder(path.parent) for path in sorted((self.folder / "w").glob("safeguard-*/*/state.json"))]

    @property
    def starts(self) -> int:
        """The number of server starts so far."""
        records = [folder.read(Starts) for folder in self.servers()]
        return sum(sum(record.by_run.values()) for record in records if record)


@pytest.fixture(scope="module")
def workspace(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    pytest.importorskip("vllm", reason="vLLM is not installed")
    workspace = Workspace(spark, tmp_path_factory.mktemp("job"))
    parquet = content.write(workspace.folder / "posts.parquet", count=ROWS)
    spark.read.parquet(str(parquet)).write.format("delta").save(str(workspace.folder / "posts"))
    yield workspace


def test_a_table_is_labelled_through_one_server_and_again_without_a_call(
    workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    config = workspace.config("posts", "text_column", "tables")

    with caplog.at_level("INFO", "safeguard_spark"):
        first = label_table(workspace.spark, config, [workspace.policy], show=False)
    assert caplog.text.count(" was started for chunk 0.") == 1
    second = label_table(workspace.spark, config, [workspace.policy], show=False)

    assert (first.status, first.rows, first.written, first.engine_starts) == ("complete", ROWS, ROWS, 1)
    assert sum(first.outcomes.values()) == ROWS and first.outcomes["labelled"] > 0.9 * ROWS
    assert first.tokens["cached"] > 0
    assert (second.calls, second.written, second.engine_starts) == (0, 0, 0)
    assert workspace.starts == 1
    labels = workspace.spark.read.format("delta").load(str(workspace.folder / "tables" / "labels"))
    assert labels.select("content_id").distinct().count() == labels.count() == ROWS


def test_sql_gives_the_jobs_verdicts_and_starts_no_second_server(workspace: Workspace) -> None:
    config = workspace.config("posts", "text_column", "tables")
    label_table(workspace.spark, config, [workspace.policy], show=False)
    labels = workspace.spark.read.format("delta").load(str(workspace.folder / "tables" / "labels")).collect()
    register(workspace.spark, config, workspace.policy)
    workspace.spark.read.format("delta").load(str(workspace.folder / "posts")).createOrReplaceTempView("posts")

    rows = workspace.spark.sql("SELECT id, safeguard_label(body) AS label FROM posts").collect()

    from_job = {row.content_id: (row.outcome, row.violation, row.category, row.rule_ids) for row in labels}
    from_sql = {
        row.id: (row.label.outcome, row.label.violation, row.label.category, row.label.rule_ids) for row in rows
    }
    # In another batch the same model may round differently, which changes very few verdicts.
    assert len(from_sql) == ROWS and sum(from_sql[id] != from_job[id] for id in from_job) <= 0.01 * ROWS
    assert workspace.starts == 1


def test_conversations_are_labelled_through_the_same_server(workspace: Workspace) -> None:
    result = label_table(
        workspace.spark, workspace.config("posts", "conversation_column", "talks"), [workspace.policy], show=False
    )

    assert (result.written, sum(result.outcomes.values())) == (ROWS, ROWS)
    assert workspace.starts == 1  # the same server as in the other tests


@pytest.mark.parametrize("output", ["binary", "category", "full"])
def test_answers_of_a_chat_server_are_read_in_every_output_form(workspace: Workspace, output: str) -> None:
    label_table(workspace.spark, workspace.config("posts", "text_column", "tables"), [workspace.policy], show=False)
    chat = workspace.endpoint(Dialect.chat)
    policy = Policy.model_validate({**workspace.policy.model_dump(), "output": output})
    spec = LabelSpec(policy, Labeler.of(chat, policy))
    rows = [Row(number, from_text(f"Selling garden chairs number {number}.")) for number in range(16)]

    with EndpointEngine(chat.engine, 16) as engine:
        results = list(label_rows(spec, engine, rows))

    assert sorted(result.key for result in results) == list(range(16))
    assert all(result.completion is not None and result.completion.text is not None for result in results)
    # The model was not trained on this dialect, but the contract still binds the form of its answers.
    assert {result.verdict.outcome for result in results} <= {Outcome.labelled, Outcome.truncated, Outcome.unparseable}
    if output == "binary":
        assert {result.verdict.outcome for result in results} == {Outcome.labelled}


def test_a_glance_scores_every_content_whatever_the_model_would_say_first(workspace: Workspace) -> None:
    label_table(workspace.spark, workspace.config("posts", "text_column", "tables"), [workspace.policy], show=False)
    config = workspace.endpoint(Dialect.harmony)
    contents = [from_text(row["body"]) for row in content.rows(20)]

    with EndpointEngine(config.engine, 16) as engine:
        scores = GlanceScreen(LabelSpec.of(config, workspace.policy), engine).scores([*contents, from_text("")])

    answered = [bool(content.text) for content in contents]
    assert np.isfinite(scores).tolist() == [*answered, False] and any(answered)
    assert len(set(scores[np.isfinite(scores)])) > 1
    assert workspace.starts == 1


def test_a_policy_longer_than_the_servers_context_ends_the_run_without_a_label(workspace: Workspace) -> None:
    label_table(workspace.spark, workspace.config("posts", "text_column", "tables"), [workspace.policy], show=False)
    config = workspace.endpoint(Dialect.harmony)
    config = config.model_copy(update={"labeler": config.labeler.model_copy(update={"max_prompt_tokens": 16_384})})
    long = workspace.policy.model_copy(update={"body": workspace.policy.body * 8})

    with pytest.raises(PolicyError, match=r"alone takes [\d,]+ tokens, and the server's context leaves [\d,]+: every"):
        label_table(workspace.spark, config, [long], show=False)

    labels = workspace.spark.read.format("delta").load(str(workspace.folder / "elsewhere" / "labels"))
    assert labels.isEmpty()


@pytest.mark.slow
@pytest.mark.skipif(not (SHARED / "openai-moderation-2022.jsonl.gz").exists(), reason="the data set is not here")
def test_real_texts_get_exactly_one_outcome_each(workspace: Workspace) -> None:
    with gzip.open(SHARED / "openai-moderation-2022.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows: list[dict[str, Any]] = [
            {"id": f"m{number}", "body": json.loads(line)["prompt"]} for number, line in enumerate(lines)
        ]
    _write(workspace, "moderation", rows)

    result = label_table(
        workspace.spark, workspace.config("moderation", "text_column", "real"), [workspace.policy], show=False
    )

    assert (result.rows, result.written, sum(result.outcomes.values())) == (1680, 1680, 1680)
    assert set(result.outcomes) <= {outcome.value for outcome in Outcome} and "engine_failed" not in result.outcomes
    assert workspace.starts == 1


def _write(workspace: Workspace, name: str, rows: list[dict[str, Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(rows), workspace.folder / name)
