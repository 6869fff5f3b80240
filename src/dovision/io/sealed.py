"""Files of tensors and plain types that carry a digest of all their bytes, so that a changed one is never read.

    | the archive that torch.save writes | its comment: dovision 2 sha256 <digest of all bytes before> |

torch.load reads such a file as any other; `read_sealed` checks the digest first, and opens no archive that fails it.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import re
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import torch

from dovision.io import files
from dovision.io.atomic import replacing

SEAL_FORMAT = 2  # 1 had no digest
MARK = re.compile(rb"dovision (\d+) sha256 ([0-9a-f]{64})")
MARK_LENGTH = len(b"dovision 2 sha256 ") + 64
_UNREADABLE = "Copy it again, or name a file of torch.save."
_STARTS = (b"PK", b"\x80")  # of an archive, and of the pickles of before torch 1.6
END = b"PK\x05\x06"  # begins the last 22 bytes of an archive without a comment, of which the last two are its length


def write_sealed(path: Path, content: Any) -> None:
    """Write tensors and plain types with their digest, under a temporary name until the file is whole and on disk.

    The same content gives the same bytes, whatever the file is called.

    Raises:
        OSError: it cannot be written, as on a full disk.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial, partial.open("w+b") as file:
        try:
            torch.save(_unshared(content), file)  # to a path it would write the file's name, too
        except RuntimeError as error:  # of the archive that torch goes on with after a write has failed
            raise error.__context__ if isinstance(error.__context__, OSError) else error from None
        _seal(file)


def read_sealed(path: str | Path) -> Any:
    """Read a file written by `write_sealed` onto the CPU, verifying its digest.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is changed, of an older format, or not of this kind.
    """
    with require(path).open("rb") as file:
        verify(path, file)
        return _load(path, file, "Fit it again.", "Fit it again, or copy it again.", checksums=False)


def read_plain(path: str | Path, remedy: str) -> Any:
    """Read a torch.save file of another program: tensors and plain types only, on the CPU, no digest.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file holds other objects, with the sentence `remedy`; or cannot be read.
    """
    with require(path).open("rb") as file:
        _check_kind(path, file)
        return _load(path, file, remedy, _UNREADABLE)


class Unread:
    """Placeholder for an object of an unread class: accepts what the pickle passes, and keeps nothing."""

    def __init__(self, *arguments: object) -> None:
        """Take the arguments of the class."""

    def __new__(cls, *arguments: object) -> Unread:
        return super().__new__(cls)

    def __setstate__(self, state: object) -> None:
        """Take the object's state."""


def read_tensors(path: str | Path, remedy: str) -> tuple[Any, list[str]]:
    """Read a file as by `read_plain`, with an `Unread` for each object of other classes, and list these classes.

    Arguments of a script, numbers of NumPy or paths lie beside the weights in what training scripts save. Nothing that
    the file names is imported or called.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file cannot be read, or has an object that cannot be left unread, such as one of a subclass of
            dict or list; with the sentence `remedy`.
    """
    classes: list[str] = []
    with require(path).open("rb") as file:
        _check_kind(path, file)
        with contextlib.suppress(Exception):  # which the reading itself reports
            _check_sizes(file)
            file.seek(0)
            classes = sorted(torch.serialization.get_unsafe_globals_in_checkpoint(file))
        with torch.serialization.safe_globals([(Unread, name) for name in classes]):
            return _load(path, file, remedy, _UNREADABLE, classes), classes


def other_objects(path: str | Path, classes: str, remedy: str) -> str:
    """Error sentence for a file that holds objects of other `classes` than tensors and plain types."""
    return (
        f"the checkpoint {path} must hold tensors and plain types only, but it holds other objects"
        f"{f' ({classes})' if classes else ''}, which could run code when read; it was not opened. {remedy}"
    )


def is_foreign(path: str | Path) -> bool:
    """Return whether a file exists that was not written by `write_sealed`."""
    try:
        with files.open_file(path) as file:
            file.seek(max(file.seek(0, os.SEEK_END) - MARK_LENGTH, 0))
            return MARK.fullmatch(file.read()) is None
    except (OSError, ValueError):
        return False


def require(path: str | Path) -> Path:
    """Return the path of a checkpoint if its file exists.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is a pipe, a device or a folder.
    """
    try:
        return files.require_regular_file(path)
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no checkpoint {path}. Name a file that exists, or null for none.") from None


