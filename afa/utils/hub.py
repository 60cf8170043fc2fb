"""Weights by name from the Hugging Face hub: ``hf://OWNER/NAME/FILE``, ``hf://OWNER/NAME@REVISION/FILE``.

The library huggingface_hub fetches and keeps them, with its own settings: HF_HOME (where), HF_TOKEN
(private files), HF_ENDPOINT (a mirror), HF_HUB_OFFLINE (only what is there). Files of safetensors
alone are taken: they hold numbers and text, whereas a pickle of a stranger can run code.
"""

from __future__ import annotations

import functools
import os
import re
from pathlib import Path
from typing import NamedTuple

SCHEME = "hf://"
_FORM = "hf://OWNER/NAME/FILE.safetensors or hf://OWNER/NAME@REVISION/FILE.safetensors"
_ADDRESS = re.compile(
    r"hf://(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>refs/\w+/\w+|[^/@]+))?/(?P<file>[^@]+)"
)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_TIMEOUT = 10  # seconds without an answer
_MAX_NAMES = 5  # of files, in a message


class HubFile(NamedTuple):
    """A file of the hub on this disk: ``path``, and ``pinned``, its address with the commit."""

    path: Path
    pinned: str


class _Wanted(NamedTuple):
    address: str
    repo: str
    revision: str | None
    file: str


class _NoFileError(ValueError):
    """A repository that does not have the file."""


def is_hub_address(path: object) -> bool:
    """Tell whether a checkpoint is named by an address of the hub."""
    return str(path).startswith(SCHEME)


def local_path(path: str | os.PathLike) -> Path:
    """Give the path of a checkpoint on this disk; one of the hub is fetched first.

    Raises:
        ValueError: If it cannot be fetched, see :func:`fetch`.
    """
    return fetch(str(path)).path if is_hub_address(path) else Path(path).expanduser()


@functools.cache  # a branch may move between two readings of one run
def fetch(address: str) -> HubFile:
    """Fetch a file of the hub, or find it in the cache, and log its licence and commit.

    A pinned commit that is in the cache needs no network. Where the hub cannot be reached, the file
    that was fetched last for this address is taken.

    Raises:
        ValueError: If the address is wrong, there is no such repository, revision or file, it may
            not be read, or it cannot be reached; the text says what to do.
        OSError: If the disk cannot hold it.
    """
    from huggingface_hub import try_to_load_from_cache

    wanted = _parse(address)
    cached = try_to_load_from_cache(wanted.repo, wanted.file, revision=wanted.revision)
    have = _hub_file(wanted, cached) if isinstance(cached, str) else None
    if have is not None and _COMMIT.fullmatch(wanted.revision or ""):
        return have
    return _download(wanted, have)


def _parse(address: str) -> _Wanted:
    match = _ADDRESS.fullmatch(address)
    if match is None or ".." in match["file"].split("/"):
        raise ValueError(f"'{address}' is no address of the Hugging Face hub: give {_FORM}.")
    if not match["file"].endswith(".safetensors"):
        raise ValueError(
            f"'{address}' is refused: from the hub .safetensors files alone are read, because "
            "other files of weights are pickles, which can run code; take a .safetensors file of "
            "the repository, or download the file, if you trust it, and give its path."
        )
    return _Wanted(address, match["repo"], match["revision"], match["file"])


def _hub_file(wanted: _Wanted, path: str) -> HubFile:
    """Take the commit from a path of the cache: .../snapshots/COMMIT/FILE."""
    commit = Path(path).parents[wanted.file.count("/")].name
    return HubFile(Path(path), f"{SCHEME}{wanted.repo}@{commit}/{wanted.file}")


def _download(wanted: _Wanted, have: HubFile | None) -> HubFile:
    from huggingface_hub import HfApi

    api = HfApi(library_name="afa")
    try:
        info = api.model_info(wanted.repo, revision=wanted.revision, timeout=_TIMEOUT)
        names = [one.rfilename for one in info.siblings or ()]
        if names and wanted.file not in names:
            raise _NoFileError(_no_file(wanted, names))
        path = api.hf_hub_download(wanted.repo, wanted.file, revision=wanted.revision)
    except _NoFileError:
        raise
    except Exception as caught:  # of the hub's client, of the network below it, or of the disk
        if isinstance(caught, OSError) and caught.errno is not None:
            raise
        error = caught
        if isinstance(caught, FileNotFoundError) and isinstance(caught.__cause__, Exception):
            error = caught.__cause__  # the client then also looks in its cache, in vain
        if have is not None and _is_unreachable(error):
            _log(f"{wanted.address}: the hub is not reached; as fetched before: {have.pinned}")
            return have
        raise ValueError(_explain(wanted, error, api.endpoint)) from caught
    found = _hub_file(wanted, path)
    licence = getattr(info.card_data, "license", None)
    told = f"licence {_one_line(licence)}" if licence else "no licence stated"
    _log(f"{wanted.address}: {told}; for the same file at any time: {found.pinned}")
    return found


def _no_file(wanted: _Wanted, names: list[str]) -> str:
    fitting = [_one_line(name) for name in names if name.endswith(".safetensors")]
    shown = ", ".join(fitting[:_MAX_NAMES] + ["..."] * (len(fitting) > _MAX_NAMES))
    there = f"its files of weights are {shown}" if fitting else "it has no .safetensors file"
    return f"{wanted.address}: the repository '{wanted.repo}' has no such file; {there}."


def _is_unreachable(error: Exception) -> bool:
    """Tell trouble on the way, or of the server, from an answer that is meant."""
    from huggingface_hub.errors import HfHubHTTPError

    return not isinstance(error, HfHubHTTPError) or error.response.status_code >= 500


def _explain(wanted: _Wanted, error: Exception, endpoint: str) -> str:
    """Say in one sentence why a file cannot be had, and what to do."""
    from huggingface_hub import constants, errors

    page = f"{endpoint}/{wanted.repo}"
    log_in = "log in (`hf auth login`, or a token in HF_TOKEN)"
    if isinstance(error, errors.GatedRepoError):
        why = f"its authors give it on request: ask for it on {page}, then {log_in}"
    elif isinstance(error, errors.RepositoryNotFoundError):
        why = f"there is no repository {page}, or it is private: mend the name, or {log_in}"
    elif isinstance(error, errors.RevisionNotFoundError):
        why = f"the repository has no branch, tag or commit '{wanted.revision}': see {page}"
    elif isinstance(error, errors.HfHubHTTPError) and not _is_unreachable(error):
        why = f"{endpoint} refuses it ({_one_line(error)}): {log_in}, or try again later"
    elif constants.HF_HUB_OFFLINE:
        why = "HF_HUB_OFFLINE is set, and it was not fetched before: fetch it once with network"
    else:
        why = (
            f"{endpoint} is not reached, or breaks off ({_one_line(error)}), and it was not "
            "fetched before: run the same command again with network (HF_ENDPOINT names a mirror), "
            "or give the path of a file"
        )
    return f"{wanted.address} cannot be fetched: {why}."


def _one_line(value: object) -> str:
    """Give the first line of a text from elsewhere."""
    lines = [line for line in str(value).splitlines() if line.strip()]
    return lines[0].strip().rstrip(".:")[:200] if lines else type(value).__name__


def _log(text: str) -> None:
    """Log, in one process of several; they have not met yet where a tool reads a checkpoint."""
    from mmengine.logging import print_log  # not at import time: worker processes are light

    if int(os.environ.get("RANK") or os.environ.get("SLURM_PROCID") or 0) == 0:
        print_log(text, logger="current")
