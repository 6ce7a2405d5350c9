"""Encodings: what is not UTF-8 text is refused by name, wherever it is read."""

from pathlib import Path

import pytest

from tests.unit.commands import Safeguard
from tests.unit.samples import CASES, POLICY, write_policy

pytestmark = pytest.mark.unit
PACK = "# Spam\n\nAnswer 1 or 0.\n\n## Offers (SP1)\nOffers.\n"


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le"])
def test_text_in_two_or_four_bytes_is_refused_by_every_command(safeguard: Safeguard, encoding: str) -> None:
    Path("spam.txt").write_bytes(PACK.encode(encoding))
    Path("pack.md").write_text(PACK)
    Path("golden.csv").write_bytes(b"text,label\nGood,0\n".decode().encode(encoding))
    for argv in (("import", "spam.txt"), ("import", "pack.md", "--golden", "golden.csv")):
        ran = safeguard(*argv)
        assert (ran.code, "is not UTF-8 text (" in ran.err, Path("policies").exists()) == (3, True, False)


@pytest.mark.parametrize("name", ["policy.md", "cases.yaml"])
def test_a_nul_character_is_shown_where_it_is(safeguard: Safeguard, name: str) -> None:
    file = write_policy(Path("policies")).with_name(name)
    text = POLICY if name == "policy.md" else CASES
    file.write_text(f"{text}\n\0")
    checked = safeguard("check")
    line = text.count("\n") + 2
    assert checked.code == 3 and f"{name}:{line}:1: error[unreadable]: not UTF-8 text (NUL character" in checked.out
