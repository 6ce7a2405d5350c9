"""A real HTTP server that answers like an engine, and fails on demand.

In a test, in a thread of its own, over TCP or a Unix socket:

    with FaultyServer(in_turn(status(500), closed(), then=ANSWER)) as server:
        engine = EndpointEngine(config(url=server.url), window=8)
        ...
        assert len(server.calls) == 3

A function of the call decides what the server does, so a script may depend on the content, the path or the number of
the call. `lacks` are paths it does not serve, `rejects` fields it answers with 400, `model` the one name it serves.
`tests/engine_calls.py` has the requests for it.

As a process, in place of vLLM's server (`engine.python` names a script that runs this file): it takes vLLM's command
line, listens on `--uds`, starts a child that stands for the engine core, and ends when that child ends.
ANSWER_IDS in its environment are the server's `token_ids`. `engine.env.MISBEHAVE` may be `die_at_start`,
`out_of_memory`, `never_ready`, or `hang` (healthy, but answers nothing). With `engine.env.ONCE`, a path, it misbehaves
only at the first start, which creates that file. It starts often, so it imports nothing of the package.
"""

import argparse
import asyncio
import json
import os
import re
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple, Self

from aiohttp import web

SAFE = {"violation": 0, "category": "none", "rule_ids": [], "confidence": "high", "rationale": ""}


class Call(NamedTuple):
    """One request that the server received. `number` counts from 0; `text` is the decoded prompt."""

    number: int
    path: str
    body: dict[str, Any]
    text: str
    authorization: str | None
    at: float


@dataclass(frozen=True)
class Behavior:
    """What the server does with a call, after `delay_s`."""

    action: str = "answer"  # answer, status, hang, close, cut, raw
    code: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes = b""
    delay_s: float = 0.0


ANSWER = Behavior()
HANG = Behavior("hang")


def status(code: int, retry_after: str | None = None, raw: bytes = b'{"error":"secret content"}') -> Behavior:
    """An error, with a body that must never reach a log or a label."""
    return Behavior("status", code, {"Retry-After": retry_after} if retry_after is not None else {}, raw)


def closed() -> Behavior:
    """Close the connection without a reply."""
    return Behavior("close")


def cut() -> Behavior:
    """Close the connection in the middle of an answer."""
    return Behavior("cut")


def malformed(raw: bytes = b"<html>not what you asked for") -> Behavior:
    """Status 200 and a body that is no answer."""
    return Behavior("raw", raw=raw)


def slow(delay_s: float) -> Behavior:
    """An answer after a delay."""
    return Behavior(delay_s=delay_s)


def in_turn(*behaviors: Behavior, then: Behavior = ANSWER) -> Callable[[Call], Behavior]:
    """One behavior per call, by its number, and `then` for all later calls."""
    return lambda call: behaviors[call.number] if call.number < len(behaviors) else then


def always(behavior: Behavior) -> Callable[[Call], Behavior]:
    """The same behavior for every call."""
    return lambda call: behavior


def row_of(text: str) -> int:
    """The number in a content like `row 7`; -1 if there is none."""
    match = re.search(r"row (\d+)", text)
    return int(match[1]) if match else -1


def safe_answer(call: Call) -> str:
    """The text of an answer: no violation, and the rationale is the row's number."""
    return json.dumps({**SAFE, "rationale": f"row {row_of(call.text)}"})


