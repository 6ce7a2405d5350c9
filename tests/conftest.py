"""What every tier of tests shares: golden files with a flag to rewrite them, and property tests without a deadline."""

from collections.abc import Callable
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parent / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rewrite-golden", action="store_true", help="write what tests print into tests/golden/")


def pytest_configure() -> None:
    from hypothesis import settings

    # A shared machine is slow at times, and that is no failure.
    settings.register_profile("project", deadline=None)
    settings.load_profile("project")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare a text with tests/golden/NAME, or write it there with --rewrite-golden."""
    rewrite = bool(request.config.getoption("--rewrite-golden"))

    def compare(name: str, text: str) -> None:
        file = GOLDEN / name
        if rewrite:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        assert file.is_file(), f"{file} does not exist; run pytest --rewrite-golden and look at what it wrote"
        assert text == file.read_text(encoding="utf-8")

    return compare
