"""Download a published file: resumable, compared with its checksum, unpacked where it belongs."""

from __future__ import annotations

import hashlib
import http
import http.client
import os
import shutil
import ssl
import tarfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

from torchvision.datasets.utils import extract_archive

from afa.files.published_files import PublishedFile

_CHUNK = 1 << 20  # bytes
_TRIES = 5  # connections that may break off in one run
_TIMEOUT = 30  # seconds without an answer
_BROKEN_OFF = (ConnectionError, TimeoutError, ssl.SSLError, http.client.HTTPException)


def download(
    file: PublishedFile, path: Path, report: Callable[[int, int], None] = lambda done, total: None
) -> None:
    """Make ``path`` the published file; what is there and right is kept.

    A download that broke off goes on where it stopped, also in another run: until the checksum is
    right, the file is called ``path`` with ``.part``. (The downloads of torchvision and torch.hub
    begin anew.)

    Args:
        file: What to download.
        path: Where to; its folder is made.
        report: Called with the megabytes that came, and those that lacked.

    Raises:
        ConnectionError: If the server cannot be reached, refuses, or breaks off again and again.
        ValueError: If what came, or what was there, is another file.
    """
    if path.exists():
        if problem := _problem(file, path):
            raise ValueError(
                f"'{path}' is there and {problem}: it is not whole, or another file. Move it away, "
                "then run the same command again."
            )
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = _part(path)
    try:
        whole = any(_continue(file.url, part, report) for _ in range(_TRIES))
    except urllib.error.HTTPError as error:
        raise ConnectionError(
            f"{file.url} answers {error.code} ({error.reason}). {_by_hand(file, path)}"
        ) from error
    except urllib.error.URLError as error:
        raise ConnectionError(
            f"{file.url} cannot be reached ({error.reason}): is this machine on the network? Run "
            f"the same command again, it goes on where it stopped. {_by_hand(file, path)}"
        ) from error
    if not whole:
        raise ConnectionError(
            f"The connection to {file.url} broke off {_TRIES} times. Run the same command again, "
            f"it goes on where it stopped. {_by_hand(file, path)}"
        )
    if problem := _problem(file, part):
        part.unlink()
        raise ValueError(
            f"What {file.url} gave {problem}, and has been removed. Run the same command again; if "
            f"it stays so, there is another file now. {_by_hand(file, path)}"
        )
    os.replace(part, path)


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def _by_hand(file: PublishedFile, path: Path) -> str:
    return f"Or get {file.name} in another way (see {file.page}) and put it at '{path}'."


def _continue(url: str, part: Path, report: Callable[[int, int], None]) -> bool:
    """Fetch what lacks of a file; tell whether it is whole."""
    request = urllib.request.Request(url, headers={"User-Agent": "afa"})
    if have := _size(part):
        request.add_header("Range", f"bytes={have}-")
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:
            resumed = response.status == http.HTTPStatus.PARTIAL_CONTENT
            came, lacked = 0, int(response.headers.get("Content-Length", 0))
            with part.open("ab" if resumed else "wb") as out:  # some servers always send all
                while chunk := response.read(_CHUNK):
                    out.write(chunk)
                    came += len(chunk)
                    report(came // 1_000_000, -(-lacked // 1_000_000))
        return came >= lacked
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return True  # nothing is left to send; the checksum tells
        raise
    except _BROKEN_OFF:
        return False


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _problem(file: PublishedFile, path: Path) -> str | None:
    """Say how a file on disk differs from what was published."""
    size = path.stat().st_size
    if file.size not in (None, size):
        return f"has {size:,} bytes, not {file.size:,}"
    kind, _, digits = file.checksum.partition(":")
    digest = hashlib.new(kind, usedforsecurity=False)
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    found = digest.hexdigest()[: len(digits)]
    return None if found == digits else f"has the {kind.upper()} {found}, not {digits}"


def unpack(archive: Path, folder: Path) -> bool:
    """Unpack a .tar, .tgz or .zip, unless each file of it is there with its size.

    Returns:
        Whether anything had to be unpacked.
    """
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as names:
            sizes = {one.filename: one.file_size for one in names.infolist() if not one.is_dir()}
    else:
        with tarfile.open(archive) as members:
            sizes = {one.name: one.size for one in members if one.isfile()}
    there = ((folder / name, size) for name, size in sizes.items())
    if all(path.is_file() and path.stat().st_size == size for path, size in there):
        return False
    extract_archive(str(archive), str(folder))
    return True


def check_space(files: Sequence[tuple[PublishedFile, Path]]) -> None:
    """Make sure that the disk has room for archives that are not there yet, packed and unpacked.

    Args:
        files: What to download, and where to; all on one disk.

    Raises:
        ValueError: If it has not.
    """
    sizes = [(path, file.size or 0) for file, path in files if not path.exists()]
    need = sum(2 * size - _size(_part(path)) for path, size in sizes)
    place = next((folder for _, path in files for folder in path.parents if folder.exists()), None)
    if place and need > (free := shutil.disk_usage(place).free):
        raise ValueError(
            f"Archives and what they hold take about {need / 1e9:.1f} GB, and '{place}' has "
            f"{free / 1e9:.1f} GB left: free some space, or name another disk with --data."
        )
