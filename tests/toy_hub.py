"""A hub on this machine: what huggingface_hub asks for a model, and the answers."""

import hashlib
import json
import re
import sys
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import huggingface_hub
from huggingface_hub import constants
from toy_server import running

from afa.utils import hub

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPO = "me/my-model"
_ABOUT = re.compile(r"/api/models/(?P<repo>[\w-]+/[\w-]+)(?:/revision/(?P<revision>[^/?]+))?")
_FILE = re.compile(r"/(?P<repo>[\w-]+/[\w-]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)")


class ToyHub(ThreadingHTTPServer):
    """Serve the files (name to bytes) of one repository at one commit.

    ``card`` is the metadata of its card; ``refusal`` what is answered to whoever asks for a file;
    ``token`` what a private repository wants; ``breaks`` bytes after which the next answers end.
    """

    def __init__(self, files, card=None, refusal=None, token=None, breaks=()):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = files
        self.card = card
        self.refusal = refusal
        self.token = token
        self.breaks = list(breaks)
        self.commit = COMMIT
        self.asked = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(f"{self.command} {self.path}")
        about, file = _ABOUT.fullmatch(self.path), _FILE.fullmatch(self.path)
        match = about or file
        given = self.headers.get("Authorization", "")
        secret = self.server.token and given != f"Bearer {self.server.token}"
        if match is None or match["repo"] != REPO or secret:
            return self._answer(401, {"X-Error-Code": "RepoNotFound"} if match else {})
        if match["revision"] not in (None, "main", self.server.commit):
            return self._answer(404, {"X-Error-Code": "RevisionNotFound"})
        if about:
            names = [{"rfilename": name} for name in self.server.files]
            facts = dict(id=REPO, sha=self.server.commit, siblings=names, tags=[], downloads=0)
            if self.server.card is not None:
                facts["cardData"] = self.server.card
            return self._answer(200, {}, json.dumps(facts).encode())
        if self.server.refusal:
            return self._answer(*self.server.refusal)
        content = self.server.files.get(file["file"])
        if content is None:
            return self._answer(404, {"X-Error-Code": "EntryNotFound"})
        etag = hashlib.sha256(content).hexdigest()
        headers = {"X-Repo-Commit": self.server.commit, "ETag": f'"{etag}"'}
        return self._answer(200, headers, content)

    do_HEAD = do_GET  # noqa: N815

    def _answer(self, status, headers, content=b""):
        self.send_response(status)
        for key, value in {**headers, "Content-Length": len(content)}.items():
            self.send_header(key, str(value))
        self.end_headers()
        if self.command == "GET":
            is_file = "ETag" in headers and self.server.breaks
            self.wfile.write(content[: self.server.breaks.pop(0)] if is_file else content)

    def log_message(self, *args):
        pass


@contextmanager
def hub_at(files, folder, monkeypatch, **how):
    """Give a hub that runs meanwhile, for this process; its cache is empty, in a folder."""
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(folder / "token"))
    hub.fetch.cache_clear()
    server = ToyHub(files, **how)
    api = partial(huggingface_hub.HfApi, endpoint=server.url)
    monkeypatch.setattr(huggingface_hub, "HfApi", api)
    try:
        with running(server):
            yield server
    finally:
        hub.fetch.cache_clear()


if __name__ == "__main__":
    sys.exit("toy_hub is imported by the tests.")
