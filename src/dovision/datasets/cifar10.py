"""CIFAR-10: 60,000 colour photographs of ten kinds of things, of 32 x 32 pixels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import torch
from torchvision.datasets import CIFAR10 as Torchvision

from dovision.datasets import _checks, _splits
from dovision.datasets._download import required
from dovision.datasets.in_memory import ArrayImages
from dovision.io.images import BadFile, decode

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
BINARY_FOLDER = "cifar-10-batches-bin"
_BINARIES = {"train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)), "test": ("test_batch.bin",)}
_SHAPE = (3, 32, 32)
_Bytes = npt.NDArray[np.uint8]


class Cifar10(ArrayImages):
    """The 50,000 + 10,000 photographs in any of three formats; validation images are cut from the 50,000.

    The python version is read by torchvision, which compares checksums. The fingerprint is that of pixels, labels and
    splits: equal for the python and the binary version, another one for parquet files whose images were encoded anew.

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


def _read(
    root: Path, download: bool
) -> tuple[tuple[Path, ...], tuple[_Bytes, list[int]], tuple[_Bytes, list[int]]]:
    """Files, and of train and test the images, shape (N, 32, 32, 3), and the labels, by what the folder holds."""
    binary = root / BINARY_FOLDER if (root / BINARY_FOLDER).is_dir() else root
    parquet = {part: sorted(root.rglob(f"{part}*.parquet")) for part in _BINARIES}
    if not (root / Torchvision.base_folder).is_dir():
        if any((binary / name).is_file() for names in _BINARIES.values() for name in names):
            named = {part: [binary / name for name in names] for part, names in _BINARIES.items()}
            return (binary.resolve(),), *(_binary_images(named[part]) for part in ("train", "test"))
        if any(parquet.values()):
            folders = tuple(sorted({path.parent.resolve() for paths in parquet.values() for path in paths}))
            return folders, *(_parquet_images(root, part, parquet[part]) for part in ("train", "test"))
    train, test = (_python_images(root, is_train, download) for is_train in (True, False))
    return ((root / Torchvision.base_folder).resolve(),), (train.data, train.targets), (test.data, test.targets)


def _binary_images(paths: Sequence[Path]) -> tuple[_Bytes, list[int]]:
    """Records of a label and 3,072 bytes, as (channels, rows, columns)."""
    records = []
    for path in paths:
        if not path.is_file():
            raise FileNotFoundError(f"{path.name} is not in {path.parent}, where other files of CIFAR-10's binary version are.")
        data = np.fromfile(path, np.uint8)
        size = 1 + np.prod(_SHAPE)
        if not len(data) or len(data) % size or data[::size].max() >= len(CLASSES):
            raise ValueError(
                f"{path} must hold records of a label from 0 to 9 and 3,072 bytes, got something else. Fetch it again."
            )
        records.append(data.reshape(-1, size))
    rows = np.concatenate(records)
    return rows[:, 1:].reshape(-1, *_SHAPE).transpose(0, 2, 3, 1), rows[:, 0].tolist()


def _parquet_images(root: Path, part: str, paths: Sequence[Path]) -> tuple[_Bytes, list[int]]:
    """Encoded images of a column `image` or `img`, and labels of a column `label`."""
    if not paths:
        raise FileNotFoundError(f"{part}*.parquet is not in {root}, where parquet files of the other part are.")
    images, labels = [], []
    for path in paths:
        table = pq.read_table(path)
        column = next((name for name in ("image", "img") if name in table.column_names), None)
        if column is None or "label" not in table.column_names:
            raise ValueError(
                f"{path} must have columns image (or img) and label, got {', '.join(table.column_names)}. Other layouts: "
                "dataset=hf_dataset."
            )
        for row, (cell, label) in enumerate(zip(table[column].to_pylist(), table["label"].to_pylist(), strict=True)):
            images.append(_pixels(cell, f"row {row} of {path}"))
            if label not in range(len(CLASSES)):
                raise ValueError(f"row {row} of {path} must have a label from 0 to 9, got {label!r}.")
            labels.append(label)
    return np.stack(images), labels


def _pixels(cell: object, where: str) -> _Bytes:
    data = cell.get("bytes") if isinstance(cell, dict) else None
    try:
        image = np.asarray(decode(data or b"").convert("RGB"))
    except BadFile as error:
        raise ValueError(f"{where} must have the bytes of an image, but it is {error}.") from error
    if image.shape != (*_SHAPE[1:], 3):
        raise ValueError(f"{where} must have an image of 32 x 32 pixels, got {image.shape[0]} x {image.shape[1]}.")
    return image


def _python_images(root: Path, train: bool, download: bool) -> Torchvision:
    """A part of the data, of which torchvision compares the checksums before it reads them; unpacked if need be."""
    if not (root / Torchvision.base_folder).is_dir():
        home = (
            f"{Torchvision.base_folder}, {Torchvision.filename}, {BINARY_FOLDER}, or train.parquet and test.parquet"
        )
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
