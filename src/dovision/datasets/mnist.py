"""MNIST, or any dataset in its four IDX files, from disk or downloaded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor
from torchvision.datasets import MNIST as Torchvision

from dovision import checks
from dovision.datasets import _checks
from dovision.datasets._download import required
from dovision.datasets.in_memory import in_memory
from dovision.functional.rng import generator
from dovision.interfaces import Images, Source
from dovision.io import files

_MAX_BYTES = 1 << 31  # bytes of a file, unzipped; MNIST's largest has 2 ** 26


class MNIST(Images):
    """The 60,000 + 10,000 digits; validation images are cut from the 60,000.

    Args:
        root: the folder that holds MNIST/raw, as torchvision lays it out; files may be gzipped, and are not altered.
        task, classes, shape: facts.
        val_images: images cut from the training files.
        seed: of the cut.
        download: fetch what is missing, with a progress bar; otherwise that is an error.

    Raises:
        FileNotFoundError: a file is missing; the message says where it is to be had.
        ValueError: a file is wrong or truncated, or a fact is not what the data say.

    Source: LeCun, Cortes, Burges, The MNIST database of handwritten digits, 1998.

    Example:
        >>> import dovision as dv
        >>> dv.component("dataset", "mnist", {"root": "nowhere"})
        Traceback (most recent call last):
            ...
        ValueError: dataset.mnist: train-images-idx3-ubyte.gz is not ...
    """

    def __init__(
        self,
        root: str,
        task: str,
        classes: Sequence[str],
        shape: Sequence[int],
        val_images: int,
        seed: int,
        download: bool,
    ) -> None:
        self.task = _checks.task(task, classes, ("multiclass",), "MNIST")
        self.shape = _checks.image_shape(shape)
        folder = Path(root) / "MNIST" / "raw"
        located = {name: _locate(folder, name, download) for name, _ in Torchvision.resources}
        self._train, self._test = (
            self._arrays(located[f"{stem}-images-idx3-ubyte.gz"], located[f"{stem}-labels-idx1-ubyte.gz"])
            for stem in ("train", "t10k")
        )
        count = len(self._train[1])
        if checks.positive_int("val_images", val_images) >= count:
            raise ValueError(f"val_images must be below {count:,}, the number of training images, got {val_images:,}.")
        order = torch.randperm(count, generator=generator(seed)).tolist()
        self._rows = {
            "train": tuple(sorted(order[val_images:])),
            "val": tuple(sorted(order[:val_images])),
            "test": tuple(range(len(self._test[1]))),
        }
        arrays = (array.numpy().tobytes() for pair in (self._train, self._test) for array in pair)
        self.files = (folder.resolve(),)
        self.content = _checks.fingerprint(arrays, self._rows)

    def source(self, split: str) -> Source:
        image, label = self._test if split == "test" else self._train
        first = len(self._train[1]) if split == "test" else 0
        return in_memory(image, label, self._rows[split], white=255, first_group=first)

    def source_table(self, split: str) -> pd.DataFrame:
        """`name` is the file, train or test, and the number in it, such as test-0."""
        file = "test" if split == "test" else "train"
        names = [f"{file}-{row}" for row in self._rows[split]]
        return pd.DataFrame({"name": names, "group": names})

    def _arrays(self, images: Path, labels: Path) -> tuple[Tensor, Tensor]:
        image, label = read_idx(images, axes=3), read_idx(labels, axes=1)
        _checks.agree("shape", self.shape, (1, *image.shape[1:]))
        if len(image) != len(label) or not len(label):
            raise ValueError(
                f"{labels} must have a label for each image of {images}, got {len(label):,} for {len(image):,}."
            )
        if label.max() >= len(self.task.classes):
            raise ValueError(
                f"classes must name each label of {labels}, got {len(self.task.classes)} names "
                f"and a label {label.max()}."
            )
        return torch.from_numpy(image.copy()).unsqueeze(1), torch.from_numpy(label.astype(np.int64))


def _locate(folder: Path, archive: str, download: bool) -> Path:
    """The file, unzipped if it is there, else as the archive, downloaded if that is missing and allowed."""
    zipped = folder / archive
    if zipped.with_suffix("").is_file():
        return zipped.with_suffix("")
    checksum = dict(Torchvision.resources)[archive]
    return required(zipped, Torchvision.mirrors[0] + archive, checksum, download, home="MNIST/raw")


def read_idx(path: Path, axes: int) -> npt.NDArray[np.uint8]:
    """The array of unsigned bytes in an IDX file, with `axes` axes.

    Raises:
        ValueError: the file is not such a file, or truncated; the message names it.
    """
    data = (files.unzipped if path.suffix == ".gz" else files.read_bytes)(path, _MAX_BYTES)
    header = 4 + 4 * axes
    if data[:4] != bytes((0, 0, 8, axes)):
        raise ValueError(
            f"{path} must be an IDX file of bytes with {axes} axes, but starts with {data[:4].hex(' ')!r}."
        )
    lengths = np.frombuffer(data[4:header].ljust(4 * axes, b"\0"), ">u4").tolist()
    if len(data) != header + math.prod(lengths):
        raise ValueError(
            f"{path} must hold {header + math.prod(lengths):,} bytes, as its header says, got {len(data):,}. "
            "Delete it and fetch it again."
        )
    return np.frombuffer(data, np.uint8, offset=header).reshape(lengths)
