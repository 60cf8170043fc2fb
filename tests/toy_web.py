"""A page with a toy model, in this process or as a server, and files of every bad kind."""

import io
import struct
import sys
import threading
import time
import zlib
from contextlib import contextmanager

import cv2
import numpy as np
from PIL import Image
from toy_predict import draw_photo

from afa.apis.web.app import make_app
from afa.apis.web.server import WebOptions, open_socket

TYPE = {"content-type": "application/octet-stream"}


def jpeg(seed=0, height=60, width=80):
    """Encode a drawn photo."""
    return cv2.imencode(".jpg", draw_photo(height, width, seed))[1].tobytes()


def png_that_claims(width, height):
    """Make a PNG of some bytes whose header says any size."""

    def chunk(kind, data):
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = (
        chunk(b"IHDR", header),
        chunk(b"IDAT", zlib.compress(bytes(10**6))),
        chunk(b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def hostile_files():
    """Give name, content, and a part of the sentence that refuses it."""
    random = np.random.default_rng(0)
    buffer = io.BytesIO()
    Image.fromarray(random.random((9, 9)).astype(np.float32)).save(buffer, "TIFF")
    no_kind = "is no picture of a kind that is read"
    return {
        "empty.jpg": (b"", "is an empty file"),
        "page.jpg": (b"<script>alert(1)</script>", no_kind),
        "drawing.svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", no_kind),
        "program.jpg": (b"MZ" + bytes(999), no_kind),
        "archive.jpg": (b"PK\3\4" + bytes(99), no_kind),
        "print.eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", no_kind),
        "noise.jpg": (random.bytes(10_000), no_kind),
        "phone.heic": (b"\0\0\0\x18ftypheic" + bytes(99), "convert it to JPEG"),
        "cut.jpg": (jpeg()[:700], "is truncated"),
        "head.jpg": (b"\xff\xd8\xff", "is truncated"),
        "bomb.png": (png_that_claims(60_000, 60_000), "scale it down"),
        "lies.png": (png_that_claims(900, 900), "is truncated or broken"),
        "bomb.ppm": (b"P6 100000 100000 255\n", "scale it down"),
        "huge.jpg": (jpeg(height=1200, width=1000), "more than the 1,000,000 that are read"),
        "float.tif": (buffer.getvalue(), "floating-point"),
    }


@contextmanager
def serving(model, **options):
    """Serve the page of a model in a thread; give the address."""
    import uvicorn

    options = WebOptions(port=0, **options)
    listener = open_socket(options.host, 0)
    app = make_app(model, "toy.pth", options)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, log_level="warning"))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


if __name__ == "__main__":
    sys.exit("toy_web is imported by the tests.")
