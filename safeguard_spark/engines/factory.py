"""Opens the engine that a configuration names."""

from safeguard_spark.config.engine import AnyEngineConfig, EndpointConfig, ScriptedConfig
from safeguard_spark.engines.timings import AT_DESK, DEFAULT_TIMINGS
from safeguard_spark.labelling.engine import Engine


def open_engine(
    config: AnyEngineConfig, *, run_id: str, window: int, devices: list[str], at_desk: bool = False
) -> Engine:
    """The engine of a configuration. It starts or connects to nothing before its first request.

    `window` is how many requests this caller keeps in flight; `devices` are the GPU addresses Spark gave it. `at_desk`:
    a person waits, and must learn within half a minute that an endpoint answers nothing.
    """
    if isinstance(config, ScriptedConfig):
        from safeguard_spark.engines.scripted import ScriptedEngine

        return ScriptedEngine(config)
    if isinstance(config, EndpointConfig):
        from safeguard_spark.engines.endpoint import EndpointEngine

        return EndpointEngine(config, window, run_id=run_id, timings=AT_DESK if at_desk else DEFAULT_TIMINGS)
    from safeguard_spark.engines.paths import executor_process
    from safeguard_spark.engines.vllm_host import VllmEngine

    return VllmEngine(config, executor_process(), devices, window, run_id)
