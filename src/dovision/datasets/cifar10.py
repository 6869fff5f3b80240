"""CIFAR-10: 60,000 colour photographs of ten kinds of things, of 32 x 32 pixels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torchvision.datasets import CIFAR10 as Torchvision

from dovision.datasets import _checks, _splits
from dovision.datasets._download import required
from dovision.datasets.in_memory import ArrayImages

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


class Cifar10(ArrayImages):
    """The 50,000 + 10,000 photographs, read by torchvision; validation images are cut from the 50,000.

    Args:
        root: the folder that holds cifar-10-batches-py, or its archive, as published.
        task, classes, shape: of the data.
        val_fraction: share of the training images, the same of each class.
        seed: of the cut.
        download: fetch the archive if it is missing, with a progress bar; otherwise that is an error.

    Raises:
        FileNotFoundError: the files are missing; the message says where they are to be had.
        ValueError: a file is not the published one, or a fact is not what the data say.

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
        _checks.agree("shape", self.shape, (3, 32, 32))
        _splits.check_fractions(val_fraction, 0)
        train, test = (_read(Path(root), is_train, download) for is_train in (True, False))
        self.array = torch.cat([torch.from_numpy(images.data) for images in (train, test)]).permute(0, 3, 1, 2)
        labels = [*train.targets, *test.targets]
        self.label = torch.tensor(labels)
        cut = _splits.split_groups(range(len(train)), train.targets, val_fraction, 0, seed)
        self.parts = {"train": 0, "test": len(train)}
        self.rows = {**cut, "test": tuple(range(len(train), len(labels)))}
        self.files = ((Path(root) / Torchvision.base_folder).resolve(),)
        self.content = _checks.fingerprint((self.array.numpy().tobytes(), bytes(labels)), self.rows)


def _read(root: Path, train: bool, download: bool) -> Torchvision:
    """A part of the data, of which torchvision compares the checksums before it reads them; unpacked if need be."""
    if not (root / Torchvision.base_folder).is_dir():
        home = f"{Torchvision.base_folder}, or {Torchvision.filename}"
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
