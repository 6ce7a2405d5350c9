"""The packages that an installation may lack, and the extra of this package that brings each."""

from importlib.util import find_spec

from safeguard_spark.errors import ConfigError

EXTRA_OF = {
    "pyspark": "spark",
    "delta": "spark",
    "pandas": "cluster",
    "pyarrow": "cluster",
    "scipy": "cluster",
    "sklearn": "cluster",
    "skops": "cluster",
    "deltalake": "review",
    "jinja2": "review",
    "starlette": "review",
    "uvicorn": "review",
    "mlflow": "tracking",
    "sqlalchemy": "tracking",  # a platform's MLflow may lack it (mlflow-skinny)
}


def require(*modules: str) -> None:
    """Raise ConfigError if one of these modules is not installed. Imports none of them."""
    for module in modules:
        if not is_installed(module):
            extra = EXTRA_OF[module]
            if extra == "cluster" and not is_installed("pyspark"):
                extra = "spark"  # which brings both; where a platform has its own Spark, that must not be replaced
            raise ConfigError(
                f"This needs {module}, which is not installed in this Python: pip install 'safeguard-spark[{extra}]', "
                f"or '.[{extra}]' in a checkout."
            )


def is_installed(module: str) -> bool:
    """Whether a top-level module can be imported here."""
    try:
        return find_spec(module) is not None
    except ValueError:  # a module that was made by hand has no spec, and is imported already
        return True
