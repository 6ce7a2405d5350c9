"""The manifest of a staged run."""

from datetime import UTC, datetime

from safeguard_spark.spark.staging import Driver, Manifest, SourceVersion


def manifest(driver: Driver, *, failed: bool = False) -> Manifest:
    """The manifest of a run of this driver over no source in particular."""
    return Manifest(
        driver=driver,
        started_at=datetime(2026, 1, 1, tzinfo=UTC),
        source=SourceVersion(name="posts", version=3),
        policies=(),
        labelers=(),
        config_hash="0",
        config="{}",
        labels_version_in=0,
        failed=failed,
    )