def verify(path: str | Path, file: BinaryIO) -> None:
    """Raise unless the file's bytes match its digest.

    Raises:
        ValueError: names the file, what is wrong and the remedy.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(max(size - MARK_LENGTH, 0))
    mark = MARK.fullmatch(file.read())
    if mark is None:
        raise ValueError(
            f"the checkpoint {path} must end with dovision's digest (format {SEAL_FORMAT}), got none: it is damaged, "
            "of an older version, or not dovision's. Fit it again with dovision-train, or copy it again."
        )
    if int(mark[1]) != SEAL_FORMAT:
        raise ValueError(
            f"the checkpoint {path} must be of dovision's format {SEAL_FORMAT}, got {int(mark[1])}. Fit it again, or "
            "use the version of dovision that wrote it."
        )
    if files.digest(file, size - MARK_LENGTH) != mark[2].decode():
        raise ValueError(
            f"the checkpoint {path} is damaged: its bytes are not those that its digest was made of. Fit it again, or "
            "copy it again."
        )


def _load(
    path: str | Path, file: BinaryIO, remedy: str, unreadable: str, others: Sequence[str] = (), checksums: bool = True
) -> Any:
    try:
        _check_sizes(file, checksums)
        file.seek(0)
        return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        classes = named[1] if named else ", ".join(others[:3])
        raise ValueError(other_objects(path, classes, remedy)) from error
    except Exception as error:  # a damaged archive or pickle raises whatever its bytes lead to
        reason = " ".join(str(error).split()).partition(". ")[0][:200].rstrip(".") or type(error).__name__
        raise ValueError(f"the checkpoint {path} cannot be read: {reason}. {unreadable}") from error


def _unshared(node: Any) -> Any:
    """Copy the content into containers of its own, with one object for equal strings.

    A pickle writes an object once and then refers to it, so that without this its bytes would depend on which equal
    parts happen to be one object, which is another matter in a content that was read from a file.
    """
    if type(node) is str:
        return sys.intern(node)
    if type(node) in (list, tuple):
        return type(node)(map(_unshared, node))
    if type(node) not in (dict, OrderedDict):
        return node
    copy = type(node)((_unshared(key), _unshared(value)) for key, value in node.items())
    if isinstance(node, OrderedDict):  # of torch, with versions of modules as an attribute
        vars(copy).update(_unshared(vars(node)))
    return copy


def _seal(file: BinaryIO) -> None:
    """Write the digest as the archive comment of `file`."""
    size = file.seek(0, os.SEEK_END)
    file.seek(size - 22)
    end = file.read(22)
    if not (end.startswith(END) and end.endswith(b"\0\0")):
        raise RuntimeError("torch.save must write a zip archive without a comment. This is a fault of dovision.")
    file.seek(size - 2)
    file.write(MARK_LENGTH.to_bytes(2, "little"))
    digest = files.digest(file, size)
    file.seek(size)
    file.write(f"dovision {SEAL_FORMAT} sha256 {digest}".encode())


def _check_kind(path: str | Path, file: BinaryIO) -> None:
    """Raise if a file was not written by torch.save: text, HTML, a Git LFS pointer, or TorchScript."""
    file.seek(0)
    start = file.read(32)
    if not start.startswith(_STARTS):
        got = repr(start.decode("ascii", "replace")) if start else "nothing"
        pointer = "Fetch the file itself: git lfs pull." if start.startswith(b"version https://git-lfs") else ""
        raise ValueError(
            f"the checkpoint {path} must be a file of torch.save, but begins with {got}. "
            f"{pointer or 'Copy or download it again.'}"
        )
    with contextlib.suppress(zipfile.BadZipFile), zipfile.ZipFile(file) as archive:
        if any(name.endswith("/constants.pkl") for name in archive.namelist()):
            raise ValueError(
                f"the checkpoint {path} must hold weights, but is a module of TorchScript. Save its weights alone: "
                "torch.save(torch.jit.load(FILE).state_dict(), 'weights.pth')."
            )


def _check_sizes(file: BinaryIO, checksums: bool = False) -> None:
    """Raise if an archive would unpack to more than its own size, since torch.save compresses nothing.

    With `checksums`, raise also if a member differs from its checksum, at which torch.load does not look.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if not zipfile.is_zipfile(file):
        return  # torch's format of before 1.6
    file.seek(0)
    with zipfile.ZipFile(file) as archive:
        total = sum(entry.file_size for entry in archive.infolist())
        if total > size or any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise ValueError(f"its {size:,} bytes would unpack to {total:,}")
        if checksums and (damaged := archive.testzip()) is not None:
            raise ValueError(f"the checksum of its member {damaged} differs")
