"""Report of a comparison: what is beside the figures, the page, and the MLflow run that keeps all of it."""

import json
from collections.abc import Mapping
from typing import Any

from safeguard_spark.config.model import RunConfig
from safeguard_spark.evaluation.comparison.html import Shown, comparison_page
from safeguard_spark.evaluation.comparison.text import comparison_json, comparison_metrics, comparison_text, percent
from safeguard_spark.spark.relabel.gold import GoldMeasures
from safeguard_spark.spark.relabel.version_pairs import Compared
from safeguard_spark.tracking.runs import log_finished_run


def compared_extras(found: Compared, contents: Mapping[str, str]) -> str:
    """Gold measures and examples, for people."""
    lines = [_gold(measured) for measured in found.gold]
    if found.examples:
        lines.append("Examples (content ids):")
    for example in found.examples:
        said = f"  {example.content_id}: {example.old} -> {example.new}"
        text = contents.get(example.content_id)
        lines.append(said if text is None else f"{said}: {' '.join(text.split())[:200]}")
    return "\n".join([*lines, ""]) if lines else ""


def _gold(measured: GoldMeasures) -> str:
    precision, recall = percent(measured.precision), percent(measured.recall)
    return f"{measured.ref} against {measured.contents:,} human decisions: precision {precision}, recall {recall}"


def compared_page(found: Compared, contents: Mapping[str, str]) -> str:
    """The HTML page."""
    shown = [Shown(*example, contents.get(example.content_id)) for example in found.examples]
    return comparison_page(found.comparison, found.coverage, shown, [_gold(measured) for measured in found.gold])


def compared_json(found: Compared) -> dict[str, Any]:
    """The object `--json` prints."""
    return {
        **comparison_json(found.comparison),
        "plan_id": found.plan_id,
        "coverage": found.coverage,
        "unfinished": None if found.unfinished is None else found.unfinished._asdict(),
        "gold": [measured.to_json() for measured in found.gold],
        "examples": [example._asdict() for example in found.examples],
    }


def track_comparison(config: RunConfig, found: Compared) -> str | None:
    """Keep the comparison as an MLflow run; its id, or None. Content is never logged."""
    if not config.tracking.enabled:
        return None
    texts = {
        "comparison.txt": comparison_text(found.comparison, found.coverage),
        "comparison.html": compared_page(found, {}),
        "comparison.json": json.dumps(compared_json(found), ensure_ascii=False, indent=1),
    }
    one = found.comparison
    params = {"old": one.old, "new": one.new, "plan_id": found.plan_id, "standing": one.standing.value}
    name = f"compare {one.old} {one.new}"
    return log_finished_run(config, name, params, comparison_metrics(one), texts)
