"""Sessions and folders that Databricks has: what a run cannot use is refused in one sentence."""

from typing import Any

import pytest
from pyspark.errors import PySparkAttributeError

from safeguard_spark.errors import ConfigError
from safeguard_spark.spark.session import DATABRICKS, check
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


class ConnectSession:
    """A session of Spark Connect, as far as it tells that it is one."""

    def __getattr__(self, name: str) -> Any:
        raise PySparkAttributeError(errorClass="JVM_ATTRIBUTE_NOT_SUPPORTED", messageParameters={"attr_name": name})


def test_a_client_of_spark_connect_is_refused() -> None:
    session: Any = ConnectSession()
    with pytest.raises(ConfigError, match=r"Spark Connect client.*Use a classic session.*dedicated access mode"):
        check(session)
