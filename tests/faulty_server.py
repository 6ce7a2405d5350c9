"""A real HTTP server that answers as an engine does, and misbehaves on demand.

In a test, in a thread of its own, over TCP or a Unix socket:

    with FaultyServer(in_turn(status(500), closed(), then=ANSWER)) as server:
        engine = EndpointEngine(config(url=server.url), window=8)
        ...
        assert len(server.calls) == 3

What it does is decided per call by a function of the call, so a script may follow the content, the path or the number
of the call. `lacks` are paths it does not know, `rejects` fields it answers with 400, `model` the one name it serves.

As a process, in the place of vLLM's server (`engine.python` naming a script that runs this file): it takes vLLM's
command line, listens on `--uds`, starts a child that stands for the engine core, ends when that one does, and
does what `engine.env.MISBEHAVE` says: `die_at_start`, `out_of_memory`, `never_ready`, `hang` (answers nothing, is
healthy), or nothing.
"""

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

from aiohttp import web

from safeguard_spark.config.model import Dialect, EngineConfig, EngineKind
from safeguard_spark.engines.endpoint import EndpointEngine
from safeguard_spark.labelling import prompt
from safeguard_spark.labelling.content import from_text
from safeguard_spark.labelling.contract import Contract
from safeguard_spark.labelling.engine import Answer, CallSpec, Request
from safeguard_spark.labelling.labeler import Labeler
from safeguard_spark.policy.document import Effort, Output

SAFE = {"violation": 0, "category": "none", "rule_ids": [], "confidence": "high", "rationale": ""}


class Call(NamedTuple):
    """One request the server got. `number` counts from 0; `text` is the prompt in words."""

    number: int
    path: str
    body: dict[str, Any]
    text: str
    authorization: str | None
    at: float


@dataclass(frozen=True)
class Behavior:
    """What the server does with a call: after `delay_s`, `what`."""

    what: str = "answer"  # answer, status, hang, close, cut, raw
    code: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes = b""
    delay_s: float = 0.0


ANSWER = Behavior()
HANG = Behavior("hang")


def status(code: int, retry_after: str | None = None, raw: bytes = b'{"error":"secret content"}') -> Behavior:
    """An error, with a body that must never be passed on."""
    return Behavior("status", code, {"Retry-After": retry_after} if retry_after is not None else {}, raw)


def closed() -> Behavior:
    """Close the connection without a word."""
    return Behavior("close")


def cut() -> Behavior:
    """Close the connection in the middle of an answer."""
    return Behavior("cut")


def garbage(raw: bytes = b"<html>not what you asked for") -> Behavior:
    """Status 200 and something else than an answer."""
    return Behavior("raw", raw=raw)


def slow(delay_s: float) -> Behavior:
    """An answer that takes its time."""
    return Behavior(delay_s=delay_s)


def in_turn(*behaviors: Behavior, then: Behavior = ANSWER) -> Callable[[Call], Behavior]:
    """Deeds by the number of the call, and one for all that follow."""
    return lambda call: behaviors[call.number] if call.number < len(behaviors) else then


def always(behavior: Behavior) -> Callable[[Call], Behavior]:
    """The same for every call."""
    return lambda call: behavior


def row_of(text: str) -> int:
    """The number in a content like `row 7`; -1 if there is none."""
    found = re.search(r"row (\d+)", text)
    return int(found[1]) if found else -1


def said_of(call: Call) -> str:
    """The answer's text: nothing is violated, and the rationale tells which row was asked about."""
    return json.dumps({**SAFE, "rationale": f"row {row_of(call.text)}"})


