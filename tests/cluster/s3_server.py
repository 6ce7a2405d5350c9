"""`python -m tests.cluster.s3_server PORT LOG`: moto's S3 server, which logs its requests and can misbehave.

The bucket `deaf` ignores the condition of a write. A key with `lost-answer` in it: its first write succeeds and is
answered as if it had not, so that the client writes again.
"""

import sys
from collections.abc import Callable, Iterable
from typing import Any

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple

CONDITION = "HTTP_IF_NONE_MATCH"


def main(port: int, log_file: str) -> None:
    """Serve until the process is ended."""
    moto, answered = DomainDispatcherApplication(create_backend_app), set[str]()

    def app(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        path, condition = environ["PATH_INFO"], environ.get(CONDITION)
        if path.startswith("/deaf/"):
            environ.pop(CONDITION, None)
        is_lost = environ["REQUEST_METHOD"] == "PUT" and "lost-answer" in path and path not in answered

        def begin(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            answered.add(path)
            status = "503 Slow Down" if is_lost else status
            print(environ["REQUEST_METHOD"], path, condition, status.split()[0], file=log, flush=True)
            return start(status, headers, *rest)

        return moto(environ, begin)  # type: ignore[no-any-return]

    with open(log_file, "a", encoding="utf-8") as log:
        run_simple("127.0.0.1", port, app, threaded=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
