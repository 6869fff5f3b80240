"""Whatever stands in place of a file, each reader refuses it in a sentence that names it, or reads what was written.

No hang, no gigabytes, and no other content, where the format has a checksum.
"""

import gzip
import io
import os
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from dovision.datasets import _image_io
from dovision.datasets.readers import dicom, nifti
from dovision.datasets.readers.manifest import read_manifest
from dovision.io import files, images, mask_files, sealed, text_files
from dovision.models._foreign_weights import matched
from made_medical import write_dicom, write_nifti

GREY = np.random.default_rng(0).integers(0, 256, (24, 20), dtype=np.uint8)
STATE = {"fc.weight": torch.arange(600.0).reshape(20, 30), "fc.bias": torch.zeros(20)}
ROWS = "path,label\n" + "".join(f"{number}.png,cat\n" for number in range(40))


class Reader(NamedTuple):
    """How a valid file is written and read; `checked` where a checksum covers its content, `text` where all is text."""

    name: str
    write: Callable[[Path], Any]
    read: Callable[[Path], Any]
    checked: bool = False
    text: bool = False


def picture(**how: Any) -> Callable[[Path], None]:
    return lambda path: Image.fromarray(GREY).save(path, **how)


def pixels(path: Path) -> Any:
    return _image_io.pixels(path, 1)


def volume(path: Path) -> Any:
    return _image_io.pixels(path, 1, None, 1)


def table(path: Path) -> Any:
    return read_manifest(path, "manifest").cells.to_csv()


def weights(path: Path) -> Any:
    return matched(path, STATE)[0]


def safetensors(path: Path) -> None:
    pytest.importorskip("safetensors.torch").save_file(STATE, path)


READERS = [
    *(Reader(f"a.{kind}", picture(), pixels, checked=kind == "png") for kind in ("png", "jpg", "tiff", "bmp", "gif")),
    Reader("a.webp", picture(lossless=True), pixels),
    Reader("mask.png", picture(), mask_files.label_map, checked=True),
    Reader("a.dcm", lambda path: write_dicom(path, GREY), pixels),
    Reader("a.nii", lambda path: write_nifti(path, GREY[..., None].repeat(3, 2)), volume),
    Reader("a.nii.gz", lambda path: write_nifti(path, GREY[..., None].repeat(3, 2)), volume, checked=True),
    Reader(
        "masks.npz",
        lambda path: np.savez_compressed(path, m=GREY > 9),
        lambda path: mask_files.read_mask_file(path, {"m": -1})["m"],
        checked=True,
    ),
    Reader("a.csv", lambda path: path.write_text(ROWS), table, text=True),
    Reader("a.csv.gz", lambda path: path.write_bytes(gzip.compress(ROWS.encode())), table, checked=True),
    Reader("a.parquet", lambda path: pq.write_table(pa.table({"path": ["0.png"] * 40}), path), table),
    Reader("a.json", lambda path: path.write_text('{"a": 1}'), text_files.read_json),
    Reader("a.yaml", lambda path: path.write_text("a: 1\nb: [2, 3]\n"), text_files.read_yaml, text=True),
    Reader("a.ckpt", lambda path: sealed.write_sealed(path, STATE), sealed.read_sealed, checked=True),
    Reader("a.pth", lambda path: torch.save(STATE, path), weights, checked=True),
    Reader("old.pth", lambda path: torch.save(STATE, path, _use_new_zipfile_serialization=False), weights),
    Reader("a.safetensors", safetensors, weights),
]
DAMAGES: dict[str, Callable[[Path], Any]] = {
    "empty": lambda path: path.write_bytes(b""),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "another magic": lambda path: path.write_bytes(b"\0\1\2\3\xff" * 80 + path.read_bytes()[400:]),
    "noise": lambda path: path.write_bytes(b"\x89\xff" + random.Random(0).randbytes(5000)),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "nothing": lambda path: path.unlink(),
    "a loop of links": lambda path: (path.unlink(), path.symlink_to(path)),
    "a device": lambda path: (path.unlink(), path.symlink_to("/dev/zero")),
    "a pipe": lambda path: (path.unlink(), os.mkfifo(path)),
}
BY_NAME = {reader.name: reader for reader in READERS}


def digest(content: Any) -> str:
    """A text that differs where content does."""
    if isinstance(content, dict):
        return str({name: digest(value) for name, value in content.items()})
    return str(content.tolist() if hasattr(content, "tolist") else content)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", BY_NAME)
def test_what_is_no_such_file_is_refused_by_its_name(name, damage, tmp_path):
    reader, path = BY_NAME[name], tmp_path / name
    reader.write(path)
    assert reader.read(path) is not None
    if reader.text and damage == "cut short":
        return  # half a text is a text
    DAMAGES[damage](path)
    with pytest.raises((ValueError, OSError)) as caught:
        reader.read(path)
    assert path.name.removesuffix(".gz") in str(caught.value), caught.value


