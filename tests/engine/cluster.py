"""`python -m tests.engine.cluster FOLDER`: label a table on a cluster of two executors with a GPU each, on one machine.

The GPUs are fake: Spark assigns their addresses, and the CPU build of the server ignores them. Prints one JSON object.
"""

import json
import sys
from pathlib import Path

import psutil

from safeguard_spark.config.load import build_config
from safeguard_spark.demo import content, model
from safeguard_spark.engines.server_folder import ServerFolder
from safeguard_spark.policy.document import load_policy
from safeguard_spark.spark.label.job import label_table
from safeguard_spark.spark.session import session
from tests.engine import laptop

GPU_DISCOVERY_SCRIPT = '#!/bin/sh\necho \'{"name": "gpu", "addresses": ["0"]}\'\n'
ROWS = 400


def main(folder: Path) -> None:
    """Label `ROWS` contents and print the result and the servers that took part."""
    script = folder / "gpus"
    script.write_text(GPU_DISCOVERY_SCRIPT)
    script.chmod(0o755)
    content.write(folder / "posts.parquet", count=ROWS)
    config = build_config({
        "source": {"location": str(folder / "posts.parquet"), "text_column": "body"},
        "output": str(folder / "tables"),
        "engine": {
            "kind": "vllm", "model": str(model.model_path()), "model_name": "demo", "work_dir": str(folder / "w"),
            "env": laptop.ENV,
            "args": laptop.args(max_model_len=2560, max_num_seqs=32),
        },
        "labeler": {"max_prompt_tokens": 2048, "max_tokens": 256},
        "tracking": {"enabled": False},
        "spark": {
            "master": "local-cluster[2,2,2048]",
            "conf": {
                "spark.executor.memory": "1g", "spark.executor.cores": "2",
                "spark.worker.resource.gpu.amount": "1", "spark.worker.resource.gpu.discoveryScript": str(script),
                "spark.executor.resource.gpu.amount": "1", "spark.task.resource.gpu.amount": "0.5",
                "spark.sql.shuffle.partitions": "2", "spark.databricks.delta.snapshotPartitions": "1",
            },
        },
    })  # fmt: skip
    spark = session(config)
    root = Path(__file__).parents[2]
    policy = load_policy(root / "policies" / "marketplace" / "1.0.0" / "policy.md")
    result = label_table(spark, config, [policy], show=False)
    labels = spark.read.format("delta").load(str(folder / "tables" / "labels"))
    folders = [ServerFolder(path.parent) for path in (folder / "w").glob("safeguard-*/*/state.json")]
    print(json.dumps({
        "result": result.to_json(),
        "labels": labels.count(),
        "ids": labels.select("content_id").distinct().count(),
        "servers": [
            {
                "server_id": state.server_id,
                "executor": psutil.Process(state.owner.pid).ppid(),
                "devices": psutil.Process(state.server_pid).environ().get("CUDA_VISIBLE_DEVICES"),
                "answered": server_folder.touched_ns("answered") > 0,
                "supervisor": state.supervisor and state.supervisor.pid,
            }
            for server_folder in folders
            if (state := server_folder.state())
        ],
    }))  # fmt: skip
    spark.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
