"""Where a run may stage its results on Databricks."""

import pytest

from safeguard_spark.errors import ConfigError
from safeguard_spark.spark.session import DATABRICKS
from safeguard_spark.spark.shared import require_volume
from tests.build import run_config

pytestmark = pytest.mark.unit


def test_on_databricks_a_schema_needs_a_volume_for_staging(monkeypatch: pytest.MonkeyPatch) -> None:
    bare = run_config(output="main.trust")
    require_volume(bare)
    monkeypatch.setenv(DATABRICKS, "17.3")
    with pytest.raises(ConfigError, match=r"Set run\.staging to a folder of a volume"):
        require_volume(bare)
    require_volume(run_config(output="main.trust", run={"staging": "/Volumes/main/trust/files/staging"}))
    require_volume(run_config(output="/Volumes/main/trust/files/tables"))
