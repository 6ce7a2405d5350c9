"""The linear screen: it learns, it is stored without code, and a text's score does not depend on its neighbors."""

import io
import pickle
import zipfile

import numpy as np
import pytest

from safeguard_spark.errors import GateError, TableError
from safeguard_spark.labelling.content import Content, Turn
from safeguard_spark.screen.linear import LinearScreen

pytestmark = pytest.mark.unit

GOODS = ["teapot", "lamp", "chair", "bicycle", "novel", "carpet", "guitar", "mirror"]
BAD = ["replica rolex", "fake passport", "copied handbag", "counterfeit notes"]


def posts(seed: int, count: int) -> tuple[list[Content], list[bool]]:
    random = np.random.default_rng(seed)
    violations = random.random(count) < 0.3
    words = [str(random.choice(BAD if violation else GOODS)) for violation in violations]
    texts = [f"For sale: {word}, {random.integers(5, 500)} euros" for word in words]
    return [Content(text) for text in texts], violations.tolist()


@pytest.fixture(scope="module")
def screen() -> LinearScreen:
    return LinearScreen.train(*posts(0, 300))


def test_violations_score_higher(screen: LinearScreen) -> None:
    texts, violations = posts(1, 200)
    scores = screen.scores(texts)
    assert scores[np.array(violations)].min() > scores[~np.array(violations)].max()


def test_a_score_is_the_same_alone_among_others_and_after_storing(screen: LinearScreen) -> None:
    texts, _ = posts(2, 50)
    together = screen.scores(texts)
    assert together.tolist() == [float(screen.scores([text])[0]) for text in texts]
    stored = screen.dumps()
    assert LinearScreen.loads(stored).scores(texts).tolist() == together.tolist()
    assert len(stored) < 8_000_000 and b"passport" not in stored


@pytest.mark.parametrize(
    "text", ["", " ", "\x00", "\ud800".encode("utf-8", "replace").decode(), "👩‍👧" * 1_000, "a" * 200_000]
)
def test_any_text_has_a_finite_score(screen: LinearScreen, text: str) -> None:
    assert np.isfinite(screen.scores([Content(text)])).all()


def test_a_conversation_is_scored_by_all_its_turns(screen: LinearScreen) -> None:
    turns = (Turn("user", "For sale: lamp"), Turn("user", "or a replica rolex"), Turn(None, None))
    with_bad, without = screen.scores([Content(turns=turns), Content(turns=turns[:1])])
    assert with_bad > without


def test_no_texts_have_no_scores(screen: LinearScreen) -> None:
    assert screen.scores([]).shape == (0,)


@pytest.mark.parametrize("violation", [True, False])
def test_labels_that_are_all_alike_teach_nothing(violation: bool) -> None:
    which = "each" if violation else "none"
    with pytest.raises(GateError, match=f"{which} of the 2 labels to learn from is a violation"):
        LinearScreen.train([Content("a"), Content("b")], [violation, violation])


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("this code must not run",)


def archive(name: str, content: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as written:
        written.writestr(name, content)
    return file.getvalue()


@pytest.mark.parametrize(
    "data",
    [b"", b"nonsense", pickle.dumps(Evil()), archive("other", "{}"), archive("schema.json", "{"),
     archive("schema.json", '{"__class__": "system", "__module__": "os", "__loader__": "TypeNode", "content": {}}')],
    ids=["empty", "nonsense", "a pickle", "another archive", "broken", "other code"],
)  # fmt: skip
def test_what_is_no_stored_screen_is_refused_and_runs_nothing(data: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(TableError, match="cannot be read"):
        LinearScreen.loads(data)
    assert not capsys.readouterr().out
