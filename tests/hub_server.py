"""A Hugging Face hub on the loopback interface: what its client asks to make, fill and read a repository.

Commits are whole or not there. Large files take the way of Git LFS. Every request is written down.
"""

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import unquote, urlsplit

from .server import answering

TOKEN = "hf_loopback"
LARGE = (".keras", ".h5", ".tflite", ".pb")


@dataclass
class Repository:
    """Its commits, oldest first: the hash, and every file."""

    private: bool = False
    commits: list[tuple[str, dict[str, bytes]]] = field(default_factory=list)

    def commit(self, files: dict[str, bytes]) -> str:
        digest = hashlib.sha1(repr((len(self.commits), sorted(files.items()))).encode()).hexdigest()
        self.commits.append((digest, files))
        return digest

    def at(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        if revision == "main":
            return self.commits[-1]
        return next((commit for commit in self.commits if commit[0] == revision), None)


@dataclass
class Hub:
    """The repositories by name, what was asked, and how the next requests fail."""

    address: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)  # of Git LFS, by their SHA-256
    cuts: list[int] = field(default_factory=list)  # bytes after which the next bodies of files break off
    refuses: str = ""  # requests whose path contains this are answered 500
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)  # method, path, Range


@contextmanager
def serving() -> Iterator[Hub]:
    """A hub on a free port of 127.0.0.1."""
    state = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self, status: int, value: Any = None, **headers: str) -> None:
            body = value if isinstance(value, bytes) else json.dumps({} if value is None else value).encode()
            self.send_response(status)
            for name, text in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name.replace("_", "-"), text)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def refuse(self, status: int, code: str = "", message: str = "") -> None:
            self.answer(status, {"error": message or code}, X_Error_Code=code, X_Error_Message=message or code)

        def chunks(self) -> Iterator[bytes]:
            """The body of a request, whose length is stated at its begin or before each piece."""
            if self.headers.get("Transfer-Encoding") != "chunked":
                yield self.rfile.read(int(self.headers.get("Content-Length") or 0))
                return
            while size := int(self.rfile.readline(), 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()

        def handle_request(self) -> None:
            path = unquote(urlsplit(self.path).path)
            state.asked.append((self.command, path, self.headers.get("Range")))
            self.body = b"".join(self.chunks())
            self.logged_in = self.headers.get("Authorization") == f"Bearer {TOKEN}"
            if state.refuses and state.refuses in path:
                return self.refuse(500, message="out of order")
            for method, pattern, answer in ROUTES:
                if method == self.command.replace("HEAD", "GET") and (found := re.fullmatch(pattern, path)):
                    return answer(self, **found.groupdict())
            return self.refuse(404, message=f"no such endpoint: {self.command} {path}")

        do_GET = do_HEAD = do_POST = do_PUT = handle_request

        def repository(self, name: str, *, write: bool = False) -> Repository | None:
            """One that may be read, or written; otherwise the request is answered here, as the hub does."""
            found = state.repositories.get(name)
            if found is None or (found.private and not self.logged_in):
                self.refuse(404 if self.logged_in else 401, "RepoNotFound", "Repository not found")
                return None
            if write and not self.logged_in:
                self.refuse(401, message="Invalid username or password.")
                return None
            return found

        def create(self) -> None:
            asked = json.loads(self.body)
            if not self.logged_in:
                return self.refuse(401, message="Invalid username or password.")
            name = f"{asked['organization'] or 'me'}/{asked['name']}"
            if asked["organization"] not in (None, "me"):
                return self.refuse(403, message="You don't have the rights to create a model under this namespace")
            address = f"{state.address}/{name}"
            if name in state.repositories:
                return self.answer(409, {"error": "You already created this model repo", "url": address})
            private = asked.get("visibility") == "private" or bool(asked.get("private"))
            made = state.repositories[name] = Repository(private=private)
            made.commit({".gitattributes": b"*.keras filter=lfs\n"})
            return self.answer(200, {"url": address, "name": name, "id": name})

        def validate(self) -> None:
            ok = json.loads(self.body)["content"].startswith("---\n")
            return self.answer(
                200 if ok else 400, {"errors": [] if ok else [{"message": "no metadata"}], "warnings": []}
            )

        def info(self, name: str, revision: str = "main") -> None:
            if (found := self.repository(name)) is None:
                return None
            if (commit := found.at(revision)) is None:
                return self.refuse(404, "RevisionNotFound", "Invalid rev id")
            files = [{"rfilename": file} for file in commit[1]]
            record = {"id": name, "modelId": name, "sha": commit[0], "private": found.private, "siblings": files}
            return self.answer(200, record | {"tags": [], "downloads": 0, "likes": 0})

        def tree(self, name: str, revision: str) -> None:
            if (found := self.repository(name)) is None or (commit := found.at(revision)) is None:
                return None
            rows = [{"type": "file", "path": f, "size": len(x), "oid": git(x)} for f, x in commit[1].items()]
            return self.answer(200, rows)

        def preupload(self, name: str, revision: str) -> None:
            if self.repository(name, write=True) is None:
                return None
            files = [file["path"] for file in json.loads(self.body)["files"]]
            modes = {file: "lfs" if file.endswith(LARGE) else "regular" for file in files}
            rows = [{"path": f, "uploadMode": mode, "shouldIgnore": False} for f, mode in modes.items()]
            return self.answer(200, {"files": rows})

        def batch(self, name: str) -> None:
            if self.repository(name, write=True) is None:
                return None
            rows = []
            for asked in json.loads(self.body)["objects"]:
                href = f"{state.address}/lfs/{asked['oid']}"
                actions = {"upload": {"href": href}, "verify": {"href": f"{href}/verify"}}
                rows.append(asked | ({} if asked["oid"] in state.blobs else {"actions": actions}))
            return self.answer(200, {"transfer": "basic", "objects": rows})

        def upload(self, oid: str) -> None:
            if hashlib.sha256(self.body).hexdigest() != oid:
                return self.refuse(400, message="another hash")
            state.blobs[oid] = self.body
            return self.answer(200)

        def verify(self, oid: str) -> None:
            return self.answer(200 if oid in state.blobs else 404)

        def commit(self, name: str, revision: str) -> None:
            if (found := self.repository(name, write=True)) is None:
                return None
            files = dict(found.commits[-1][1])
            for line in map(json.loads, self.body.splitlines()):
                value = line["value"]
                match line["key"]:
                    case "file":
                        files[value["path"]] = base64.b64decode(value["content"])
                    case "lfsFile":
                        files[value["path"]] = state.blobs[value["oid"]]
                    case "deletedFile":
                        del files[value["path"]]
            oid = found.commit(files)
            return self.answer(200, {"commitUrl": f"{state.address}/{name}/commit/{oid}", "commitOid": oid})

        def resolve(self, name: str, revision: str, file: str) -> None:
            if (found := self.repository(name)) is None:
                return None
            if (commit := found.at(revision)) is None:
                return self.refuse(404, "RevisionNotFound", "Invalid rev id")
            if (content := commit[1].get(file)) is None:
                headers = {"X_Error_Code": "EntryNotFound", "X_Error_Message": "Entry not found"}
                return self.answer(404, b"", X_Repo_Commit=commit[0], **headers)
            start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")[0])
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.send_header("X-Repo-Commit", commit[0])
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            if self.command == "GET":
                cut = state.cuts.pop(0) if state.cuts and file.endswith(LARGE) else None
                self.wfile.write(content[start:] if cut is None else content[start : start + cut])
                self.close_connection = self.close_connection or cut is not None
            return None

        def log_message(self, *_: object) -> None:
            """Keep the tests' output clean."""

    name = r"(?P<name>[\w.-]+/[\w.-]+)"
    ROUTES = [
        ("POST", r"/api/repos/create", Handler.create),
        ("POST", r"/api/validate-yaml", Handler.validate),
        ("GET", rf"/api/models/{name}", Handler.info),
        ("GET", rf"/api/models/{name}/revision/(?P<revision>.+)", Handler.info),
        ("GET", rf"/api/models/{name}/tree/(?P<revision>[^/]+)", Handler.tree),
        ("POST", rf"/api/models/{name}/preupload/(?P<revision>.+)", Handler.preupload),
        ("POST", rf"/{name}\.git/info/lfs/objects/batch", Handler.batch),
        ("PUT", r"/lfs/(?P<oid>\w+)", Handler.upload),
        ("POST", r"/lfs/(?P<oid>\w+)/verify", Handler.verify),
        ("POST", rf"/api/models/{name}/commit/(?P<revision>.+)", Handler.commit),
        ("GET", rf"/{name}/resolve/(?P<revision>[^/]+)/(?P<file>.+)", Handler.resolve),
    ]
    with answering(Handler) as state.address:
        yield state


def git(content: bytes) -> str:
    """The hash of a file in Git."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
