"""Views: which label of a content counts, as the SQL that Spark and DuckDB read alike."""

from safeguard_spark.schema import LABELS, POLICIES, POLICY_RULES, Table

# Which of a content's labels is the newest: the one with the highest values of these columns, in this order.
NEWEST = ("labelled_at", "attempt", "run_id", "chunk", "work_key")
NEWEST_ACTIVATION = ("activated_at", "run_id")
LABELER_HASH = "coalesce(l.screened_for, l.labeler_hash)"  # of a label `l`: a screen stands in for its labeler
NEWEST_DOCUMENTS = {"policies_current": POLICIES, "policy_rules_current": POLICY_RULES}  # views over tables
COLLECTION = "coalesce(collection, source)"  # of a label or plan: rows of earlier releases have only a source


def select_list(table: Table) -> str:
    """The columns of a table as SQL, each with the value that readers see."""
    values = {"collection": f"{COLLECTION} AS collection"} if table is LABELS else {}
    return ", ".join(values.get(name, name) for name in table.names)


def labels_current(labels: str, activations: str, moment: str | None = None) -> str:
    """The SELECT behind the view `labels_current`, over two table expressions. Spark and DuckDB read it alike.

    The newest label per content and policy under the active version of the policy, by its active labeler or by a screen
    that stands in for it. With `moment`, a timestamp expression, what it was then, less what was erased since.
    """
    labelled_by, activated_by = (
        ("", "") if moment is None else (f" AND labelled_at <= {moment}", f" WHERE activated_at <= {moment}")
    )
    return f"""\
SELECT {", ".join(LABELS.names)} FROM (
  SELECT l.*, row_number() OVER (
    PARTITION BY l.policy, l.collection, l.content_id
    ORDER BY {", ".join(f"l.{column} DESC" for column in NEWEST)}
  ) AS newest
  FROM (SELECT {select_list(LABELS)} FROM {labels} WHERE salt IS NULL{labelled_by}) l
  JOIN (
    SELECT policy, policy_version, policy_hash, labeler_hash, row_number() OVER (
      PARTITION BY policy ORDER BY {", ".join(f"{column} DESC" for column in NEWEST_ACTIVATION)}
    ) AS latest
    FROM {activations}{activated_by}
  ) a ON a.latest = 1 AND a.policy = l.policy AND a.policy_version = l.policy_version
    AND a.policy_hash = l.policy_hash
    AND (a.labeler_hash IS NULL OR a.labeler_hash = {LABELER_HASH})
) WHERE newest = 1"""


def newest_documents(table: Table, rows: str) -> str:
    """The SELECT behind a view of NEWEST_DOCUMENTS, over a table expression: the newest document of each version."""
    return f"""\
SELECT {", ".join(table.names)} FROM (
  SELECT d.*, rank() OVER (
    PARTITION BY policy, policy_version, policy_hash ORDER BY recorded_at DESC, document_hash DESC
  ) AS newest
  FROM {rows} d
) WHERE newest = 1"""
