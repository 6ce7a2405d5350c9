"""A world for each test of the console."""

from pathlib import Path

import pytest

from tests.unit.review.world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Tables without rows, a policy, and a clock."""
    return World(tmp_path)
