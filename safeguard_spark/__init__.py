"""Policy-driven labelling of everything a platform ever stored, on Spark, vLLM and Delta.

    import safeguard_spark as sg

The names in `__all__` are the Python interface (docs/python.md). Every other module is internal and may change in any
release. Importing the package loads none of them: each name loads what it needs when it is first used.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from safeguard_spark.api import (
        build_config,
        dry_run,
        evaluate,
        judge,
        label_table,
        labels_current_sql,
        load_config,
        load_policy,
        open_tables,
        register_sql,
        session,
    )
    from safeguard_spark.config.model import RunConfig
    from safeguard_spark.errors import (
        ConfigError,
        EngineError,
        GateError,
        PolicyError,
        SafeguardError,
        SourceError,
        TableError,
        TrackingError,
    )
    from safeguard_spark.evaluation.result import Evaluation
    from safeguard_spark.labelling.verdict import Outcome, Verdict
    from safeguard_spark.policy.document import Policy
    from safeguard_spark.result import RunResult
    from safeguard_spark.spark.reader import LabelTables

__version__ = "0.2.0"
__all__ = [
    "ConfigError",
    "EngineError",
    "Evaluation",
    "GateError",
    "LabelTables",
    "Outcome",
    "Policy",
    "PolicyError",
    "RunConfig",
    "RunResult",
    "SafeguardError",
    "SourceError",
    "TableError",
    "TrackingError",
    "Verdict",
    "build_config",
    "dry_run",
    "evaluate",
    "judge",
    "label_table",
    "labels_current_sql",
    "load_config",
    "load_policy",
    "open_tables",
    "register_sql",
    "session",
]

if not TYPE_CHECKING:  # type checkers read the imports above; a __getattr__ would make them accept any name

    def __getattr__(name):
        """Load a name of `__all__` when it is first used."""
        from importlib import import_module

        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{_MODULES.get(name, 'api')}"), name)
        globals()[name] = value
        return value

    def __dir__():
        return sorted({*globals(), *__all__})

    _MODULES = {
        **dict.fromkeys((name for name in __all__ if name.endswith("Error")), "errors"),
        "Evaluation": "evaluation.result",
        "LabelTables": "spark.reader",
        "Outcome": "labelling.verdict",
        "Policy": "policy.document",
        "RunConfig": "config.model",
        "RunResult": "result",
        "Verdict": "labelling.verdict",
    }
