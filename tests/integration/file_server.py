"""A local file server that behaves, and fails, like the hub and like MLCommons' storage."""

from __future__ import annotations

import hashlib
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

from harness_llm.fetch.digest import Digest
from harness_llm.fetch.http import Patience

QUICK = Patience(attempts=3, pause_seconds=0.01, longest_pause_seconds=5)
BODY = bytes(range(256)) * 8192  # 2 MiB: more than one block


class Site:
    """A server with files, and failures that are used up one a request.

    Attributes:
        files: Body by path.
        headers: More headers, by path.
        failures: By path: `cut`, or a status with its headers.
        requests: Method, path and Range of every request so far.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.headers: dict[str, dict[str, str]] = {}
        self.failures: dict[str, list[str | tuple[int, dict[str, str]]]] = {}
        self.requests: list[tuple[str, str, str | None]] = []
        self.takes_ranges = True
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                site.answer(self)

            def do_HEAD(self) -> None:
                site.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path = unquote(urlsplit(request.path).path)
        asked = request.headers.get("Range")
        self.requests.append((request.command, path, asked))
        failures = self.failures.get(path, [])
        failure = (
            failures.pop(0) if failures and not (failures[0] == "cut" and request.command == "HEAD") else None
        )
        if isinstance(failure, tuple):
            self.reply(request, failure[0], failure[1], b"refused")
        elif path not in self.files:
            self.reply(request, 404, {}, b"no such file")
        else:
            self.send_file(request, path, asked, cut=failure == "cut")

    def send_file(self, request: BaseHTTPRequestHandler, path: str, asked: str | None, *, cut: bool) -> None:
        body, headers, status = self.files[path], dict(self.headers.get(path, {})), 200
        if asked and self.takes_ranges:
            match = re.fullmatch(r"bytes=(\d+)-(\d*)", asked)
            assert match is not None, asked
            start = int(match[1])
            if start >= len(body):
                self.reply(request, 416, {"Content-Range": f"bytes */{len(body)}"}, b"")
                return
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
            body, status = body[start:], 206
        self.reply(request, status, headers, body, sent=len(body) // 2 if cut else None)

    def reply(
        self,
        request: BaseHTTPRequestHandler,
        status: int,
        headers: dict[str, str],
        body: bytes,
        sent: int | None = None,
    ) -> None:
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(body[:sent])
        request.close_connection = sent is not None

    def gets(self, path: str) -> list[str | None]:
        """The Range of every GET of a path."""
        return [asked for method, found, asked in self.requests if method == "GET" and found == path]


def md5(body: bytes) -> Digest:
    return Digest("md5", hashlib.md5(body).hexdigest())
