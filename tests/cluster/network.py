"""Networks of other machines, in a namespace: one without UDP, and one with a second interface. As lines of a shell."""

import shutil
import subprocess
from collections.abc import Sequence

SECOND_ADDRESS = "10.99.0.1"


def without_udp() -> Sequence[str]:
    """Loopback alone, on which UDP goes nowhere."""
    return (
        "ip link set lo up",
        "ip rule add pref 100 table local",
        "ip rule del pref 0",
        "ip rule add pref 1 ipproto udp blackhole",
    )


def second_interface() -> Sequence[str]:
    """Loopback, and an interface with `SECOND_ADDRESS`."""
    return (
        "ip link set lo up",
        "ip link add outer type veth peer name inner",
        f"ip addr add {SECOND_ADDRESS}/24 dev outer",
        "ip link set outer up",
        "ip link set inner up",
    )


def reason_to_skip_network() -> str | None:
    """Why these networks cannot be made here; None if they can."""
    if shutil.which("ip") is None:
        return "ip not found"
    lines = "\n".join(["set -e", *second_interface(), *without_udp()])
    done = subprocess.run(["unshare", "-n", "bash", "-c", lines], capture_output=True, text=True, check=False)
    return f"network namespaces are not allowed here: {done.stderr.strip()}" if done.returncode else None
