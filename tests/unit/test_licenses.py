"""The list of licenses is that of the locked packages, and an unknown license is refused."""

from importlib.metadata import Distribution
from pathlib import Path

import pytest

from tools import licenses, rooms

pytestmark = pytest.mark.unit


def test_the_page_lists_every_package_of_the_lock_that_is_installed() -> None:
    names = licenses.locked((rooms.ROOT / licenses.LOCK).read_text(encoding="utf-8"))
    page = licenses.table(names)
    assert page == (rooms.ROOT / licenses.PAGE).read_text(encoding="utf-8"), "run python -m tools.licenses"
    assert page.count("\n| ") > 0.9 * len(names)


@pytest.mark.parametrize(
    ("fields", "license", "allowed"),
    [
        ("License-Expression: GPL-3.0-or-later", "", False),
        ("License-Expression: MIT AND AGPL-3.0-only", "", False),
        ("Classifier: License :: OSI Approved :: ISC License (ISCL)", "ISC License (ISCL)", True),
        ("License: Apache-2.0 OR MIT\nClassifier: License :: Free for non-commercial use", "Apache-2.0 OR MIT", True),
        ("License: see the file", "", False),
        ("License: BSD-derived (http://example.org/LICENSE.txt)", "BSD-derived", True),
    ],
)
def test_a_license_is_read_from_the_metadata(tmp_path: Path, fields: str, license: str, allowed: bool) -> None:
    (tmp_path / "METADATA").write_text(f"Metadata-Version: 2.4\nName: some-package\nVersion: 1\n{fields}\n")
    found = licenses.license_of(Distribution.at(tmp_path))
    assert (found, bool(found) and licenses.is_allowed(found)) == (license, allowed)
