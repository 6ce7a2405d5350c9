"""The bench's rows: made-up contents under one policy, each with an answer of a length that follows from its prompt.

Output lengths decide what a batch costs, so every contender must get the same ones. The engine replays them (see
`replay`): a prompt's hash picks a length from a long-tailed distribution, and the answer is reasoning padded to it and
a safe verdict. Same prompts, same output tokens, for every contender.
"""

import json
from array import array
from collections.abc import Sequence
from functools import lru_cache
from itertools import cycle, islice, pairwise
from pathlib import Path
from random import Random
from zlib import crc32

from safeguard_spark.labelling.content import from_text
from safeguard_spark.labelling.prompt import harmony, harmony_encoding
from safeguard_spark.policy.document import Effort, Policy, parse_policy

ROOT = Path(__file__).parents[2]
POLICY = ROOT / "policies/harassment/1.0.0/policy.md"  # 830 tokens with the system message
EFFORT = Effort.low
MAX_TOKENS = 1024
DECIDING = 20  # tokens at a prompt's end that its answer's length follows from

# (share of rows, output tokens): between two points lengths are spread evenly. Mean 65, p99 590.
LENGTHS = ((0.0, 40), (0.5, 43), (0.8, 55), (0.9, 78), (0.95, 140), (0.98, 320), (0.99, 590), (1.0, 640))
HEAD = "<|channel|>analysis<|message|>"
THOUGHT = " The content is read against each rule of the policy in turn, and none of them is met by what it says;"
ANSWER = {"violation": 0, "category": "none", "rule_ids": [], "confidence": "high", "rationale": "no rule applies"}
TAIL = f"<|end|><|start|>assistant<|channel|>final<|message|>{json.dumps(ANSWER, separators=(',', ':'))}<|return|>"
WORDS = """
the a of to and in that it is was for on with as at by from this have they we you not are but what all were when
your can there use each which she do how their if will up other about out many then them these so some her would
make like him into time has look two more write go see number no way could people my than first water been call
who oil its now find long down day did get come made may part garden market river bicycle evening window letter
""".split()  # noqa: SIM905  shorter to read


def policy() -> Policy:
    """The policy that every row is judged by."""
    return parse_policy(POLICY.read_text(encoding="utf-8"))


def contents(count: int, seed: int, copy: int = 0) -> list[str]:
    """`count` texts of about 50 tokens (20 to 200), all different.

    Another `copy` (0 to 9) begins differently and gets the same answers: an engine that has seen one finds no more of
    the other in its cache than the policy.
    """
    random = Random(seed)
    lengths = [min(200, max(20, int(random.lognormvariate(3.75, 0.5)))) for _ in range(count)]
    return [
        f"{copy} {seed} {number} " + " ".join(random.choices(WORDS, k=length)) for number, length in enumerate(lengths)
    ]


def write(path: Path, count: int, seed: int, copy: int = 0) -> Path:
    """A table of contents (id, body) as one Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    bodies = contents(count, seed, copy)
    ids = [f"{seed}-{number}" for number in range(count)]
    pq.write_table(pa.table({"id": ids, "body": bodies}), path)
    return path


def read(path: Path) -> list[str]:
    """The contents of a table."""
    import pyarrow.parquet as pq

    bodies: list[str] = pq.read_table(path, columns=["body"])["body"].to_pylist()
    return bodies


def prompt(body: str, text: str) -> list[int]:
    """The token ids of a content under a policy's body, as the label job sends them."""
    return harmony(body, EFFORT, from_text(text.encode())).token_ids or []


def length(token_ids: Sequence[int]) -> int:
    """Output tokens of a prompt, from its last words."""
    share = crc32(array("I", token_ids[-DECIDING:]).tobytes()) / 2**32
    for (low, shortest), (high, longest) in pairwise(LENGTHS):
        if share < high:
            return round(shortest + (longest - shortest) * (share - low) / (high - low))
    return LENGTHS[-1][1]


def script(token_ids: Sequence[int]) -> list[int]:
    """The output tokens of a prompt, the stop token last."""
    head, thought, tail = _parts()
    filler = length(token_ids) - len(head) - len(tail)
    return [*head, *islice(cycle(thought), max(0, filler)), *tail]


@lru_cache(maxsize=1)
def _parts() -> tuple[list[int], list[int], list[int]]:
    encode = harmony_encoding().encode
    return encode(HEAD, allowed_special="all"), encode(THOUGHT), encode(TAIL, allowed_special="all")
