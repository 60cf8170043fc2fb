"""A server on this machine that breaks off, knows ranges or not, and counts what it sends."""

import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class ToyServer(ThreadingHTTPServer):
    """Serve ``files`` (path to bytes)."""

    def __init__(self, files, ranges=True, breaks=()):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = files
        self.ranges = ranges
        self.breaks = list(breaks)  # bytes after which each of the next answers breaks off
        self.asked = []  # (path, Range header) of every request

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server, asked = self.server, self.headers.get("Range")
        server.asked.append((self.path, asked))
        content = server.files.get(self.path)
        if content is None:
            return self.send_error(404)
        start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked and server.ranges else 0
        if start and start >= len(content):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        end = start + server.breaks.pop(0) if server.breaks else len(content)
        self.wfile.write(content[start:end])

    def log_message(self, *args):
        pass


def serving(files, **how):
    """Give a server that runs meanwhile."""
    return running(ToyServer(files, **how))


@contextmanager
def running(server):
    """Run a server in a thread of its own meanwhile."""
    with server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
