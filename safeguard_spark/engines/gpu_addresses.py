"""Spark's GPU discovery script: `safeguard-gpus` prints the UUIDs of this machine's GPUs as Spark wants them.

UUIDs, because the numbers of `nvidia-smi` and CUDA may differ. A GPU in MIG mode is one address here: not tested.
"""

import json
import subprocess
import sys

COMMAND = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]


def main() -> None:
    """Print one JSON object, or one sentence on stderr with exit code 1."""
    try:
        done = subprocess.run(COMMAND, capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        sys.exit(f"The GPUs of this machine are not known: {error}. Install NVIDIA's driver, or ask Spark for no GPUs.")
    addresses = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    print(json.dumps({"name": "gpu", "addresses": addresses}))


if __name__ == "__main__":
    main()
