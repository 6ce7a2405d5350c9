"""Report of a comparison: what is beside the figures, the page, and the MLflow run that keeps all of it."""

import json
import logging
from collections.abc import Mapping
from typing import Any

from safeguard_spark.config import RunConfig
from safeguard_spark.evaluation.comparison import html as compare_html
from safeguard_spark.evaluation.comparison import text as compare_output
from safeguard_spark.evaluation.comparison.html import Shown
from safeguard_spark.spark.relabel.gold import GoldMeasures
from safeguard_spark.spark.relabel.version_pairs import Compared
from safeguard_spark.tracking import runs as tracking

log = logging.getLogger(__name__)


def extras(found: Compared, contents: Mapping[str, str]) -> str:
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
    precision, recall = compare_output.percent(measured.precision), compare_output.percent(measured.recall)
    return f"{measured.ref} against {measured.contents:,} human decisions: precision {precision}, recall {recall}"


def report(found: Compared, contents: Mapping[str, str]) -> str:
    """The HTML page."""
    shown = [Shown(*example, contents.get(example.content_id)) for example in found.examples]
    return compare_html.page(found.comparison, found.coverage, shown, [_gold(measured) for measured in found.gold])


def as_dict(found: Compared) -> dict[str, Any]:
    """The object `--json` prints."""
    return {
        **compare_output.as_dict(found.comparison),
        "plan_id": found.plan_id,
        "coverage": found.coverage,
        "unfinished": None if found.unfinished is None else found.unfinished._asdict(),
        "gold": [measured.to_json() for measured in found.gold],
        "examples": [example._asdict() for example in found.examples],
    }


def track(config: RunConfig, found: Compared) -> str | None:
    """Keep the comparison as an MLflow run; its id, or None. Content is never logged."""
    if not config.tracking.enabled:
        return None
    texts = {
        "comparison.txt": compare_output.as_text(found.comparison, found.coverage),
        "comparison.html": report(found, {}),
        "comparison.json": json.dumps(as_dict(found), ensure_ascii=False, indent=1),
    }
    one = found.comparison
    params = {"old": one.old, "new": one.new, "plan_id": found.plan_id, "standing": one.standing.value}
    name = f"compare {one.old} {one.new}"
    return tracking.keep(config, name, params, compare_output.metrics(one), texts)
