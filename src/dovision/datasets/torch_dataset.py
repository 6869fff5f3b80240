"""Map-style datasets of PyTorch by their classes: of torchvision, torchxrayvision, medmnist, MONAI, or a user's."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torchvision
from torch import Tensor
from torch.utils.data import Dataset

from dovision import checks
from dovision.datasets import _checks, _image_io, _splits, as_images
from dovision.datasets.readers.manifest import Manifest, labels_from_names
from dovision.datasets.readers.record_images import LibraryImages
from dovision.functional.class_names import class_positions
from dovision.functional.rng import generator
from dovision.identity.digests import files_below
from dovision.io import files
from dovision.types import SPLITS, TASKS, Resize, Shape, Task

_MAX_BYTES = 1 << 31  # bytes of an IDX file, unzipped; MNIST's largest has 2 ** 26


@dataclass(frozen=True)
class ItemReader:
    """Images of datasets, one behind the other, in [0, 1].

    Args:
        datasets: items are pairs of an image and a label, or mappings.
        starts: of each dataset, the number of its first item.
        key: of the image in mappings; None: a usual one.
        values: that become 0 and 1; None: images are of 8 bits, or in [0, 1].
    """

    datasets: Sequence[Any]
    starts: Sequence[int]
    key: str | None
    values: tuple[float, float] | None
    shape: Shape
    resize: Resize
    white: int = _image_io.DEEP_WHITE

    def __call__(self, number: int) -> Tensor:
        image = self.item(number)
        if self.values is not None:
            low, high = self.values
            image = (torch.as_tensor(np.asarray(image, dtype=np.float32)) - low) / (high - low)
        if getattr(image, "ndim", 3) == 2:
            image = image[None]
        (unit,) = as_images.unit_images(image, channels=self.shape[0], white=self.white)
        if len(unit) not in (1, self.shape[0]):
            raise ValueError(f"shape must have the {len(unit)} channels of the images, got {list(self.shape)}.")
        unit = _image_io.fitted(unit, (len(unit), *self.shape[1:]), self.resize)
        return unit.expand(self.shape)

    def item(self, number: int) -> Any:
        """Image of an item as its dataset has it."""
        index = next(index for index, start in reversed([*enumerate(self.starts)]) if start <= number)
        item = self.datasets[index][number - self.starts[index]]
        return item[self.key] if self.key is not None else as_images.image_and_label(item).image


class TorchDataset(LibraryImages):
    """Images of any class of map-style datasets, with this package's splits, groups and identity.

    An item is a pair of an image and a label, or a mapping; an image a PIL image, a path, an array or a tensor, as of
    `ImageData`. Labels are those of the attribute `label`, or `targets` or `labels`, else of each item, which is read.
    The content is that of the files below `root` and of other paths among the arguments, or, where there are none, of
    all images.

    Args:
        source: makes the dataset: a class or function with its arguments, except those of `splits`.
        root: the folder of the files, which `source` gets if it takes a root; None: it takes other paths.
        splits: arguments of each split, such as {train: {train: true}, test: {train: false}}; None: all is cut.
        task, classes, shape: of the data; classes may be some of the dataset's, for multilabel; 1 or 3 channels.
        image: key of the image in items that are mappings; None: a usual one, such as image.
        label: name of an attribute with all labels, or of the key of items; None: a usual one.
        group: name of an attribute with the group of each item, such as csv.patientid; None: each is its own.
        values: numbers that become 0 and 1, such as [-1024, 1024]; None: images are of 8 bits, or in [0, 1].
        val_images: images of train that are drawn for val; None: `val_fraction`.
        val_fraction, test_fraction, seed, leaking: of the cut, as of `_splits.Cut`.
        white_level: value that becomes 1 in grey files of more than 8 bits; None: as of `_image_io.white_level`.
        resize: how images are brought to the shape, as of `Resize.of`; None: resized to cover it.

    Raises:
        ValueError: the class refuses its arguments; a label is no class; a group or an image is missing.

    Example:
        >>> import dovision as dv
        >>> source = {"_target_": "torchvision.datasets.FakeData", "size": 40, "image_size": [3, 8, 8]}
        >>> classes = [str(number) for number in range(10)]
        >>> settings = {"source": source, "classes": classes, "shape": [3, 8, 8]}
        >>> dataset = dv.component("dataset", "torch_dataset", settings)
        >>> dataset.split("test")[0].image.shape
        torch.Size([3, 8, 8])
    """

    def __init__(
        self,
        source: Callable[..., Any],
        root: str | None,
        splits: Mapping[str, Mapping[str, Any]] | None,
        task: str,
        classes: Sequence[str] | None,
        shape: Sequence[int],
        image: str | None,
        label: str | None,
        group: str | None,
        values: Sequence[float] | None,
        val_images: int | None,
        val_fraction: float,
        test_fraction: float,
        seed: int,
        leaking: str,
        white_level: int | None,
        resize: str | Mapping[str, Any] | None = None,
    ) -> None:
        self.task = _checks.task(task, classes, TASKS, "a dataset of PyTorch")
        self.shape, self.resize = _image_io.grey_or_rgb_shape(shape), Resize.of(resize)
        by_split = _opened(source, root, splits)
        datasets, lengths = [*by_split.values()], [*map(len, by_split.values())]
        self.labels = torch.cat([_labels(data, label, self.task) for data in datasets])
        self.records = _records(by_split, group)
        ends = None if values is None else (float(values[0]), float(values[1]))
        reader = ItemReader(datasets, [0, *accumulate(lengths)][:-1], image, ends, self.shape, self.resize)
        white = white_level or _image_io.DEEP_WHITE
        if white_level is None and as_images.is_picture(reader.item(0)):
            sample = np.random.default_rng(0).permutation(sum(lengths))[: _image_io.SAMPLE].tolist()
            white = as_images.white_of([reader.item(number) for number in sample])
        self.read = replace(reader, white=white)
        given = None if splits is None else [split for split, data in by_split.items() for _ in range(len(data))]
        self.cut(given, _splits.Cut(val_fraction, test_fraction, seed, leaking))
        if val_images is not None:
            self.rows = _with_drawn_val(self.rows, val_images, seed)
        self.read(0)
        arguments = {**getattr(source, "keywords", {}), "root": root}
        paths = [Path(value) for value in arguments.values() if isinstance(value, str) and Path(value).exists()]
        plain = [item for item in sorted(arguments.items()) if item[1] not in map(str, paths)]
        pixels = [] if paths else [self.read(number).numpy().tobytes() for number in range(sum(lengths))]
        below = {file for path in paths for file in (files_below(path) if path.is_dir() else [path])}
        self.identify([white, ends, image, splits, plain, *pixels], sorted(below), paths)

    @classmethod
    def found_classes(cls, settings: Mapping[str, Any]) -> list[str]:
        """Class names of the dataset, for a configuration without any."""
        data = next(iter(_of_settings(settings).values()))
        if names := _class_names(data):
            return names
        labels = np.asarray(_all_labels(data, settings["label"]))
        if labels.dtype.kind in "UO":
            return sorted(set(labels.ravel().tolist()))
        return [str(number) for number in range(labels.shape[1] if labels.ndim == 2 else int(labels.max()) + 1)]

    @classmethod
    def found_channels(cls, settings: Mapping[str, Any]) -> int:
        """Channels of the images if the configuration has none, by the first: 1 if it is grey."""
        data = next(iter(_of_settings(settings).values()))
        image = ItemReader([data], [0], settings["image"], None, (3, 1, 1), Resize()).item(0)
        if getattr(image, "ndim", 0) in (2, 3):
            return 1 if image.ndim == 2 or 1 in (image.shape[0], image.shape[-1]) else 3
        return 1 if as_images.is_grey(image) else 3


class MNIST(Dataset[tuple[Tensor, int]]):
    """Digits of a pair of IDX files, gzipped or not; torchvision's class wants them unzipped.

    Args:
        root: the folder of the files, at any depth.
        train: whether it is the pair of train, or that of t10k.
        download: have torchvision fetch the files where there are none.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is none, or labels are not as many as images.

    Example:
        >>> dv.MNIST("nowhere", train=True)
        Traceback (most recent call last):
            ...
        FileNotFoundError: root must hold train-images-idx3-ubyte, gzipped or not, got ...
    """

    def __init__(self, root: str, train: bool, download: bool = False) -> None:
        if download and not any(Path(root).rglob("t10k-labels-idx1-ubyte*")):
            torchvision.datasets.MNIST(root, download=True)
        stem = "train" if train else "t10k"
        self.data = _idx(Path(root), f"{stem}-images-idx3-ubyte", 3)
        self.targets = _idx(Path(root), f"{stem}-labels-idx1-ubyte", 1)
        if len(self.data) != len(self.targets):
            got = f"{len(self.targets):,} for {len(self.data):,}"
            raise ValueError(f"{stem}-labels-idx1-ubyte must have a label for each image, got {got}.")

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        return self.data[number, None], int(self.targets[number])


def _idx(root: Path, name: str, axes: int) -> Tensor:
    """Values of an IDX file of bytes."""
    path = next((path for ending in ("", ".gz") for path in sorted(root.rglob(name + ending))), None)
    if path is None:
        raise FileNotFoundError(
            f"root must hold {name}, gzipped or not, got {root.resolve()}. Set dataset.root, or "
            "dataset.source.download=true, which fetches MNIST."
        )
    data = files.unzipped(path, _MAX_BYTES) if path.suffix == ".gz" else files.read_bytes(path, _MAX_BYTES)
    lengths = np.frombuffer(data[4 : 4 + 4 * axes], ">u4").tolist()
    start = 4 + 4 * axes
    if data[:4] != bytes([0, 0, 8, axes]) or len(lengths) != axes or len(data) != start + math.prod(lengths):
        raise ValueError(
            f"{path} must be a whole IDX file of bytes with {axes} axes, got something else. Fetch it again."
        )
    return torch.from_numpy(np.frombuffer(data, np.uint8, offset=start).reshape(lengths).copy())


def _of_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    from dovision.config.component import Component  # which imports Hydra

    source = Component("dataset.source", {**settings["source"], "_partial_": True}).make()
    return _opened(source, settings["root"], settings["splits"])


def _opened(
    source: Callable[..., Any], root: str | None, splits: Mapping[str, Mapping[str, Any]] | None
) -> dict[str, Any]:
    """Dataset of each split, by its arguments; without splits that of all, by the name train."""
    called = source.func if isinstance(source, partial) else source
    arguments = {} if root is None or "root" not in inspect.signature(called).parameters else {"root": root}
    opened = {}
    for split in splits or ("train",):
        checks.choice("splits", split, SPLITS)
        try:
            opened[split] = source(**arguments, **((splits or {}).get(split) or {}))
            len(opened[split])
        except FileNotFoundError:
            raise
        except Exception as error:  # whatever the class of somebody else makes of its arguments
            raise ValueError(
                f"source must make a dataset with a length, got {type(error).__name__}: {str(error).rstrip('.')}. Set "
                "the arguments of its class: dataset.source.NAME=VALUE, and dataset.splits."
            ) from error
    return opened


def _records(by_split: Mapping[str, Any], group: str | None) -> pd.DataFrame:
    names = [f"{split}-{number}" for split, data in by_split.items() for number in range(len(data))]
    groups: list[str] = names
    if group is not None:
        try:
            cells = [cell for data in by_split.values() for cell in attrgetter(group)(data)]
        except AttributeError as error:
            raise ValueError(f"group must be an attribute of the dataset, got {group!r}: {error}.") from error
        if len(cells) != len(names):
            raise ValueError(f"group must have the group of each of {len(names):,} items, got {len(cells):,}.")
        known = pd.Series(cells).astype(object)
        groups = known.astype(str).where(known.notna(), names).tolist()
    return pd.DataFrame({"number": range(len(names)), "name": names, "group": groups})


def _all_labels(data: Any, label: str | None) -> Any:
    """Labels of all items, by an attribute or item by item."""
    for name in ("targets", "labels") if label is None else [label]:
        labels = getattr(data, name, None)
        if labels is not None and len(labels) == len(data):
            return labels
    items = (data[number] for number in range(len(data)))
    return [as_images.image_and_label(item).label if label is None else item[label] for item in items]


def _labels(data: Any, label: str | None, task: Task) -> Tensor:
    """Labels by the classes of the task, shape (N,), or for multilabel (N, K) float, nan if unknown.

    Raises:
        ValueError: a label is no class.
    """
    labels, names = np.asarray(_all_labels(data, label)), _class_names(data)
    positions = class_positions(task.classes, names)
    if task.multilabel:
        matched = [position for position in positions if position is not None]
        is_named = len(matched) == len(positions)
        columns = matched if is_named else list(range(len(task.classes)))
        if labels.ndim != 2 or labels.shape[1] != len(names if is_named else columns):
            raise ValueError(f"labels must be of shape (N, {len(task.classes)}) for multilabel, got {labels.shape}.")
        return torch.from_numpy(labels[:, columns].astype(np.float32))
    labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    is_number = labels.dtype.kind in "iu"
    if is_number and not (names and None not in positions):
        names = list(task.classes)  # numbers are those of the classes
    cells = [names[cell] if is_number and 0 <= cell < len(names) else str(cell) for cell in labels.tolist()]
    return labels_from_names(Manifest(Path(type(data).__name__), pd.DataFrame({"label": cells})), "label", task)


def _class_names(data: Any) -> list[str]:
    """Names of classes that the dataset has, in the order of its labels."""
    names = getattr(data, "classes", getattr(data, "pathologies", ()))
    return list(map(str, names)) if isinstance(names, (list, tuple)) else []


def _with_drawn_val(rows: Mapping[str, Sequence[int]], count: int, seed: int) -> dict[str, tuple[int, ...]]:
    """Rows with so many of train and val drawn for val, whatever their class."""
    both = sorted((*rows["train"], *rows["val"]))
    if checks.positive_int("val_images", count) >= len(both):
        raise ValueError(f"val_images must be below {len(both):,}, the number of training images, got {count:,}.")
    order = [both[position] for position in torch.randperm(len(both), generator=generator(seed)).tolist()]
    return {"train": tuple(sorted(order[count:])), "val": tuple(sorted(order[:count])), "test": tuple(rows["test"])}
