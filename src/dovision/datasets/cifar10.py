"""CIFAR-10: 60,000 colour photographs of ten kinds of things, of 32 x 32 pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torchvision.datasets import CIFAR10 as Torchvision

from dovision.datasets import _checks, _splits
from dovision.datasets._download import required
from dovision.datasets.in_memory import ArrayImages
from dovision.io import files
from dovision.io.images import BadFile, decode

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
BINARY_FOLDER = "cifar-10-batches-bin"
_TRAIN_BINARIES, _TEST_BINARY = tuple(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"
_SHAPE = (3, 32, 32)
_MAX_BYTES = 1 << 30  # of a file
_Images = tuple[npt.NDArray[np.uint8], list[int]]  # images, shape (N, 32, 32, 3), and labels


class Cifar10(ArrayImages):
    """The 50,000 + 10,000 photographs in any of three formats; validation images are cut from the 50,000.

    The python version is read by torchvision, which compares checksums. The fingerprint is that of pixels, labels and
    splits: equal for the python and the binary version, another one for parquet files of re-encoded images.

    Args:
        root: the folder that holds one of these: cifar-10-batches-py, or its archive; cifar-10-batches-bin, or its
            files; train*.parquet and test*.parquet in the layout of Hugging Face, at any depth.
        task, classes, shape: of the data.
        val_fraction: share of the training images, the same of each class.
        seed: of the cut.
        download: fetch the archive of the python version if there are no files; otherwise that is an error.

    Raises:
        FileNotFoundError: the files are missing; the message says where they are to be had.
        ValueError: a file is not the published one or not of this layout, or a fact is not what the data say.

    Source: Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.

    Example:
        >>> import dovision as dv
        >>> dv.component("dataset", "cifar10", {"root": "nowhere"})
        Traceback (most recent call last):
            ...
        ValueError: dataset.cifar10: cifar-10-python.tar.gz is not ...
    """

    def __init__(
        self,
        root: str,
        task: str,
        classes: Sequence[str],
        shape: Sequence[int],
        val_fraction: float,
        seed: int,
        download: bool,
    ) -> None:
        self.task = _checks.task(task, classes, ("multiclass",), "CIFAR-10")
        _checks.agree("classes", self.task.classes, CLASSES)
        self.shape = _checks.image_shape(shape)
        _checks.agree("shape", self.shape, _SHAPE)
        _splits.check_fractions(val_fraction, 0)
        self.files, (train, train_labels), (test, test_labels) = _read(Path(root), download)
        self.array = torch.from_numpy(np.concatenate([train, test])).permute(0, 3, 1, 2)
        labels = [*train_labels, *test_labels]
        self.label = torch.tensor(labels)
        cut = _splits.split_groups(range(len(train)), train_labels, val_fraction, 0, seed)
        self.parts = {"train": 0, "test": len(train)}
        self.rows = {**cut, "test": tuple(range(len(train), len(labels)))}
        self.content = _checks.fingerprint((self.array.numpy().tobytes(), bytes(labels)), self.rows)


def _read(root: Path, download: bool) -> tuple[tuple[Path, ...], _Images, _Images]:
    """The files, and the images and labels of train and of test, in the format that the folder holds."""
    if not (root / Torchvision.base_folder).is_dir():
        binary = root / BINARY_FOLDER if (root / BINARY_FOLDER).is_dir() else root
        if any((binary / name).is_file() for name in (*_TRAIN_BINARIES, _TEST_BINARY)):
            train = _joined([_binary_images(binary / name) for name in _TRAIN_BINARIES])
            return (binary.resolve(),), train, _binary_images(binary / _TEST_BINARY)
        parquet = {split: sorted(root.rglob(f"{split}*.parquet")) for split in ("train", "test")}
        if any(parquet.values()):
            for split, paths in parquet.items():
                if not paths:
                    raise FileNotFoundError(f"{split}*.parquet is not in {root}, which must have train and test.")
            folders = {path.parent.resolve() for paths in parquet.values() for path in paths}
            train, test = (_joined([_parquet_images(path) for path in paths]) for paths in parquet.values())
            return tuple(sorted(folders)), train, test
    library = [_python_images(root, is_train, download) for is_train in (True, False)]
    train, test = ((images.data, images.targets) for images in library)
    return ((root / Torchvision.base_folder).resolve(),), train, test


def _joined(read: Sequence[_Images]) -> _Images:
    return np.concatenate([images for images, _ in read]), [label for _, labels in read for label in labels]


def _binary_images(path: Path) -> _Images:
    """Records of a label and of 3,072 bytes, shape (3, 32, 32)."""
    if not path.is_file():
        raise FileNotFoundError(f"{path.name} is not in {path.parent}, which has others of the binary version's files.")
    data, size = np.frombuffer(files.read_bytes(path, _MAX_BYTES), np.uint8), 1 + math.prod(_SHAPE)
    if not len(data) or len(data) % size or data[::size].max() >= len(CLASSES):
        raise ValueError(f"{path} must hold records of a label from 0 to 9 and 3,072 bytes. Fetch it again.")
    records = data.reshape(-1, size)
    return records[:, 1:].reshape(-1, *_SHAPE).transpose(0, 2, 3, 1), records[:, 0].tolist()


def _parquet_images(path: Path) -> _Images:
    """The images of column `image` or `img`, which holds the bytes of files, and the numbers of column `label`."""
    try:
        with files.open_file(path, _MAX_BYTES) as file, pq.ParquetFile(file) as content:
            table = content.read()
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path} must be a parquet file, got something else. Fetch it again.") from error
    column = next((name for name in ("image", "img") if name in table.column_names), None)
    if column is None or "label" not in table.column_names:
        names = ", ".join(table.column_names)
        raise ValueError(f"{path} must have columns image (or img) and label, got {names}. Use dataset=hf_dataset.")
    images = []
    labels: list[int] = table["label"].to_pylist()
    for row, (cell, label) in enumerate(zip(table[column].to_pylist(), labels, strict=True)):
        try:
            images.append(np.asarray(decode(cell["bytes"]).convert("RGB")))
        except (BadFile, TypeError, KeyError) as error:
            raise ValueError(f"row {row} of {path} must have the bytes of an image in {column}: {error}.") from error
        if images[-1].shape != (32, 32, 3) or label not in range(len(CLASSES)):
            got = f"{images[-1].shape[0]} x {images[-1].shape[1]} pixels and {label!r}"
            raise ValueError(f"row {row} of {path} must have 32 x 32 pixels and a label from 0 to 9, got {got}.")
    return np.stack(images), labels


def _python_images(root: Path, train: bool, download: bool) -> Torchvision:
    """A part of the data, of which torchvision compares the checksums before it reads them; unpacked if need be."""
    if not (root / Torchvision.base_folder).is_dir():
        home = f"{Torchvision.base_folder}, {Torchvision.filename}, {BINARY_FOLDER}, or train.parquet and test.parquet"
        required(root / Torchvision.filename, Torchvision.url, Torchvision.tgz_md5, download, home)
        _unpack(root)
    try:
        return Torchvision(root, train)
    except RuntimeError as error:
        raise ValueError(
            f"the files in {root / Torchvision.base_folder} must be those that were published, but their checksums "
            "differ. Delete the folder, and fetch it again: dataset.download=true."
        ) from error


def _unpack(root: Path) -> None:
    try:
        Torchvision(root, download=True)  # the archive is there, so that nothing is fetched
    except RuntimeError as error:
        raise ValueError(
            f"{root / Torchvision.filename} must be the archive that was published, but its checksum differs. Delete "
            "it, and fetch it again: dataset.download=true."
        ) from error
