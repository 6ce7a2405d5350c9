"""An engine that fails, is another one or has to be asked again is reported as that, not as a failed policy."""

import json
import socket
from pathlib import Path

import pytest

from tests.faulty_server import Behavior, Call, FaultyServer, closed, in_turn, malformed, status
from tests.unit.commands import Safeguard
from tests.unit.samples import write_policy

pytestmark = pytest.mark.unit
SCRIPTED = ("--set", "engine.kind=scripted")
ALL_RIGHT = ("--set", "engine.args.words={replica: M1, truck: M2}")


def test_an_engine_that_fails_on_a_case_exits_5_regardless_of_the_other_cases(safeguard: Safeguard) -> None:
    write_policy(Path("policies"))
    script = "engine.args.misbehave={truck: fail}"
    ran = safeguard("verify", "market", *SCRIPTED, "--set", script)
    assert ran.code == 5
    assert "engine_failed: scripted failure" in ran.out


def test_a_server_that_does_not_answer_is_one_message(safeguard: Safeguard) -> None:
    write_policy(Path("policies"))
    settings = ("engine.kind=endpoint", "engine.url=http://127.0.0.1:9", "engine.model=m", "engine.deadline_s=1")
    ran = safeguard("verify", "market", *(part for setting in settings for part in ("--set", setting)))
    assert (ran.code, ran.out) == (5, "")
    assert "http://127.0.0.1:9 cannot be reached" in ran.err


def test_a_socket_of_another_kind_is_named_in_words(safeguard: Safeguard) -> None:
    write_policy(Path("policies"))
    address = str(Path("wrong.sock").absolute())
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as wrong:
        wrong.bind(address)
        settings = ("engine.kind=endpoint", f"engine.url=unix:{address}", "engine.model=m", "engine.deadline_s=1")
        ran = safeguard("verify", "market", *(part for setting in settings for part in ("--set", setting)))
    assert ran.code == 5
    assert "protocol wrong type for socket" in ran.err and "OSError" not in ran.err


def test_an_engine_that_fails_midway_is_no_failure_of_the_policy(safeguard: Safeguard) -> None:
    write_policy(Path("policies"))
    settings = (*SCRIPTED, "--set", "engine.args={words: {replica: M1}, misbehave: {truck: fail}}")
    (report,) = json.loads(safeguard("verify", "market", *settings, "--json").out)
    assert report["status"] == "engine_failed"
    assert "is not verified: the engine did not answer 1 of 3 cases (scripted failure)" in report["message"]
    assert " failed: " not in safeguard("verify", "market", *settings).out
    (good,) = json.loads(safeguard("verify", "market", *SCRIPTED, *ALL_RIGHT, "--json").out)
    assert (good["status"], good["second_looks"]) == ("passed", 0)


def test_a_second_look_is_counted(safeguard: Safeguard) -> None:
    write_policy(Path("policies"))
    ran = safeguard("verify", "market", *SCRIPTED, "--set", "engine.args.misbehave={watch: garbage}")
    assert "second looks: 2)." in ran.out


def test_a_model_of_another_kind_is_noticed_by_its_first_answers(safeguard: Safeguard) -> None:
    write_policy(Path("policies"))
    body = json.dumps({"choices": [{"text": "It seems fine to me.", "finish_reason": "stop"}]}).encode()

    def behave(call: Call) -> Behavior:
        return malformed(body) if call.path == "/v1/completions" else status(404)

    with FaultyServer(behave) as server:
        settings = ("engine.kind=endpoint", f"engine.url={server.url}", "engine.model=m")
        ran = safeguard("verify", "market", *(part for setting in settings for part in ("--set", setting)))
    assert (ran.code, "set engine.dialect=chat" in ran.err) == (2, True)


def test_requests_that_were_sent_again_are_counted(safeguard: Safeguard) -> None:
    write_policy(Path("policies"))
    with FaultyServer(in_turn(status(500), status(429, "0"), closed())) as server:
        settings = ("engine.kind=endpoint", f"engine.url={server.url}", "engine.model=m", "engine.window=1")
        options = [part for setting in settings for part in ("--set", setting)]
        (report,) = json.loads(safeguard("verify", "market", *options, "--json").out)
        assert report["retries"] == 3 and len(server.calls) == report["cases"] + 3
        assert "; retries: 3)." in report["message"]
        assert "retries" not in safeguard("verify", "market", *options).out
