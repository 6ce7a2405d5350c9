"""The gate: all requests pause together, one finds out, and a busy server gets fewer at a time."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable

import pytest

from safeguard_spark.engines.gate import Gate
from tests.engine_calls import FAST

pytestmark = pytest.mark.unit
REPLY_S = 0.02


async def run(gate: Gate, count: int, reply: Callable[[int], bool]) -> list[float]:
    """Send requests until each is answered; `reply` says whether the server answers the number-th one it gets."""
    loop, sent = asyncio.get_running_loop(), list[float]()

    async def ask() -> None:
        is_answered = False
        while not is_answered:
            turn = await gate.enter()
            sent.append(loop.time())
            is_answered = reply(len(sent) - 1)
            await asyncio.sleep(REPLY_S)
            if is_answered:
                gate.answered(turn, sent[-1])
            else:
                assert gate.pause(turn)
            gate.leave()

    await asyncio.gather(*(ask() for _ in range(count)))
    return sent


def in_loop(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(test())  # type: ignore[arg-type]


def test_while_the_server_answers_nothing_waits() -> None:
    async def test() -> None:
        sent = await run(Gate(1.0, FAST), 50, lambda number: True)
        assert sent[-1] - sent[0] < 25 * REPLY_S

    in_loop(test)


def test_in_an_outage_one_request_at_a_time_asks_and_then_all_go_on() -> None:
    async def test() -> None:
        sent = await run(Gate(5.0, FAST), 40, lambda number: number >= 43)
        assert len(sent) == 40 + 43
        probes = sent[40:44]
        assert all(later - earlier > REPLY_S for earlier, later in itertools.pairwise(probes))
        assert sent[-1] - probes[-1] < 20 * REPLY_S

    in_loop(test)


def test_a_server_that_answers_others_gets_half_and_is_not_asked_one_by_one() -> None:
    async def test() -> None:
        gate = Gate(5.0, FAST)
        sent = await run(gate, 40, lambda number: number != 7)
        assert len(sent) == 41 and not gate.outage_s

    in_loop(test)


def test_patience_ends() -> None:
    async def test() -> None:
        gate = Gate(0.2, FAST)
        assert not gate.pause(gate.turn, 0.3), "the server asks for more than the patience"
        gate, pauses = Gate(0.2, FAST), 0
        while gate.pause(await gate.enter()):
            gate.leave()
            pauses += 1
        assert 0 < pauses < 20 and 0.2 <= gate.outage_s < 60

    in_loop(test)


def test_a_cancelled_request_leaves_no_gap_and_an_end_lets_all_through() -> None:
    async def test() -> None:
        gate = Gate(60.0, FAST)
        gate.pause(await gate.enter(), 30.0)
        gate.leave()
        waiting = [asyncio.create_task(gate.enter()) for _ in range(5)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        gate.end()
        assert await asyncio.wait_for(asyncio.gather(*waiting[1:]), 1.0) == [1] * 4

    in_loop(test)
