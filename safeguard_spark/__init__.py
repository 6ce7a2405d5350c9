"""Policy-driven labelling of everything a platform ever stored, on Spark, vLLM and Delta."""

__version__ = "0.1.0"
