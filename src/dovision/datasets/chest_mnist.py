"""ChestMNIST: ChestX-ray14 made small by MedMNIST, at 28 to 224 pixels, with a split of its own."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torchvision.datasets.utils import calculate_md5

from dovision.datasets import _checks, _image_io, _nih_tables
from dovision.datasets import _download as downloads
from dovision.interfaces import Images, Source
from dovision.io import arrays, files
from dovision.io.arrays import FileArray
from dovision.types import SPLITS

PIXEL_FILES = {  # pixels: name and md5
    28: ("chestmnist.npz", "02c8a6516a18b556561a56cbdd36c4a8"),
    64: ("chestmnist_64.npz", "9de6cd0b934ebb5b7426cfba5efbae16"),
    128: ("chestmnist_128.npz", "db107e5590b27930b62dbaf558aebee3"),
    224: ("chestmnist_224.npz", "45bd33e6f06c3e8cdb481c74a89152aa"),
}
ADDRESS = "https://zenodo.org/records/10519652/files/{}?download=1"


class ChestMNIST(Images):
    """ChestMNIST's 78,468 + 11,219 + 22,433 films; the split is MedMNIST's and not that of ChestX-ray14.

    The file does not say whose film is whose, so each sample is a group of its own, and nothing shows that a patient
    is in one split only. For intervals by patient use ChestX-ray14. Never fit on one of the two and test on the other:
    their splits share films.

    The images of a split are read when it is first asked for, and then held in memory.

    Args:
        root: the folder of the file chestmnist.npz, chestmnist_64.npz, chestmnist_128.npz or chestmnist_224.npz.
        task, classes, shape: of the data; classes are some or all of the 14 labels, channels 1 or 3 (grey, repeated);
            the height, 28, 64, 128 or 224, chooses the file.
        verify: compare the file with MedMNIST's checksum.
        download: fetch the file if it is missing.

    Raises:
        FileNotFoundError: the file is missing; the message says where it is to be had.
        ValueError: the file is wrong or damaged, or a fact is not possible.

    Source: Yang et al., MedMNIST v2, Scientific Data 10, 41, 2023.

    Example:
        >>> import dovision as dv
        >>> dv.component("dataset", "chest_mnist", {"root": "nowhere"})
        Traceback (most recent call last):
            ...
        ValueError: dataset.chest_mnist: chestmnist.npz is not ...
    """

    def __init__(
        self,
        root: str,
        task: str,
        classes: Sequence[str] | None,
        shape: Sequence[int],
        verify: bool,
        download: bool,
    ) -> None:
        self.task = _checks.task(task, _nih_tables.labels_chosen(classes), ("multilabel",), "ChestMNIST")
        self.shape = _image_io.grey_or_rgb_shape(shape)
        if self.shape[1] != self.shape[2] or self.shape[1] not in PIXEL_FILES:
            raise ValueError(
                f"shape must be square, of {', '.join(map(str, PIXEL_FILES))} pixels, got {list(self.shape)!r}."
            )
        name, md5 = PIXEL_FILES[self.shape[1]]
        path = downloads.required(Path(root) / name, ADDRESS.format(name), md5, download, name).resolve()
        if verify and (got := calculate_md5(path)) != md5:
            raise ValueError(
                f"{path} must have the md5 {md5}, got {got}. Remove it and fetch it again with dataset.download=true, "
                "or take it as it is with dataset.verify=false."
            )
        self._labels = {split: _labels(path, split, self.task.classes) for split in SPLITS}
        self._images = {
            split: FileArray(path, np.uint8, (len(labels), *self.shape[1:]), f"{split}_images")
            for split, labels in self._labels.items()
        }
        self.files = (path,)
        self.content = _checks.fingerprint([repr((self.task.classes, self.shape, _content(path))).encode()], {})

    def source(self, split: str) -> Source:
        """The films of a split.

        Raises:
            ValueError: its array of images is missing, damaged, or not of the shape.
        """
        images, label = self._images[split], self._labels[split]
        images.array  # noqa: B018  # opened here, so that processes that read share what a compressed file holds
        before = sum(len(self._labels[name]) for name in SPLITS[: SPLITS.index(split)])
        return Source(
            _image_io.FromArray(images, range(len(label)), self.shape), label, before + torch.arange(len(label))
        )

    def source_table(self, split: str) -> pd.DataFrame:
        count = len(self._labels[split])
        names = [f"{split}-{row}" for row in range(count)]
        return pd.DataFrame({"name": names, "group": names})


def _labels(path: Path, split: str, classes: Sequence[str]) -> Tensor:
    """Label matrix of the chosen classes, zeros and ones, shape (N, K)."""
    labels = arrays.npz_member(path, f"{split}_labels", np.uint8, (None, len(_nih_tables.FINDINGS)))
    if not np.isin(labels, (0, 1)).all():
        raise ValueError(f"{path} must have {split} labels of zeros and ones, got {labels.max()}.")
    columns = [_nih_tables.FINDINGS.index(name) for name in classes]  # MedMNIST's order is that of the 14 labels
    return torch.from_numpy(labels[:, columns].astype(np.float32))


def _content(path: Path) -> list[tuple[str, int, int]]:
    """Name, bytes and checksum of each array, which the archive keeps: a fingerprint without reading gigabytes."""
    with files.open_file(path) as file, zipfile.ZipFile(file) as archive:
        return sorted((info.filename, info.file_size, info.CRC) for info in archive.infolist())
