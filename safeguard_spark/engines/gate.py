"""How many requests may be open at a server: all of them while it answers, one at a time while it does not.

A server that answers 503 or 429, or refuses connections, refuses everybody: all requests then pause together. After the
pause one of them, the one that has waited longest, finds out whether the server is back. If others were answered during
the pause, the server is only busy: then half of the requests that were open go on, and one more with each answer.
"""

import asyncio
import math
from collections import deque

from safeguard_spark.engines.failures import back_off
from safeguard_spark.engines.timings import DEFAULT_TIMINGS, Timings


class Gate:
    """The gate of one client. Used inside one event loop."""

    def __init__(self, patience_s: float, timings: Timings = DEFAULT_TIMINGS) -> None:
        self._loop, self._timings, self.patience_s = asyncio.get_running_loop(), timings, patience_s
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._open, self._limit, self._limit_after = 0, math.inf, 1
        self._until = 0.0  # closed until then, and until `_reopen` has set the limit; 0 if open
        self.pauses, self._since = 0, 0.0  # in a row without an answer, and when the first began
        self._answered_in_pause = False
        self._is_ended = False
        self.turn = 0  # of the requests that are sent now; a pause begins the next
        self.answered_at = self.paused_at = -math.inf  # loop time of the last answer and the last pause
        self.served_at = -math.inf  # when the last of the answered requests was sent

    @property
    def outage_s(self) -> float:
        """For how long the server has answered no request, as far as the pauses tell; 0 if it answers."""
        return self._loop.time() - self._since if self.pauses else 0.0

    async def enter(self) -> int:
        """Wait until a request may be sent; returns its turn. `leave` must follow."""
        while self._is_closed or self._waiting:
            may_pass = self._loop.create_future()
            self._waiting.append(may_pass)
            self._release()
            try:
                await may_pass
            except asyncio.CancelledError:
                if may_pass.done() and not may_pass.cancelled():
                    self.leave()
                raise
            if self._is_ended or not self._until:
                return self.turn
            self.leave()  # a pause began just now
        self._open += 1
        return self.turn

    def leave(self) -> None:
        """The request is answered, or has failed."""
        self._open -= 1
        self._release()

    def answered(self, turn: int, sent_at: float) -> None:
        """Record that the server answered a request of a turn, sent at a loop time."""
        self.answered_at = self._loop.time()
        self.served_at = max(self.served_at, sent_at)
        self._answered_in_pause = True
        if turn == self.turn:
            self.pauses = 0
            self._limit = max(self._limit + 1, self._limit_after)
            self._release()

    def pause(self, turn: int, requested_s: float | None = None, patience_s: float | None = None) -> bool:
        """Send nothing for a while, because the server refused a request of a turn; `requested_s`: as it asks.

        False if the patience ends before that: nothing more should be sent. Requests that fail together pause once.
        """
        now = self._loop.time()
        if turn == self.turn or (requested_s is not None and not self.pauses):
            if not self.pauses:
                self._since, self._limit_after = now, max(1, self._open // 2)
            self.pauses += 1
            self.turn += 1
            self.paused_at, self._answered_in_pause = now, False
        elif requested_s is None:
            return True
        left = self._since + (self.patience_s if patience_s is None else patience_s) - now
        wait_s = back_off(self.pauses - 1, requested_s, self._timings)
        if left <= 0 or (requested_s is not None and requested_s > left):
            return False
        self._until = max(self._until, now + min(wait_s, left))
        self._loop.call_at(self._until, self._reopen)
        return True

    def end(self) -> None:
        """Let all waiting requests through: they will not be sent."""
        self._is_ended = True
        self._release()

    @property
    def _is_closed(self) -> bool:
        return not self._is_ended and (self._until > 0 or self._open >= self._limit)

    def _reopen(self) -> None:
        if self._loop.time() > self._until - 0.01:  # else it was prolonged
            self._until = 0.0
            self._limit = self._limit_after if self._answered_in_pause else 1
            self._release()

    def _release(self) -> None:
        while self._waiting and not self._is_closed:
            may_pass = self._waiting.popleft()
            if not may_pass.done():
                self._open += 1
                may_pass.set_result(None)
