"""The rows of `policies` and `policy_rules`: what the policies were that labels were made under."""

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from pyspark.sql import Row
from pyspark.sql import functions as F

from safeguard_spark import schema
from safeguard_spark.config.model import RunConfig
from safeguard_spark.errors import SafeguardError
from safeguard_spark.policy.document import Policy
from safeguard_spark.spark.tables import Tables
from safeguard_spark.tracking.registry import Entry, published_entry

log = logging.getLogger(__name__)


def record_policies(tables: Tables, policies: Iterable[Policy], config: RunConfig, run_id: str) -> dict[str, bool]:
    """Append the rows of the documents that the tables do not have yet. Raises TableError.

    A document is recorded again once the registry says who published it. Several drivers that record one document at
    the same time append it once. Returns, by document hash, whether its publication is recorded.
    """
    policies = tuple(policies)
    recorded = tables.read(schema.POLICIES).where(F.col("policy").isin([policy.name for policy in policies]))
    rows = recorded.select(*_KEY, "document_hash", "published_by", "published_at", "recorded_at").collect()
    is_published = dict[str, bool]()
    for policy in policies:
        of_version = [row for row in rows if tuple(row[name] for name in _KEY) == _key(policy)]
        newest = max(of_version, key=lambda row: row["recorded_at"], default=None)
        is_published[policy.document_hash] = _record(tables, policy, newest, len(of_version), config, run_id)
    return is_published


def is_recorded(policy: Policy, config: RunConfig, recorded: Mapping[str, bool]) -> bool:
    """Whether the run that recorded these documents left nothing to record of a policy. Reads no table."""
    is_published = recorded.get(policy.document_hash)
    return is_published or (is_published is not None and not _names_publication(_publication(policy, config)))


_KEY = ("policy", "policy_version", "policy_hash")


def _key(policy: Policy) -> tuple[str, str, str]:
    return policy.name, policy.version, policy.policy_hash


def _record(
    tables: Tables, policy: Policy, newest: Row | None, num_recorded: int, config: RunConfig, run_id: str
) -> bool:
    """Append a policy's rows if its newest row, or None, has another document or lacks its publication.

    Returns whether its publication is recorded.
    """
    has_document = newest is not None and newest["document_hash"] == policy.document_hash
    if has_document and newest is not None and (newest["published_at"] or newest["published_by"]):
        return True
    entry = _publication(policy, config)
    is_published = _names_publication(entry)
    if has_document and not is_published:
        return False
    common = dict(zip(_KEY, _key(policy), strict=True)) | {
        "document_hash": policy.document_hash, "recorded_at": tables.now(), "run_id": run_id,
    }  # fmt: skip
    app_id = f"{policy.ref}/{policy.policy_hash}/{policy.document_hash}/{num_recorded}"
    # The rules first: a driver that dies after them appends them again under the same id, which Delta then skips.
    if not has_document and policy.rules:
        tables.append(schema.POLICY_RULES, [common | rule for rule in _rules(policy)], app_id)
    tables.append(schema.POLICIES, [common | _document(policy, entry)], app_id)
    return is_published


def _names_publication(entry: Entry | None) -> bool:
    return entry is not None and bool(entry.published_at or entry.tags.get("published_by"))


def _publication(policy: Policy, config: RunConfig) -> Entry | None:
    try:
        return published_entry(policy, config)
    except SafeguardError as error:  # the labels do not depend on it, and the next run asks again
        log.info("Who published %s is not recorded: %s", policy.ref, error)
        return None


def _document(policy: Policy, entry: Entry | None) -> dict[str, Any]:
    return {
        "owner": policy.owner or None,
        "output": policy.output.value,
        "languages": list(policy.languages),
        "published_by": entry and entry.tags.get("published_by"),
        "published_at": entry and entry.published_at,
        "description": policy.description or None,
        "text": policy.body,
    }


def _rules(policy: Policy) -> list[dict[str, Any]]:
    return [
        {
            "rule_id": rule.id,
            "rank": rank,
            "category": rule.category,
            "severity": rule.severity.value,
            "title": rule.title or None,
        }
        for rank, rule in enumerate(policy.rules, 1)
    ]
