"""The `engine` section, one model for each kind: a kind has only the keys that it reads."""

import re
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from safeguard_spark.config.fields import FilePath, Positive, Seconds, Section, Word
from safeguard_spark.keys import canonical_json
from safeguard_spark.policy.scalars import EXPONENTS, Whole

VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")  # the name of an environment variable
BATCH = 256  # requests that vLLM's scheduler runs at once, unless `max_num_seqs` is set


class Dialect(StrEnum):
    """How a prompt reaches the model: harmony token ids, or chat messages."""

    harmony = "harmony"
    chat = "chat"


class EngineConfig(Section):
    """What every kind of engine has."""

    kind: str
    """Where answers come from"""
    model: str | None = None
    """The model's name in labels"""
    model_name: str | None = None
    """The model's name in labels; null: `engine.model`. Set it where `engine.model` is a folder: without
    it, another path means another labeler"""
    revision: str | None = None
    """The model's revision. Part of the labeler"""
    dialect: Dialect = Dialect.harmony
    """`harmony`: token ids, for models of the gpt-oss family. `chat`: messages, for any other. Part of the labeler"""
    version_class: str = ""
    """Part of the labeler. Change it when an upgrade of the engine changes answers: everything is then labelled
    again"""
    window: Positive | None = None
    """Requests in flight per engine; null: 1.5 x `engine.args.max_num_seqs`, which counts as 256 if it is not set"""

    @property
    def name(self) -> str:
        """The model's name in labels."""
        return self.model_name or self.model or self.kind

    @property
    def batch(self) -> int:
        """How many requests the engine works on at once."""
        return BATCH

    @property
    def requests_in_flight(self) -> int:
        """Number of requests that all tasks of one executor together keep in flight."""
        return self.window or -(-3 * self.batch // 2)


class HttpConfig(EngineConfig):
    """What every engine behind HTTP has."""

    model: str
    """A model's name, or a folder that is on every executor"""
    deadline_s: Seconds = 300.0
    """For one answer, retries included, while the server answers others; after that the row is `engine_failed`"""
    patience_s: Seconds = 600.0
    """How long a run waits for a server that answers no request: an outage, a rolling update, a rate limit. After that
    it ends, and the rows stay pending. A server that asks for a longer wait ends it at once"""
    retries: Annotated[Whole, Field(ge=0)] = 4
    """How often a lost request is sent again. Waiting for a busy server does not count"""


class EndpointConfig(HttpConfig):
    """A server that already runs."""

    kind: Literal["endpoint"] = "endpoint"
    url: str
    """`http://…`, `https://…` or `unix:/path`, with or without `/v1`"""
    api_key_env: str | None = None
    """Name of the environment variable that holds the key, on driver and executors. The key itself is in no
    configuration"""

    @field_validator("url")
    @classmethod
    def _address(cls, url: str) -> str:
        if not url.startswith(("http://", "https://", "unix:")):
            # Not repeated: it may have a password.
            raise ValueError("engine.url must begin with http://, https:// or unix:, for example http://localhost:8000")
        return url

    @field_validator("api_key_env", mode="before")
    @classmethod
    def _variable_name(cls, value: Any) -> Any:
        if value and not (isinstance(value, str) and VARIABLE.fullmatch(value)):
            raise ValueError(
                "engine.api_key_env must be the name of an environment variable, such as MY_KEY, and is not. It is not "
                "repeated here, because it may be the key: put the key into a variable, and name that variable"
            )
        return value


class VllmConfig(HttpConfig):
    """A vLLM server on every executor. `args` goes to it unchanged."""

    kind: Literal["vllm"] = "vllm"
    python: FilePath | None = None
    """The interpreter that has vLLM; null: the one of Spark's Python workers"""
    command: tuple[Word, ...] = ()
    """Another program in place of `python -m vllm.entrypoints.openai.api_server`, with its first arguments: a wrapper,
    or a server that takes vLLM's command line. It must stay in the foreground"""
    start_deadline_s: Seconds = 900.0
    """Time for the server to be ready, model loading included"""
    restarts: Annotated[Whole, Field(ge=0)] = 2
    """How often a server that is dead, hangs or failed to start is started again, per executor and run"""
    idle_s: Annotated[
        float, Field(strict=True, ge=60, allow_inf_nan=False, json_schema_extra={"format": "seconds"}), EXPONENTS
    ] = 900.0
    """A server that is unused for this long ends. At least 60: a task that waits for a reply of its server may not
    report for most of a minute that it uses it"""
    niceness: Annotated[Whole, Field(ge=0, le=19)] = 0
    """Nice value of the server's HTTP process and of the Python workers of label tasks, once the server is healthy; 19
    where the model computes on the same cores, 0 on a GPU. A server that such a worker restarts has it as a whole"""
    work_dir: FilePath | None = None
    """Folder for sockets and logs, on each executor; null: the system's temporary folder"""
    env: dict[str, Word] = Field(default_factory=dict)
    """Environment of the server, for example `VLLM_CPU_KVCACHE_SPACE`. `--set engine.env.NAME=value`"""
    args: dict[str, Any] = Field(default_factory=dict)
    """Arguments of the server, passed on unchanged, with underscores: `max_num_seqs`, `max_model_len`,
    `gpu_memory_utilization`, `tensor_parallel_size`, … On a CPU without AVX-512 `dtype` is `float32` unless set here. A
    wrong one fails with vLLM's own message; arguments that would open the server to others, rename the model, run a
    model's code or log content are refused. `--set engine.args.NAME=value`"""

    @property
    def batch(self) -> int:
        """How many requests the server's scheduler runs at once."""
        return int(self.args.get("max_num_seqs") or BATCH)

    @property
    def num_gpus(self) -> int:
        """Over how many GPUs one server spreads the model."""
        return int(self.args.get("tensor_parallel_size") or 1) * int(self.args.get("pipeline_parallel_size") or 1)

    def as_endpoint(self, url: str) -> EndpointConfig:
        """The configuration of a client of this server, which listens at `url`."""
        shared = {name: getattr(self, name) for name in HttpConfig.model_fields if name != "kind"}
        return EndpointConfig(url=url, **shared)

    @field_validator("args")
    @classmethod
    def _plain(cls, args: dict[str, Any]) -> dict[str, Any]:
        try:
            canonical_json(args).encode()
        except (TypeError, ValueError) as error:
            raise ValueError("engine.args takes texts, numbers, true, false, null, lists and mappings") from error
        for name in ("max_num_seqs", "tensor_parallel_size", "pipeline_parallel_size"):
            number = args.get(name)
            if number is not None and (not isinstance(number, int) or number < 1):
                raise ValueError(f"engine.args.{name} must be a whole number from 1")
        return args


class Script(Section):
    """What the scripted engine does. Words in the content decide the answer."""

    words: dict[str, str] = Field(default_factory=dict)
    """Word to rule id: content with the word violates the rule, if the policy has the rule"""
    misbehave: dict[str, Literal["refuse", "garbage", "truncate", "fail"]] = Field(default_factory=dict)
    """Word to `refuse`, `garbage`, `truncate` or `fail`"""
    latency_s: Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False), EXPONENTS] = 0.0
    """Seconds per call"""
    noise: Annotated[float, Field(strict=True, ge=0, le=1), EXPONENTS] = 0.0
    """Share of contents with another verdict; which ones depends on labeler and policy"""
    calls_file: FilePath | None = None
    """A file to which each call of any process appends one byte"""


class ScriptedConfig(EngineConfig):
    """A script instead of a model, for tests and trial runs."""

    kind: Literal["scripted"] = "scripted"
    args: Script = Script()


KINDS: dict[str, type[EngineConfig]] = {"scripted": ScriptedConfig, "endpoint": EndpointConfig, "vllm": VllmConfig}
DEFAULT_KIND = "vllm"


def _with_kind(values: Any) -> Any:
    return {"kind": DEFAULT_KIND, **(values or {})} if values is None or isinstance(values, dict) else values


AnyEngineConfig = Annotated[
    ScriptedConfig | EndpointConfig | VllmConfig, Field(discriminator="kind"), BeforeValidator(_with_kind)
]
