"""The label job where UDP does not pass: the bar moves with each finished chunk, and says why."""

import re
import shlex
from pathlib import Path

import pytest

from tests.cluster.network import reason_to_skip_network, without_udp
from tests.soak.conserved import assert_labelled_once
from tests.soak.job import LabelJob

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(240)]
ROWS = 180


class WithoutUdp(LabelJob):
    """A label job in a network namespace without UDP, on a terminal."""

    def command(self, *options: str) -> list[str]:
        """The command in its namespace; what its terminal shows is in the file `terminal`."""
        job = shlex.join(super().command(*options))
        terminal = ["script", "--quiet", "--return", "--command", job, str(self.folder / "terminal")]
        lines = ["set -eu", *without_udp(), "export COLUMNS=200 TERM=xterm", f"exec {shlex.join(terminal)}"]
        return ["unshare", "-n", "bash", "-c", "\n".join(lines)]


def test_without_udp_the_bar_moves_with_each_finished_chunk(tmp_path: Path) -> None:
    if reason := reason_to_skip_network():
        pytest.skip(reason)
    job = WithoutUdp(tmp_path, policies=["market"], chunk_rows=60, latency_s=0.05)
    try:
        job.add(ROWS)
        job.start()
        assert job.wait() == 0, job.stderr_tail()
    finally:
        job.end()
    shown = (tmp_path / "terminal").read_text(errors="replace")
    assert "no progress reports arrive: the bar moves with each finished chunk, the last " in shown
    counts = {(int(done), int(total)) for done, total in re.findall(r"(\d+)/(\d{3})", shown)}
    assert any(0 < done < total * 0.9 for done, total in counts)
    assert_labelled_once(job)
