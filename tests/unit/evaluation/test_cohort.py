"""Two evaluations share a cohort or the difference is said in words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeguard_spark.errors import ConfigError
from safeguard_spark.evaluation.cohort import Cohort, differences
from safeguard_spark.evaluation.measures import Measure, Unreadable
from safeguard_spark.evaluation.sets import SetManifest

pytestmark = pytest.mark.unit

MANIFEST = SetManifest.model_validate({
    "name": "shouts", "version": "1", "licence": "MIT", "may_redistribute": True, "location": "./shouts.csv",
    "id_column": "_row", "text_column": "text", "mapping": {"hate": "H", "spam": "S"}, "split": "test",
})  # fmt: skip

words = st.sampled_from([None, "a", "b"])
cohorts = st.builds(
    Cohort, set=st.sampled_from(["x@1", "x@2"]), sha256=words, split=words, filter=words,
    mapping=st.dictionaries(st.sampled_from(["hate", "spam"]), st.sampled_from(["H", "S"])),
    metric=st.sampled_from(["*", "recall"]), unreadable=st.sampled_from(Unreadable),
)  # fmt: skip


def test_a_cohort_is_about_the_policies_that_are_measured() -> None:
    cohort = Cohort.of(MANIFEST, ["hate"])
    assert cohort.mapping == {"hate": "H"} and cohort.metric == "*" and cohort.unreadable is Unreadable.wrong
    assert differences(cohort, Cohort.of(MANIFEST, ["hate"])) == []
    with pytest.raises(ConfigError, match=r"The set shouts@1 has no answers for policy hat\. Did you mean hate\?"):
        Cohort.of(MANIFEST, ["hat"])
    with pytest.raises(ConfigError, match=r"has no answers for policy zebra\. It has answers for hate, spam\."):
        Cohort.of(MANIFEST, ["zebra"])


def test_differences_are_said_in_words() -> None:
    changed = {"version": "2", "split": None, "filter": "n > 1", "sha256": "0" * 64, "mapping": {"hate": "H2"}}
    other = SetManifest.model_validate({**MANIFEST.model_dump(), **changed})
    one = Cohort.of(MANIFEST, ["hate", "spam"], Measure.f1)
    assert differences(one, Cohort.of(other, ["hate"], Measure.recall, Unreadable.left_out)) == [
        "the set: shouts@1 and shouts@2",
        f"the data's SHA-256: not checked and {'0' * 64}",
        "the split: test and none",
        "the filter: none and n > 1",
        "the metric: f1 and recall",
        "unreadable answers: wrong and left_out",
        "the answers for hate: H and H2",
        "the answers for spam: S and not measured",
    ]


@given(cohorts, cohorts)
def test_cohorts_have_one_hash_exactly_if_nothing_differs(one: Cohort, other: Cohort) -> None:
    assert (one.cohort_hash == other.cohort_hash) == (differences(one, other) == []) == (one == other)
    assert len(differences(one, other)) == len(differences(other, one))
