"""What the tests of packages and deployment files share."""

from pathlib import Path

import pytest

from safeguard_spark import __version__
from tests.deploy.environments import checkout, environment, run


@pytest.fixture(scope="session")
def cache(pytestconfig: pytest.Config) -> Path:
    return pytestconfig.cache.mkdir("deploy")


@pytest.fixture(scope="session")
def wheel(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, which `python -m build` makes of the sdist that it makes of a checkout."""
    source = checkout(tmp_path_factory.mktemp("checkout"))
    run(str(environment(cache, "build", "setuptools>=77") / "python"), "-m", "build", "--no-isolation", folder=source)
    names = sorted(file.name for file in (source / "dist").iterdir())
    assert names == [f"safeguard_spark-{__version__}-py3-none-any.whl", f"safeguard_spark-{__version__}.tar.gz"]
    return source / "dist" / names[0]
