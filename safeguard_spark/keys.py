"""Identity: SHA-256 over canonical JSON, lower-case hex."""

import hashlib
import json
from typing import Any


def canonical_json(value: Any) -> str:
    """JSON of `value` with sorted keys, no spaces and no ASCII escapes: equal values give equal texts."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def sha256(value: Any) -> str:
    """Lower-case hex SHA-256 of the canonical JSON of `value`."""
    return hashlib.sha256(canonical_json(value).encode("utf-8")).hexdigest()


def work_key(content_hash: str, policy_hash: str, labeler_hash: str) -> str:
    """The identity of one model call. `spark.tables.work_key` computes the same on the JVM."""
    return sha256([content_hash, policy_hash, labeler_hash])
