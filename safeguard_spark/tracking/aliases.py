"""Aliases: the aliases of published policies, read without MLflow's client, whose import takes seconds.

An SQLite registry is read with one query, a server with one request for each alias. Whatever cannot be read in this way
(another kind of registry, another login, another release's tables) is None: MLflow's client is then asked.
"""

import base64
import contextlib
import json
import os
import sqlite3
from collections.abc import Iterable, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import Request, urlopen

from safeguard_spark.policy.alias import Alias
from safeguard_spark.tracking.store import SQLITE

Aliases = dict[str, dict[str, str]]  # policy name to alias to version

QUERY = """
SELECT a.name, a.alias, t.value FROM registered_model_aliases a
JOIN model_version_tags t ON t.workspace = a.workspace AND t.name = a.name AND t.version = a.version
WHERE a.workspace = 'default' AND t.key = 'version'
"""
MISSING = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # a sqlite store answers the second to an alias
UNSUPPORTED = ("MLFLOW_TRACKING_AUTH", "MLFLOW_TRACKING_AWS_SIGV4", "MLFLOW_TRACKING_CLIENT_CERT_PATH")
TIMEOUT_S = 10


def read_aliases(uri: str, names: Iterable[str], environ: Mapping[str, str] = os.environ) -> Aliases | None:
    """The aliases of policies by name, or None if only MLflow's client can tell. Never raises."""
    if uri.startswith(SQLITE):
        return _of_database(Path(uri.removeprefix(SQLITE)), names)
    if uri.startswith(("http://", "https://")) and not any(environ.get(name) for name in UNSUPPORTED):
        with contextlib.suppress(OSError, ValueError, HTTPException, LookupError):
            return {name: _of_server(uri, name, environ) for name in names}
    return None


def _of_database(file: Path, names: Iterable[str]) -> Aliases | None:
    try:
        with contextlib.closing(sqlite3.connect(f"file:{quote(str(file))}?mode=ro", uri=True)) as database:
            rows = database.execute(QUERY).fetchall()
    except sqlite3.Error:
        return None
    return {name: {alias: version for owner, alias, version in rows if owner == name} for name in names}


def _of_server(uri: str, name: str, environ: Mapping[str, str]) -> dict[str, str]:
    answers = {alias.value: _version_of(uri, name, alias, environ) for alias in Alias}
    return {alias: version for alias, version in answers.items() if version}


def _version_of(uri: str, name: str, alias: str, environ: Mapping[str, str]) -> str | None:
    """The version that an alias of a policy names, None if the alias is not set. Raises OSError, ValueError."""
    parts = urlsplit(uri)
    address = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")
    path = "/api/2.0/mlflow/registered-models/alias?" + urlencode({"name": name, "alias": alias})
    request = Request(address + path)
    if login := _login(parts.username, parts.password, environ):
        request.add_unredirected_header("Authorization", login)
    try:
        with urlopen(request, timeout=TIMEOUT_S) as reply:
            tags: list[dict[str, Any]] = json.load(reply)["model_version"].get("tags", [])
    except HTTPError as error:
        if json.loads(error.read()).get("error_code") in MISSING:
            return None
        raise
    return next((tag["value"] for tag in tags if tag["key"] == "version"), None)


def _login(user: str | None, password: str | None, environ: Mapping[str, str]) -> str | None:
    """What MLflow's client sends as authorization: of the address, or of its environment variables."""
    user = user or environ.get("MLFLOW_TRACKING_USERNAME")
    password = password or environ.get("MLFLOW_TRACKING_PASSWORD")
    if user and password:
        return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    token = environ.get("MLFLOW_TRACKING_TOKEN")
    return f"Bearer {token}" if token else None
