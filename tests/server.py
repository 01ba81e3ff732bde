"""A file server on this machine that fails in the ways that a test asks for."""

import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Server:
    """The files by path, how they are served, and the requests that came."""

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    cuts: list[int] = field(default_factory=list)  # bytes after which the next responses break off
    status: list[int] = field(default_factory=list)  # status codes of the next responses
    ranges: bool = True  # supports Range and If-Range
    etag: bool = True
    headers: dict[str, str] = field(default_factory=dict)  # further response headers
    length: bool = True  # sends Content-Length
    pause: float = 0.0  # seconds before each body
    pace: float = 0.0  # bytes a second of each body; 0 is as fast as it goes
    asked: list[tuple[str, str | None]] = field(default_factory=list)  # path, Range

    def put(self, path: str, content: bytes) -> str:
        """Serve `content` at the path; returns its URL."""
        self.files[path] = content
        return f"{self.address}{path}"


@contextmanager
def serving() -> Iterator[Server]:
    """A server on a free port of 127.0.0.1."""
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            state.asked.append((self.path, wanted))
            if state.status:
                self.send_error(state.status.pop(0))
                return
            if (content := state.files.get(self.path)) is None:
                self.send_error(404)
                return
            tag = f'"{hashlib.md5(content).hexdigest()}"'
            start, end = 0, len(content)
            if wanted and state.ranges and self.headers.get("If-Range") in (None, tag):
                first, _, last = wanted.removeprefix("bytes=").partition("-")
                start, end = int(first), int(last or len(content) - 1) + 1
                if start >= len(content):
                    self.send_error(416)
                    return
            partial = end - start < len(content)
            self.send_response(206 if partial else 200)
            if partial:
                self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(content)}")
            for name, value in state.headers.items():
                self.send_header(name, value)
            if state.etag:
                self.send_header("ETag", tag)
            if state.length:
                self.send_header("Content-Length", str(end - start))
            self.end_headers()
            time.sleep(state.pause)
            cut = state.cuts.pop(0) if state.cuts else None
            with suppress(BrokenPipeError):  # the client has gone
                body = content[start : end if cut is None else start + cut]
                step = round(state.pace / 20) or len(body) or 1
                for first in range(0, len(body), step):
                    self.wfile.write(body[first : first + step])
                    time.sleep(1 / 20 if state.pace else 0)

        def log_message(self, *_: object) -> None:
            """Keep the tests' output clean."""

    with answering(Handler) as state.address:
        yield state


@contextmanager
def answering(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Within it the handler answers on the loopback interface, at this address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
