"""Blocking work beside an event loop."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future


async def in_thread(work: Callable[[], None]) -> None:
    """Run blocking `work` in a daemon thread, which does not keep the process alive, and wait for it."""
    future: Future[None] = Future()

    def run() -> None:
        future.set_running_or_notify_cancel()
        try:
            work()
            future.set_result(None)
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name="engine-restart", daemon=True).start()
    await asyncio.wrap_future(future)
