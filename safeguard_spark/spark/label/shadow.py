"""Shadow: the version with alias `shadow` labels a share of the contents in addition to the active version.

Its labels are in `labels` under their own version. `labels_current` does not show them until the version is promoted.
"""

from collections.abc import Sequence

from pyspark.sql import SparkSession

from safeguard_spark.config.model import RunConfig, ScreenConfig
from safeguard_spark.policy.alias import Alias
from safeguard_spark.policy.document import Policy
from safeguard_spark.policy.ref import Ref
from safeguard_spark.result import RunResult
from safeguard_spark.spark.label.job import label_table
from safeguard_spark.spark.label.run import Selection
from safeguard_spark.tracking.registry import Registry, resolve


def shadows(config: RunConfig, policies: Sequence[Policy]) -> list[Policy]:
    """The shadow versions of these policies, without those in `policies` itself. Raises PolicyError, ConfigError."""
    registry, versions = Registry.of(config), list[Policy]()
    if not registry.exists:
        return versions
    labelled = {policy.ref for policy in policies}
    for name in dict.fromkeys(policy.name for policy in policies):
        if registry.entry(Ref(name, Alias.shadow.value)) is not None:
            version = resolve(f"{name}@{Alias.shadow.value}", config)
            versions += [version] if version.ref not in labelled else []
    return versions


def label_with_shadows(
    spark: SparkSession, config: RunConfig, policies: Sequence[Policy], *, show: bool = True, full: bool = False
) -> RunResult:
    """Label a table; if that completes, label `run.shadow_share` of it under the shadow versions as well."""
    result = label_table(spark, config, policies, show=show, selection=Selection(full=full))
    if result.exit_code:
        return result
    shadow = label_shadows(spark, config, policies, show=show, full=full)
    return result if shadow is None else result.model_copy(update={"shadow": shadow})


def label_shadows(
    spark: SparkSession, config: RunConfig, policies: Sequence[Policy], *, show: bool = True, full: bool = False
) -> RunResult | None:
    """Label `run.shadow_share` of the contents under the shadow versions; None if there is nothing to do."""
    share = config.run.shadow_share
    versions = shadows(config, policies) if share else []
    if not share or not versions:
        return None
    unscreened = config.model_copy(update={"screen": ScreenConfig()})  # a screen is of one version
    return label_table(spark, unscreened, versions, show=show, selection=Selection(share=share, full=full))
