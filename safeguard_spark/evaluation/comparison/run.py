"""The MLflow run of a comparison."""

import json

from safeguard_spark.config.model import RunConfig
from safeguard_spark.evaluation.comparison.html import comparison_page
from safeguard_spark.evaluation.comparison.report import (
    ComparisonReport,
    comparison_metrics,
    comparison_text,
    labelers_text,
    report_json,
)
from safeguard_spark.tracking.runs import log_finished_run


def log_comparison(config: RunConfig, report: ComparisonReport) -> str | None:
    """Log the comparison as an MLflow run; returns its id, or None without tracking. Content is never logged."""
    if not config.tracking.enabled:
        return None
    comparison = report.comparison
    artifacts = {
        "comparison.txt": comparison_text(comparison, report.coverage),
        "comparison.html": comparison_page(report.without_texts()),
        "comparison.json": json.dumps(report_json(report), ensure_ascii=False, indent=1),
    }
    params = {
        "old": comparison.old,
        "new": comparison.new,
        "labelers": labelers_text(comparison),
        "plan_id": report.plan_id,
        "standing": comparison.significance.value,
    }
    metrics = comparison_metrics(comparison)
    return log_finished_run(config, f"compare {comparison.old} {comparison.new}", params, metrics, artifacts)
