"""Serve the console."""

import contextlib
import os
import socket
import sys
import time

from safeguard_spark.config.model import RunConfig
from safeguard_spark.errors import ConfigError
from safeguard_spark.extras import require


def serve(config: RunConfig) -> str:
    """Serve the console until it is interrupted; returns where it was. Raises ConfigError, TableError."""
    require("starlette", "jinja2", "uvicorn", "deltalake", "pyarrow", "scipy")
    import uvicorn

    from safeguard_spark.review.app import build_app
    from safeguard_spark.review.console import Console

    console = Console(config, time.time)
    try:
        settings = uvicorn.Config(
            build_app(console),
            access_log=False,  # paths and addresses of what people look at
            log_config=None,
            proxy_headers=False,  # the address that is checked is the proxy's own
            server_header=False,
        )
        with _bound(config.review.host, config.review.port) as bound:
            url = _url(*bound.getsockname()[:2])
            print(f"Review console at {url} (Ctrl-C ends it)", file=sys.stderr, flush=True)
            with contextlib.suppress(KeyboardInterrupt):  # uvicorn has ended in order, and raises the signal again
                uvicorn.Server(settings).run(sockets=[bound])
    finally:
        console.close()
    return url


def _bound(host: str, port: int) -> socket.socket:
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server((str(address[0]), port), family=family)
    except OSError as error:
        # asyncio's own words repeat the address.
        cause = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise ConfigError(
            f"The console cannot listen on {host}, port {port} ({cause}). Give another --port, or 0 for any."
        ) from error


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
