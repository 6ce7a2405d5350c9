"""How long the engines wait, and for what. Standard library only: the supervisor imports this and must start fast."""

import math
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Timings:
    """All waits that are not configuration, in seconds. Tests pass shorter ones."""

    # One endpoint
    connect_s: float = 10.0  # to open a connection
    unreachable_s: float = 10.0  # an endpoint that was never reached: more likely a wrong address than an outage
    first_answer_s: float = math.inf  # an endpoint that fails before its first answer; at most engine.patience_s
    keep_alive_s: float = 3.0  # below the 5 s after which uvicorn closes an idle connection: else requests race with it
    back_off_s: float = 0.5  # before the first retry; doubled each time
    back_off_max_s: float = 30.0
    accepted_s: float = 30.0  # a request that was not refused for this long is written as the server takes it
    evidence_s: float = 5.0  # before a row's failure: a request sent since then and answered shows that it is the row's
    close_s: float = 5.0  # to close the connections and end the event loop
    # Equal prefixes that arrive together are each computed. The first request of a call goes ahead, so that the others
    # find the policy in the cache: its prefix is there long before its answer. Where it is not, the scheduler fills
    # about one step (`max_num_batched_tokens`) with it again. A longer wait would cost every task of every chunk more.
    warm_up_s: float = 0.25

    # The server of an executor
    watch_s: float = 2.0  # between two looks at the server's progress
    stalled_s: float = 3.0  # no progress for this long may be the start of a hang
    probe_s: float = 5.0  # for the reply to a health or metrics request
    healthy_s: float = 30.0  # a busy server may leave a probe or two unanswered
    start_poll_s: float = 0.25  # between two looks at a server that starts
    start_again_s: float = 10.0  # after a start that failed: what an ended process holds is free by then
    supervisor_start_s: float = 30.0
    ready_again_s: float = 60.0  # for a server that was ready before; a new one has engine.start_deadline_s
    unused_s: float = 30.0  # no task has touched a server's lease for this long: the server is not in use

    # The supervisor
    supervise_s: float = 0.5  # between two looks at the server, its owner and its lease
    grace_s: float = 4.0  # between SIGTERM and SIGKILL
    end_s: float = 20.0  # for all processes of a server to end


DEFAULT_TIMINGS = Timings()
AT_DESK = replace(DEFAULT_TIMINGS, first_answer_s=20.0)  # a person waits for the first answer
