"""Download of files over HTTP, with resume and progress; a file has its name only once whole and verified."""

from __future__ import annotations

import urllib.error
import urllib.request
from http.client import HTTPException, HTTPResponse
from pathlib import Path

from torchvision.datasets.utils import calculate_md5

from dovision.io.atomic import publish
from dovision.io.locking import Lock
from dovision.runtime.progress import DISPLAY
from dovision.runtime.stage import BYTES

_CHUNK_BYTES = 1 << 20  # bytes read at a time
TIMEOUT = 60  # seconds without an answer


def required(path: Path, address: str, md5: str, download: bool, home: str) -> Path:
    """Return the file; download it if it is missing and that is allowed.

    Args:
        path: where the file lies, or will.
        address, md5: where it is to be had, and its checksum.
        download: whether to fetch it.
        home: what dataset.root holds if all is right, for the error.

    Raises:
        FileNotFoundError: it is missing, and not to be fetched or not to be had; the message says how to get it.
    """
    if path.is_file():
        return path
    remedy = f"fetch {address} (md5 {md5}) into {path.parent.resolve()}."
    if not download:
        raise FileNotFoundError(
            f"{path.name} is not in {path.parent.resolve()}. Set dataset.download=true, set dataset.root to the folder "
            f"that holds {home}, or {remedy}"
        )
    try:
        fetch(path, address, md5)
    except (OSError, HTTPException) as error:
        raise FileNotFoundError(
            f"{path.name} could not be downloaded: {error}. Run the same command again, which goes on where it broke "
            f"off. By hand: {remedy}"
        ) from error
    return path


def fetch(path: Path, address: str, md5: str) -> None:
    """Download a file, resuming from <path>.part.

    Raises:
        OSError: no answer, the connection ended early, or the file is not the one of this checksum.
    """
    partial_file = path.with_name(f"{path.name}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    with Lock(path.with_name(f"{path.name}.lock")):
        if path.is_file():
            return
        _receive(address, partial_file)
        got = calculate_md5(partial_file)
        if got != md5:
            partial_file.unlink()
            raise OSError(f"the file at {address} has the md5 {got} and not {md5}")
        publish(partial_file, path)


def _receive(address: str, partial_file: Path) -> None:
    """Append to the file what it lacks; all of it if the server cannot send a part."""
    have = partial_file.stat().st_size if partial_file.exists() else 0
    request = urllib.request.Request(address, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        answer: HTTPResponse = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if have and error.code == 416:  # nothing is left to send: the checksum shows whether it is all there
            return
        raise
    with answer:
        if answer.status != 206:
            have = 0
        length = answer.headers["Content-Length"]
        total = None if length is None else have + int(length)
        with (
            DISPLAY.stage(partial_file.stem, BYTES, total, have) as stage,
            partial_file.open("ab" if have else "wb") as file,
        ):
            while piece := answer.read(_CHUNK_BYTES):
                stage.advance(file.write(piece))
    if total is not None and partial_file.stat().st_size < total:
        raise OSError(f"the connection to {address} ended after {partial_file.stat().st_size:,} of {total:,} bytes")