class FaultyServer:
    """The server in a thread. `url` is its address; `calls` are the requests so far; `text_of` writes the answers.

    `token_ids` are the one answer to every prompt; the tokenizer, which takes a third of a second, is then not loaded.
    """

    def __init__(
        self,
        script: Callable[[Call], Behavior] = always(ANSWER),
        *,
        unix: str | None = None,
        tls: ssl.SSLContext | None = None,
        lacks: Iterable[str] = (),
        rejects: Iterable[str] = (),
        model: str | None = None,
        text_of: Callable[[Call], str] = safe_answer,
        token_ids: list[int] | None = None,
        prompt_tokens: Callable[[int], int] = lambda sent: sent,
    ) -> None:
        self.script, self.text_of, self.tls, self.token_ids = script, text_of, tls, token_ids
        self.prompt_tokens = prompt_tokens  # that it says it read
        self.unix, self.lacks, self.rejects, self.model = unix, frozenset(lacks), frozenset(rejects), model
        self.calls: list[Call] = []
        self.open = self.max_open = self.answered = 0
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
        self._loop.run_until_complete(self._cancel_tasks())
        self._loop.close()

    def stop(self) -> None:
        """Close the socket and every connection: later connections are refused."""
        runner, self._runner = self._runner, None
        if runner:
            asyncio.run_coroutine_threadsafe(runner.cleanup(), self._loop).result(10)

    def start_again(self) -> None:
        """Serve at the same address again after `stop`."""
        asyncio.run_coroutine_threadsafe(self._serve(), self._loop).result(10)

    def count(self, row: int) -> int:
        """How many calls had this row."""
        return sum(1 for call in self.calls if row_of(call.text) == row)

    async def _cancel_tasks(self) -> None:
        remaining = asyncio.all_tasks() - {asyncio.current_task()}
        for task in remaining:
            task.cancel()
        await asyncio.gather(*remaining, return_exceptions=True)

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
            site = web.TCPSite(self._runner, "127.0.0.1", port, reuse_address=True, ssl_context=self.tls)
        await site.start()
        if not self.unix:
            scheme = "https" if self.tls else "http"
            self.url = f"{scheme}://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"  # type: ignore[union-attr,attr-defined]

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/health":
            return web.Response()
        if request.path == "/metrics":
            return web.Response(text=f'vllm:generation_tokens_total{{engine="0"}} {9.0 * self.answered}\n')
        if request.path in self.lacks or request.method != "POST":
            return web.json_response({"detail": "Not Found"}, status=404)
        body = await request.json()
        fields = {*body, *body.get("sampling_params", {})}
        text = _text(body) if self.token_ids is None else ""
        call = Call(len(self.calls), request.path, body, text, request.headers.get("Authorization"), time.monotonic())
        self.calls.append(call)
        if fields & self.rejects:
            return web.json_response({"error": {"message": f"unknown field near {call.text}"}}, status=400)
        if self.model not in (None, body.get("model")):
            return web.json_response({"error": {"message": "The model does not exist."}}, status=404)
        self.open += 1
        self.max_open = max(self.max_open, self.open)
        try:
            return await self._do(self.script(call), call, request)
        finally:
            self.open -= 1

    async def _do(self, behavior: Behavior, call: Call, request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(behavior.delay_s)
        reply = json.dumps(self._reply(call)).encode()
        transport = request.transport
        assert transport is not None
        if behavior.action == "hang":
            await asyncio.sleep(3600)
        if behavior.action == "close":
            transport.abort()
        if behavior.action == "cut":
            response = web.StreamResponse(headers={"Content-Length": str(len(reply)), **behavior.headers})
            await response.prepare(request)
            await response.write(reply[: len(reply) // 2])
            transport.abort()
            return response
        if behavior.action in ("status", "raw"):
            return web.Response(status=behavior.code, headers=behavior.headers, body=behavior.raw)
        self.answered += 1
        return web.Response(body=reply, headers=behavior.headers, content_type="application/json")

    def _reply(self, call: Call) -> dict[str, Any]:
        ids = call.body.get("token_ids") or call.body.get("prompt")
        num_sent = len(ids) if ids else sum(len(str(m["content"])) for m in call.body["messages"]) // 3
        usage = {
            "prompt_tokens": self.prompt_tokens(num_sent),
            "completion_tokens": 9,
            "prompt_tokens_details": {"cached_tokens": 32},
        }
        choice: dict[str, Any] = {"index": 0, "finish_reason": "stop"}
        if call.path.endswith("/chat/completions"):
            choice["message"] = {"role": "assistant", "content": self.text_of(call), "reasoning": "because"}
        else:
            choice["token_ids"] = self.token_ids or completion_ids(self.text_of(call))
        return {"choices": [choice], "usage": usage}


@cache
def encoding() -> Any:
    """The tokenizer of the harmony dialect."""
    from openai_harmony import HarmonyEncodingName, load_harmony_encoding

    return load_harmony_encoding(HarmonyEncodingName.HARMONY_GPT_OSS)


def _text(body: dict[str, Any]) -> str:
    if "messages" in body:
        return str(body["messages"][-1]["content"])
    return str(encoding().decode(body.get("token_ids") or body.get("prompt")))


def completion_ids(text: str) -> list[int]:
    """The model's answer with some reasoning before it, in the harmony dialect."""
    analysis = "<|channel|>analysis<|message|>because<|end|>"
    message = f"{analysis}<|start|>assistant<|channel|>final<|message|>{text}<|return|>"
    return list(encoding().encode(message, allowed_special="all"))


# As vLLM 0.32 logs it, shortened.
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
    options, others = parser.parse_known_args()
    mode, once = os.environ.get("MISBEHAVE", ""), os.environ.get("ONCE")
    if once and os.path.exists(once):
        mode = ""
    elif once:
        open(once, "x").close()
    if mode == "die_at_start" or "--no-such-argument" in others:
        sys.exit("api_server.py: error: unrecognized arguments: --no-such-argument")
    if mode == "out_of_memory":
        print(OUT_OF_MEMORY, file=sys.stderr)
        sys.exit(1)
    core = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(3600)"])
    if mode == "never_ready":
        core.wait()
    token_ids = json.loads(os.environ.get("ANSWER_IDS", "null"))
    if token_ids is None:
        encoding()  # before it is healthy: its first answer should not block the health requests
    script = always(HANG if mode == "hang" else slow(float(os.environ.get("DELAY_S", "0"))))
    with FaultyServer(script, unix=options.uds, token_ids=token_ids):
        sys.exit(core.wait())


if __name__ == "__main__":
    main()
