"""The hashes of `labelling.content` and `keys`, computed in the JVM over raw bytes."""

from pyspark.sql import Column
from pyspark.sql import functions as F


def text_hash(text: Column) -> Column:
    """`content.text_hash` in the JVM."""
    return F.sha2(F.concat(_netstring(F.lit(b"text")), _netstring(text)), 256)


def json_hash(text: Column) -> Column:
    """`content.json_hash` in the JVM."""
    return F.sha2(F.concat(_netstring(F.lit(b"json")), _netstring(text)), 256)


def turns_hash(turns: Column) -> Column:
    """`content.turns_hash` in the JVM."""
    # Strings here carry the cells' bytes as they are; array_join does not look inside.
    cells = F.transform(turns, lambda turn: F.concat(_netstring(turn["role"]), _netstring(turn["text"])).cast("string"))
    joined = F.coalesce(F.array_join(cells, "").cast("binary"), _netstring(F.lit(None).cast("binary")))
    return F.sha2(F.concat(_netstring(F.lit(b"conversation")), joined), 256)


def work_key(policy_hash: str, labeler_hash: str | Column) -> Column:
    """`keys.work_key` in the JVM: canonical JSON of three hex strings needs no escaping."""
    labeler = F.lit(labeler_hash) if isinstance(labeler_hash, str) else labeler_hash
    text = F.concat(F.lit('["'), F.col("content_hash"), F.lit(f'","{policy_hash}","'), labeler, F.lit('"]'))
    return F.sha2(text.cast("binary"), 256)


def _netstring(cell: Column) -> Column:
    framed = F.concat(F.octet_length(cell).cast("string").cast("binary"), F.lit(b":"), cell.cast("binary"), F.lit(b","))
    return F.coalesce(framed, F.lit(b"-,"))