class FaultyServer:
    """The server in a thread. `url` is where it is; `calls` what it was asked."""

    def __init__(
        self,
        script: Callable[[Call], Behavior] = always(ANSWER),
        *,
        unix: str | None = None,
        lacks: Iterable[str] = (),
        rejects: Iterable[str] = (),
        model: str | None = None,
        said: Callable[[Call], str] = said_of,
    ) -> None:
        self.script, self.said = script, said
        self.unix, self.lacks, self.rejects, self.model = unix, frozenset(lacks), frozenset(rejects), model
        self.calls: list[Call] = []
        self.open = self.most_open = self.answered = 0
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._runner: web.AppRunner | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._serve(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def _run(self) -> None:
        self._loop.run_forever()
        self._loop.run_until_complete(self._give_up())
        self._loop.close()

    def stop(self) -> None:
        """Close the socket and every connection: from now on connections are refused."""
        runner, self._runner = self._runner, None
        if runner:
            asyncio.run_coroutine_threadsafe(runner.cleanup(), self._loop).result(10)

    def again(self) -> None:
        """Serve at the same place once more after `stop`."""
        asyncio.run_coroutine_threadsafe(self._serve(), self._loop).result(10)

    def count(self, row: int) -> int:
        """How often a row was asked about."""
        return sum(1 for call in self.calls if row_of(call.text) == row)

    async def _give_up(self) -> None:
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _serve(self) -> None:
        app = web.Application(client_max_size=64 << 20)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site: web.BaseSite
        if self.unix:
            site, self.url = web.UnixSite(self._runner, self.unix), f"unix:{self.unix}"
        else:
            port = int(self.url.rpartition(":")[2] or 0) if self.url else 0
            site = web.TCPSite(self._runner, "127.0.0.1", port, reuse_address=True)
        await site.start()
        if not self.unix:
            self.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"  # type: ignore[union-attr,attr-defined]

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/health":
            return web.Response()
        if request.path == "/metrics":
            return web.Response(text=f'vllm:generation_tokens_total{{engine="0"}} {9.0 * self.answered}\n')
        if request.path in self.lacks or request.method != "POST":
            return web.json_response({"detail": "Not Found"}, status=404)
        body = await request.json()
        fields = {*body, *body.get("sampling_params", {})}
        call = Call(
            len(self.calls), request.path, body, _text(body), request.headers.get("Authorization"), time.monotonic()
        )
        self.calls.append(call)
        if fields & self.rejects:
            return web.json_response({"error": {"message": f"unknown field near {call.text}"}}, status=400)
        if self.model not in (None, body.get("model")):
            return web.json_response({"error": {"message": "The model does not exist."}}, status=404)
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            return await self._do(self.script(call), call, request)
        finally:
            self.open -= 1

    async def _do(self, behavior: Behavior, call: Call, request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(behavior.delay_s)
        reply = json.dumps(_reply(call, self.said(call))).encode()
        transport = request.transport
        assert transport is not None
        if behavior.what == "hang":
            await asyncio.sleep(3600)
        if behavior.what == "close":
            transport.abort()
        if behavior.what == "cut":
            response = web.StreamResponse(headers={"Content-Length": str(len(reply)), **behavior.headers})
            await response.prepare(request)
            await response.write(reply[: len(reply) // 2])
            transport.abort()
            return response
        if behavior.what in ("status", "raw"):
            return web.Response(status=behavior.code, headers=behavior.headers, body=behavior.raw)
        self.answered += 1
        return web.Response(body=reply, headers=behavior.headers, content_type="application/json")


def _text(body: dict[str, Any]) -> str:
    if "messages" in body:
        return str(body["messages"][-1]["content"])
    return str(prompt.harmony_encoding().decode(body.get("token_ids") or body.get("prompt")))


def _reply(call: Call, said: str) -> dict[str, Any]:
    usage = {"prompt_tokens": 50, "completion_tokens": 9, "prompt_tokens_details": {"cached_tokens": 32}}
    choice: dict[str, Any] = {"index": 0, "finish_reason": "stop"}
    if call.path.endswith("/chat/completions"):
        choice["message"] = {"role": "assistant", "content": said, "reasoning": "because"}
    else:
        text = (
            f"<|channel|>analysis<|message|>because<|end|><|start|>assistant<|channel|>final<|message|>{said}<|return|>"
        )
        choice["token_ids"] = prompt.harmony_encoding().encode(text, allowed_special="all")
    return {"choices": [choice], "usage": usage}


# Asking it


def config(url: str, **given: Any) -> EngineConfig:
    """An endpoint's configuration."""
    chosen = {"kind": EngineKind.endpoint, "model": "m", "url": url, "deadline_s": 20.0, **given}
    return EngineConfig(**chosen)


def task(dialect: Dialect = Dialect.harmony, output: Output = Output.full, structured: bool = True) -> CallSpec:
    labeler = Labeler(
        model="m", revision=None, dialect=dialect, engine_class="", effort=Effort.low, temperature=0.5, top_p=0.9,
        max_tokens=77, max_prompt_tokens=4000, structured=structured,
    )  # fmt: skip
    return CallSpec(labeler, Contract(output, {"M1": "counterfeit"}))


def requests(count: int, dialect: Dialect = Dialect.harmony) -> Iterator[Request]:
    for number in range(count):
        content = from_text(f"row {number} is here")
        if dialect is Dialect.chat:
            yield Request(number, prompt.chat("A policy.", content))
        else:
            yield Request(number, prompt.harmony("A policy.", Effort.low, content))


def ask(
    server: FaultyServer | str, count: int = 5, window: int = 4, what: CallSpec | None = None, **given: Any
) -> list[Answer]:
    url = server if isinstance(server, str) else server.url
    what = what or task(given.get("dialect", Dialect.harmony))
    with EndpointEngine(config(url, **given), window) as engine:
        answers = list(engine.answers(what, requests(count, what.labeler.dialect)))
    assert sorted(answer.key for answer in answers) == list(range(count))
    assert not any("secret" in (answer.failure or "") or "row " in (answer.failure or "") for answer in answers)
    return answers


def failures(answers: Iterable[Answer]) -> set[str | None]:
    return {answer.failure for answer in answers}


# As vLLM 0.32 says it, shortened.
OUT_OF_MEMORY = """\
(EngineCore pid=7) ERROR 11-24 08:00:00 [core.py:1000] EngineCore failed to start.
(EngineCore pid=7) Traceback (most recent call last):
(EngineCore pid=7)   File "vllm/v1/worker/gpu_worker.py", line 300, in determine_available_memory
(EngineCore pid=7) torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 79 GiB.
(APIServer pid=6) Traceback (most recent call last):
(APIServer pid=6) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}"""


def main() -> None:
    """Stand in for `python -m vllm.entrypoints.openai.api_server`."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--uds", required=True)
    asked, others = parser.parse_known_args()
    mode = os.environ.get("MISBEHAVE", "")
    if mode == "die_at_start" or "--no-such-argument" in others:
        sys.exit("api_server.py: error: unrecognized arguments: --no-such-argument")
    if mode == "out_of_memory":
        print(OUT_OF_MEMORY, file=sys.stderr)
        sys.exit(1)
    core = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
    if mode == "never_ready":
        core.wait()
    script = always(HANG if mode == "hang" else slow(float(os.environ.get("DELAY_S", "0"))))
    with FaultyServer(script, unix=asked.uds):
        sys.exit(core.wait())


if __name__ == "__main__":
    main()
