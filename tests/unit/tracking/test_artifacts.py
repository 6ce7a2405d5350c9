"""Artifacts: a file comes back as it was logged, or a sentence says why not."""

import hashlib
from pathlib import Path

import pytest

from safeguard_spark.errors import TableError
from safeguard_spark.tracking.artifacts import artifact_address, read_artifact
from safeguard_spark.tracking.runs import log_finished_run
from tests.build import run_config

pytestmark = pytest.mark.unit


def test_a_file_that_was_changed_or_deleted_in_mlflow_is_refused(tmp_path: Path) -> None:
    config = run_config(output=str(tmp_path / "tables"))
    run_id = log_finished_run(config, "screen", {}, {}, {"screen.skops": b"weights"})
    address, digest = artifact_address(run_id, "screen.skops"), hashlib.sha256(b"weights").hexdigest()
    assert read_artifact(config, address, digest) == b"weights"
    file = next(tmp_path.rglob("screen.skops"))
    file.write_bytes(b"other weights")
    with pytest.raises(TableError, match="is not the file that was logged"):
        read_artifact(config, address, digest)
    file.unlink()
    for missing in (address, artifact_address("0" * 32, "screen.skops")):
        with pytest.raises(
            TableError, match=f"{missing} is not in MLflow at .* any more. Restore it, or make it again"
        ):
            read_artifact(config, missing, digest)
