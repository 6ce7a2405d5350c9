"""A glance: the model is made to answer at once, without reasoning, and says how probable each answer is.

The final channel is opened for it, up to where the answer says whether there is a violation. One token is generated.
"""

from functools import lru_cache

from safeguard_spark.config.engine import Dialect
from safeguard_spark.errors import ConfigError
from safeguard_spark.labelling.contract import FINAL_HEADERS, Contract
from safeguard_spark.labelling.engine import Glance
from safeguard_spark.labelling.prompt import harmony_encoding
from safeguard_spark.labelling.rows import LabelSpec
from safeguard_spark.policy.document import Output


def glance_of(spec: LabelSpec) -> Glance:
    """The glance of a policy. Raises ConfigError if its answers cannot be told apart by one token of harmony."""
    if spec.labeler.dialect is not Dialect.harmony:
        raise ConfigError("A glance needs engine.dialect=harmony: only there can the final channel be opened.")
    glance = glance_tokens(Contract.of(spec.policy).output, Contract.of(spec.policy).binary_answers[:2])
    if glance.safe == glance.violation:
        raise ConfigError(
            f"The answers of {spec.policy.ref} begin with the same token, so a glance cannot tell them apart."
        )
    return glance


@lru_cache(maxsize=64)
def glance_tokens(output: Output, answers: tuple[str, ...]) -> Glance:
    """The tokens of a glance for answers of this form, where these words say safe and violation."""
    encoding = harmony_encoding()
    opening = "" if output is Output.binary else '{"violation": '
    if output is not Output.binary and answers != ("0", "1"):
        opening += '"'
    header = encoding.encode(FINAL_HEADERS[-1], allowed_special="all")
    forced = encoding.encode(opening, disallowed_special=())
    safe, violation = (encoding.encode(word, disallowed_special=())[0] for word in answers)
    return Glance((*header, *forced), safe, violation)
