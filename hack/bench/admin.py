"""The operator's side: a token, and the V2 repository API that it opens."""

import json
import secrets
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from .errors import BenchError
from .servers import MODEL, RunningServer

LIMIT_S = 120


def write_token(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    token = secrets.token_hex(16)
    path.write_text(token)
    return token


class AdminClient:
    """Raises BenchError for every answer other than 200."""

    def __init__(self, server: RunningServer, token: str) -> None:
        self._port = server.port
        self._token = token

    def load(self, version: str) -> None:
        """Make a version the default; returns when it answers."""
        self._post(f"models/{MODEL}/load", {"parameters": {"version": version}})

    def states(self) -> dict[str, str]:
        """The state of every version of the model."""
        entries = self._post("index", {})
        return {entry["version"]: entry["state"] for entry in entries if entry["name"] == MODEL}

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=LIMIT_S)
        try:
            headers = {"Authorization": f"Bearer {self._token}"}
            connection.request("POST", f"/v2/repository/{path}", json.dumps(body), headers)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if answer.status != 200:
            raise BenchError(f"POST /v2/repository/{path}: {answer.status} {content[:300]!r}")
        return json.loads(content)
