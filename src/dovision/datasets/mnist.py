"""MNIST, or any dataset in its four IDX files, from disk or downloaded."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torchvision.datasets import MNIST as Torchvision
from torchvision.datasets.mnist import read_image_file, read_label_file

from dovision import checks
from dovision.datasets import _checks
from dovision.datasets._download import required
from dovision.datasets.in_memory import ArrayImages
from dovision.functional.rng import generator
from dovision.io import files

_MAX_BYTES = 1 << 31  # bytes of a file, unzipped; MNIST's largest has 2 ** 26


class MNIST(ArrayImages):
    """MNIST's 60,000 + 10,000 digits; validation images are cut from the 60,000.

    Args:
        root: the folder that holds MNIST/raw, as torchvision lays it out; files may be gzipped, and are not altered.
        task, classes, shape: of the data.
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
        raw = (Path(root) / "MNIST" / "raw").resolve()
        read = [_read(raw, archive, download) for archive, _ in Torchvision.resources]
        (train, train_label), (test, test_label) = zip(read[::2], read[1::2], strict=True)
        self._check("train", train, train_label)
        self._check("t10k", test, test_label)
        count = len(train)
        if checks.positive_int("val_images", val_images) >= count:
            raise ValueError(f"val_images must be below {count:,}, the number of training images, got {val_images:,}.")
        order = torch.randperm(count, generator=generator(seed)).tolist()
        self.parts = {"train": 0, "test": count}
        self.rows = {
            "train": tuple(sorted(order[val_images:])),
            "val": tuple(sorted(order[:val_images])),
            "test": tuple(range(count, count + len(test))),
        }
        self.array, self.label = torch.cat([train, test]).unsqueeze(1), torch.cat([train_label, test_label])
        self.files = (raw,)
        numbers = {**self.rows, "test": range(len(test))}  # in the files
        self.content = _checks.fingerprint((file.numpy().tobytes() for file in read), numbers)

    def _check(self, stem: str, image: Tensor, label: Tensor) -> None:
        _checks.agree("shape", self.shape, (1, *image.shape[1:]))
        labels = f"{stem}-labels-idx1-ubyte"
        if len(image) != len(label) or not len(label):
            raise ValueError(
                f"{labels} must have a label for each image of {stem}, got {len(label):,} for {len(image):,}."
            )
        if label.max() >= len(self.task.classes):
            raise ValueError(
                f"classes must name each label of {labels}, got {len(self.task.classes)} names and a label "
                f"{label.max()}."
            )


def _read(raw: Path, archive: str, download: bool) -> Tensor:
    """Read the numbers in a file by torchvision; a gzipped one is unzipped to a temporary file."""
    path, axes = (raw / archive).with_suffix(""), 3 if "images" in archive else 1
    with tempfile.TemporaryDirectory() as folder:
        if not path.is_file():
            address, md5 = Torchvision.mirrors[0] + archive, dict(Torchvision.resources)[archive]
            zipped = required(raw / archive, address, md5, download, home="MNIST/raw")
            path = Path(folder) / path.name
            path.write_bytes(files.unzipped(zipped, _MAX_BYTES))
        try:
            return read_image_file(str(path)) if axes == 3 else read_label_file(str(path))
        except (AssertionError, RuntimeError, TypeError, ValueError, KeyError) as error:  # of whatever is in the file
            raise ValueError(
                f"{path.name} in {raw} must be a whole IDX file of bytes with {axes} axes, got something else. Delete "
                "it and fetch it again."
            ) from error