@pytest.mark.parametrize("name", [reader.name for reader in READERS if reader.checked])
def test_no_flipped_bit_gives_other_content(name, tmp_path):
    reader, path, draw = BY_NAME[name], tmp_path / name, random.Random(name)
    reader.write(path)
    data, expected = path.read_bytes(), digest(reader.read(path))
    other = 0
    for _ in range(40):
        changed = bytearray(data)
        changed[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        path.write_bytes(changed)
        try:
            other += digest(reader.read(path)) != expected
        except (ValueError, OSError):
            continue
    assert other == 0


def nifti_header(path: Path, shape: tuple[int, ...], data: bytes = b"", kind: str = "Nifti1Header") -> None:
    """A volume of bytes that claims a shape."""
    header = getattr(pytest.importorskip("nibabel"), kind)()
    header.set_data_dtype(np.uint8)
    header.set_data_shape(shape)
    header["magic"], header["vox_offset"] = header.single_magic, header.single_vox_offset
    whole = header.binaryblock.ljust(header.single_vox_offset, b"\0") + data
    path.write_bytes(gzip.compress(whole, 1) if path.suffix == ".gz" else whole)


def pages(path: Path) -> None:
    """A TIFF of 20,000 pages."""
    tags = [(256, 4), (257, 4), (258, 8), (259, 1), (262, 1), (273, 8), (278, 4), (279, 16)]
    body = bytearray(b"II*\0\x08\0\0\0")
    for _ in range(20_000):
        body += struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
        body += struct.pack("<I", len(body) + 4)
    path.write_bytes(body)


def scans(path: Path) -> None:
    """A JPEG with a thousand passes over its pixels."""
    file = io.BytesIO()
    Image.fromarray(GREY).save(file, "JPEG", progressive=True)
    data = file.getvalue()
    last = data.rindex(b"\xff\xda")
    path.write_bytes(data[:last] + data[last:-2] * 1000 + data[-2:])


def lines(*rows: str) -> Callable[[Path], Any]:
    return lambda path: path.write_text("\n".join(rows))


HUGE: dict[str, tuple[str, Callable[[Path], Any], Callable[[Path], Any], str]] = {
    "a volume by its header": ("a.nii.gz", lambda path: nifti_header(path, (2000,) * 3), volume, "takes 8,128,000,000"),
    "a volume of NIfTI 2": (
        "a.nii",
        lambda path: nifti_header(path, (1 << 40, 3, 3), kind="Nifti2Header"),
        volume,
        "more than",
    ),
    "a slice of a volume": ("a.nii", lambda path: nifti_header(path, (9000, 9000, 2)), volume, "more than"),
    "a volume that is longer than it says": (
        "a.nii.gz",
        lambda path: nifti_header(path, (4, 4, 2), bytes(1 << 22)),
        volume,
        "more when unzipped",
    ),
    "a DICOM image": (
        "a.dcm",
        lambda path: write_dicom(path, GREY, Rows=60000, Columns=60000),
        pixels,
        "more than 41,943,040 in all",
    ),
    "a JPEG of scans": ("a.jpg", scans, pixels, "too many scans"),
    "a TIFF of pages": ("a.tiff", pages, pixels, "several frames"),
    "deep JSON": ("a.json", lines("[" * 10**6), text_files.read_json, "one JSON object"),
    "long YAML": ("a.yaml", lines("- a\n" * (1 << 20), "b"), text_files.read_yaml, "4,194,304 bytes"),
    "a header of safetensors": (
        "a.safetensors",
        lambda path: path.write_bytes(struct.pack("<Q", 1 << 60) + b"{}"),
        weights,
        "of safetensors",
    ),
}


@pytest.mark.parametrize("what", HUGE)
def test_what_claims_too_much_is_refused_before_it_is_read(what, tmp_path, monkeypatch):
    name, write, read, message = HUGE[what]
    for module, limits in (
        (nifti, {"DECODED_BYTES": 1 << 21} if "longer" in what else {}),
        (dicom, {"DECODED_BYTES": 1 << 21}),
        (images, {"SCANNED_PIXELS": 1 << 16}),
    ):
        for limit, value in limits.items():
            monkeypatch.setattr(module, limit, value)
    path = tmp_path / name
    write(path)
    with pytest.raises((ValueError, OSError)) as caught:
        read(path)
    assert message in str(caught.value), caught.value
    assert path.name in str(caught.value), caught.value


def test_gzip_is_read_to_its_end_in_pieces(tmp_path):
    data = gzip.compress(bytes(3 << 20))
    (tmp_path / "a.gz").write_bytes(data)
    assert files.unzipped(tmp_path / "a.gz", 3 << 20) == bytes(3 << 20)
    (tmp_path / "a.gz").write_bytes(data[:-5] + bytes([data[-5] ^ 1]) + data[-4:])
    with pytest.raises(ValueError, match="CRC check failed"):
        files.unzipped(tmp_path / "a.gz", 3 << 20)
    with pytest.raises(FileNotFoundError, match=r"b\.gz"):
        files.unzipped(tmp_path / "b.gz", 3 << 20)
