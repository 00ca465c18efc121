"""A hub of one data set on a port of this machine, which may break off, change or refuse.

It answers as the hub does where files are stored apart: `resolve` says what the content
is and sends the client on to a store, which knows ranges. `huggingface_hub` itself
downloads from it (`test_fetching.py`).
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DATA_SET = "maker/rows"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
_RESOLVE = f"/datasets/{DATA_SET}/resolve/"


@dataclass
class DataHub:
    """What it serves, and what it was asked."""

    endpoint: str = ""
    large: dict[str, bytes] = field(default_factory=dict)
    """Stored apart, known by its sha256."""
    small: dict[str, bytes] = field(default_factory=dict)
    """Answered at once, known by git's hash."""
    sends_at_most: int | None = None
    """Bytes of an answer, after which the connection ends."""
    damages: bool = False
    """The first byte that is sent is another one."""
    only_for: str = ""
    asked: list[tuple[str, str, str | None, str | None]] = field(default_factory=list)
    """(method, path, Range, Authorization)."""


def git_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()  # noqa: S324


class _Handler(BaseHTTPRequestHandler):
    hub: DataHub

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on stderr."""

    def _answer(self) -> None:
        hub, headers = self.hub, self.headers
        hub.asked.append(
            (self.command, self.path, headers.get("Range"), headers.get("Authorization"))
        )
        if self.path.startswith("/store/"):
            return self._send(hub.large[self.path.removeprefix("/store/")], {})
        if hub.only_for and headers.get("Authorization") != f"Bearer {hub.only_for}":
            return self._empty(401, {"X-Error-Code": "GatedRepo"})
        _, _, name = self.path.removeprefix(_RESOLVE).partition("/")
        told = {"X-Repo-Commit": COMMIT}
        if name in hub.large:
            content = hub.large[name]
            linked = {
                "Location": f"/store/{name}",
                "X-Linked-ETag": f'"{hashlib.sha256(content).hexdigest()}"',
                "X-Linked-Size": str(len(content)),
            }
            # As the hub does it: to another host, so that no client takes it for a renaming.
            port = self.hub.endpoint.rpartition(":")[2]
            linked["Location"] = f"http://localhost:{port}/store/{name}"
            return self._empty(302, told | linked)
        if name in hub.small:
            return self._send(hub.small[name], told, etag=git_hash(hub.small[name]))
        return self._empty(404, {"X-Error-Code": "EntryNotFound"})

    def _empty(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, text in {**headers, "Content-Length": "0"}.items():
            self.send_header(name, text)
        self.end_headers()

    def _send(self, content: bytes, headers: dict[str, str], etag: str = "") -> None:
        etag = f'"{etag or hashlib.md5(content).hexdigest()}"'  # noqa: S324 -- as S3 does
        start = self._start(etag)
        if start is not None and start >= len(content):
            return self._empty(416, {"Content-Range": f"bytes */{len(content)}"})
        self.send_response(200 if start is None else 206)
        body = content[start or 0 :]
        headers = {**headers, "ETag": etag, "Content-Length": str(len(body))}
        if start is not None:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        for name, text in headers.items():
            self.send_header(name, text)
        self.end_headers()
        if self.command == "GET":
            if self.hub.damages:
                body = bytes([body[0] ^ 1]) + body[1:]
            self.wfile.write(body[: self.hub.sends_at_most])
        self.close_connection = True
        return None

    def _start(self, etag: str) -> int | None:
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        condition = self.headers.get("If-Range", etag)
        return int(found[1]) if found and condition == etag else None


@contextmanager
def data_hub() -> Generator[DataHub]:
    """Serve; the files may be changed meanwhile."""
    hub = DataHub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
