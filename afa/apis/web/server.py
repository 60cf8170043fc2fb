"""Start the server of the page: options, the port, the address to open."""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass
from typing import Any

from torch import nn

LOOPBACK = ("127.0.0.1", "localhost", "::1")
MISSING = "The web page needs packages that are not installed: pip install 'afa[web]'."


@dataclass(frozen=True)
class WebOptions:
    """Where the page is served, and how much it takes.

    Args:
        host: address to listen on; others than this machine's own let other machines in.
        port: 0 for any that is free.
        max_mb: largest file, in units of 1,000,000 bytes.
        max_megapixels: largest photo, in units of 1,000,000 pixels.
        keep: photos that are kept, with all that was made of them.
        max_waiting: requests that may wait for the model.
        upload_seconds: time in which a file must arrive.

    Raises:
        ValueError: if a number is out of range.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    max_mb: float = 30
    max_megapixels: float = 50
    keep: int = 20
    max_waiting: int = 8
    upload_seconds: float = 60

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ValueError(f"--port must be between 0 and 65535, got {self.port}.")
        # Pillow refuses more than 178 megapixels anyway.
        for name, most in (("max_mb", 1000), ("max_megapixels", 178), ("keep", 1000)):
            value = getattr(self, name)
            if not 0 < value <= most:
                option = name.replace("_", "-")
                raise ValueError(f"--{option} must be above 0 and at most {most}, got {value:g}.")

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the page."""
        return self.host in LOOPBACK


def open_socket(host: str, port: int) -> socket.socket:
    """Take a port, before time is spent on anything else.

    Raises:
        ValueError: if it is taken or may not be used, or the host is none of this machine.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        found = socket.socket(family, socket.SOCK_STREAM)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind((host, port))
            found.listen()
        except OSError:
            found.close()
            raise
        return found
    except OSError as error:
        raise ValueError(_no_socket(host, port, error)) from error


def _no_socket(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {port} of {host} is taken, perhaps by a page that still runs: choose another "
            "one with --port, or any that is free with --port 0."
        )
    if error.errno == errno.EACCES:
        return f"Port {port} is for the system only: choose one above 1023 with --port."
    return (
        f"This machine has no address '{host}' ({error.strerror or error}): choose --host "
        "127.0.0.1 for this machine alone, or 0.0.0.0 for all that can reach it."
    )


def serve(
    model: nn.Module,
    title: str,
    options: WebOptions | None = None,
    listener: socket.socket | None = None,
) -> None:
    """Serve the page until it is stopped (Ctrl+C).

    Args:
        model: what :func:`afa.apis.init_model` gave.
        title: what the page calls it; no path, since all who see the page see it.
        options: where, and how much.
        listener: what :func:`open_socket` gave for them; None to open it here.

    Raises:
        ValueError: if the port cannot be had, a package is missing, or the model makes no labels.
    """
    options = options or WebOptions()
    uvicorn = check_packages()
    from afa.apis.web.app import make_app

    app = make_app(model, title, options)
    listener = listener or open_socket(options.host, options.port)
    host, port = listener.getsockname()[:2]
    name = f"[{host}]" if ":" in host else host
    if not options.is_local:
        print("Everybody who can reach this machine can use the page: docs/web.md says more.")
    print(f"Open http://{name}:{port} in a browser; Ctrl+C ends it.", flush=True)
    config = uvicorn.Config(
        app,
        log_config=None,  # its own would close the log files that a process has open
        log_level="warning",
        server_header=False,
        date_header=False,
        limit_concurrency=200,
        timeout_graceful_shutdown=3,
    )
    uvicorn.Server(config).run(sockets=[listener])


def check_packages() -> Any:
    """Give uvicorn; ValueError if a package of the page is missing."""
    try:
        import starlette  # noqa: F401
        import uvicorn
    except ImportError as error:
        raise ValueError(MISSING) from error
    return uvicorn
