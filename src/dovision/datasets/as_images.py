"""Images in [0, 1] and their labels, from arrays, PIL images, files, and what datasets and dataloaders yield."""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import ConcatDataset, DataLoader, Dataset

from dovision import checks
from dovision.datasets import _checks, _image_io
from dovision.functional.class_names import class_positions
from dovision.interfaces import Classifier, Images
from dovision.io.images import open_image
from dovision.types import COVER, SPLITS, Preprocessing, Resize, Task

log = logging.getLogger(__name__)
PROCESSED = "pixel_values"  # the key under which processors of Hugging Face put images, which they have normalised
_IMAGE_KEYS = (PROCESSED, "image", "images", "img")
_LABEL_KEYS = ("label", "labels", "target", "targets")
_CHANNELS = (1, 3, 4)  # that an axis of a NumPy array may have, to be that of the channels
_FLOATS = (float, np.float16, np.float32, np.float64, torch.float16, torch.bfloat16, torch.float32, torch.float64)
_ROUNDING = 1e-4  # pixel units by which an image may leave [0, 1] once its normalisation is undone
_MOST = 0.75  # of [0, 1], which images span; normalised ones that do nearly always leave it
_REMEDY = "If they are normalised, give mean and std, to ImageData or to the callback: that is undone."
Size = int | tuple[int, int] | Preprocessing | None


class Labelled(NamedTuple):
    """Images with their labels, as somebody holds them."""

    image: Any
    label: Any = None  # None: unknown
    processed: bool = False  # normalised, as a processor of Hugging Face does it


def image_and_label(got: Any) -> Labelled:
    """Separate images and labels of an item, of a batch, or of all data.

    Args:
        got: a pair (what follows is left out), a mapping, a list of these, or images alone.

    Raises:
        ValueError: a mapping does not say which of its values are images, or labels; some images lack a label.
    """
    if isinstance(got, list) and got and isinstance(got[0], (tuple, Mapping)):
        items = [image_and_label(item) for item in got]
        labels = [item.label for item in items if item.label is not None]
        if labels and len(labels) < len(items):
            raise ValueError(f"images must all have a label, or none, got {len(labels)} of {len(items)} with one.")
        return Labelled([item.image for item in items], labels or None, items[0].processed)
    if isinstance(got, Mapping):
        image = _key(got, _IMAGE_KEYS, "images")
        if image is None:
            raise ValueError(
                f"a mapping must have its images under one of {', '.join(_IMAGE_KEYS)}, got {', '.join(map(str, got))}."
            )
        label = _key(got, _LABEL_KEYS, "labels")
        return Labelled(got[image], None if label is None else got[label], image == PROCESSED)
    if isinstance(got, (tuple, list)) and len(got) > 1 and _labels_follow(got):
        return Labelled(got[0], got[1])
    alone = isinstance(got, (tuple, list)) and len(got) == 1 and getattr(got[0], "ndim", 0) == 4
    return Labelled(got[0] if alone else got)


def _key(got: Mapping[str, Any], usual: Sequence[str], name: str) -> str | None:
    keys = [key for key in usual if key in got]
    if not keys:
        pictures = name == "images"
        keys = [key for key in got if (isinstance(got[key], Image.Image) if pictures else "label" in str(key))]
        if not pictures and keys:
            raise ValueError(f"a mapping must have its labels under one of {', '.join(usual)}, got {', '.join(keys)}.")
    if len(keys) > 1:
        raise ValueError(f"a mapping must have one value of {name}, got {' and '.join(keys)}. Leave one of them out.")
    return keys[0] if keys else None


def _labels_follow(got: Sequence[Any]) -> bool:
    """Return whether the second of several values holds labels of the first, and is no image beside it."""
    first, second = got[:2]
    if isinstance(second, (str, Path)):  # of a tuple the name of a class, of a list a path
        return isinstance(got, tuple)
    if hasattr(second, "ndim"):  # of a tensor, an array, or what pandas has
        return bool(second.ndim < getattr(first, "ndim", 3) and second.ndim < 3)
    if isinstance(second, (list, tuple, range)):
        return not any(isinstance(item, (Image.Image, Path, Mapping)) or getattr(item, "ndim", 0) for item in second)
    return second is None or isinstance(second, (bool, float, Integral))


def unit_images(
    images: Any,
    mean: Iterable[float] | None = None,
    std: Iterable[float] | None = None,
    size: Size = None,
    channels: int | None = None,
    resize: Resize = COVER,
    white: int | None = None,
) -> Tensor:
    """Images in [0, 1], shape (B, C, H, W), float.

    Args:
        images: a tensor, shape (B, C, H, W) or (C, H, W); a NumPy array of these shapes, or with channels last, or
            (H, W); of 8 bits or float. A PIL image; the path of a file or of a folder; or a list of any of these.
        mean, std: by which float images were normalised, one number or one a channel, in pixel units; undone. None:
            they were not.
        size: height and width, or one number for both, that images are brought to as the commands do: resized with
            antialiasing to cover it, and their centre taken; or a classifier's `preprocessing`. None: they
            have one size.
        channels: 1 (grey) or 3 (RGB) of PIL images and files; None: 1 if all are grey, or else 3.
        resize: how they are brought to the size, unless that says it.
        white: value that becomes 1 in PIL images and files of more than 8 bits; None: as of `white_of` these.

    Raises:
        ValueError: it is not clear what they are: their axes, their range, their size; there is none.
    """
    if isinstance(images, (str, Path)):
        images = image_and_label(files_of(images)).image
    if isinstance(images, (list, tuple)) and len(images) and isinstance(_first(images), (bool, float, Integral)):
        images = _array("images", images)
    undo = None if mean is None and std is None else (_per_channel(mean, 0.0), _per_channel(std, 1.0))
    if not isinstance(images, (list, tuple)):
        value = _float_image(images, undo, channels or 3 - 2 * is_grey(images), white or white_of([images]))
        return _sized(value if value.ndim == 4 else value.unsqueeze(0), size, resize)
    if not images:
        raise ValueError("images must be at least one, got none.")
    chosen = channels or (1 if all(map(is_grey, images)) else 3)
    white = white or white_of(images)
    listed = [_sized(_float_image(image, undo, chosen, white), size, resize) for image in images]
    check_shapes(image.shape for image in listed)
    return torch.stack(listed)


def check_shapes(shapes: Iterable[Sequence[int]]) -> None:
    """Raise unless images have one shape, (C, H, W)."""
    counts = Counter(map(tuple, shapes))
    if len(counts) > 1 or len(next(iter(counts))) != 3:
        got = " and ".join(map(str, [*counts][:2]))
        raise ValueError(
            f"images must have one shape (C, H, W), got {got}. Give the size that they are brought to: size=224 of "
            "ImageData or to_batch, or, for PIL images and files, the classifier's preprocessing."
        )


def images_of(
    item: Labelled,
    classifier: Classifier | None,
    mean: Iterable[float] | None = None,
    std: Iterable[float] | None = None,
    size: Size = None,
    channels: int | None = None,
    white: int | None = None,
) -> Tensor:
    """Images of an item, a batch or all data, as of `unit_images`.

    Without a size, PIL images and files are brought to the classifier's `preprocessing`, if it has one; tensors and
    arrays are taken as they are.

    Args:
        item: the images.
        classifier: whose mean and std have normalised what is `processed`, where none are given; None: unknown.
        mean, std, size, channels, white: as of `unit_images`.

    Raises:
        ValueError: as of `unit_images`; or what a processor is to have normalised spans most of [0, 1].
    """
    if size is None and classifier is not None and classifier.preprocessing is not None and is_picture(item.image):
        size = classifier.preprocessing
    by_processor = item.processed and mean is None and std is None
    if by_processor and classifier is not None:
        mean, std = classifier.mean.flatten().tolist(), classifier.std.flatten().tolist()
    images = unit_images(item.image, mean, std, size, channels, white=white)
    value = _first(item.image)
    given_as_floats = getattr(value, "dtype", type(value)) in _FLOATS
    if given_as_floats and mean is not None and _per_channel(mean, 0.0).any():
        value = (images - _per_channel(mean, 0.0).to(images)) / _per_channel(std, 1.0).to(images)
        low, high = (bound.item() for bound in torch.aminmax(value))
        if low >= -_ROUNDING and high <= 1 + _ROUNDING and high - low > _MOST:
            if by_processor:
                raise ValueError(
                    f"{PROCESSED} must be normalised by the classifier's mean and std, but lie in [{low:.2f}, "
                    f"{high:.2f}]. Say that they are not, mean=0 and std=1, put them under 'image', or give both."
                )
            warnings.warn("images lie in [0, 1], as if mean and std, which are undone, were not theirs.", stacklevel=2)
    return images


def files_of(path: str | Path) -> list[tuple[Path, str | None]]:
    """Pictures of a file or a folder, each with the name of its class, if the folder has pictures in subfolders alone.

    Raises:
        ValueError: there is no such file or folder, or no picture.
    """
    from dovision.datasets.image_folder import listed_images

    root = Path(path).expanduser()
    if not root.exists():
        raise ValueError(f"images must be a file or a folder that exists, got {str(path)!r}.")
    folders = sorted(inner for inner in root.iterdir() if inner.is_dir()) if root.is_dir() else []
    pictures: list[tuple[Path, str | None]] = [(picture, None) for picture in listed_images(root)]
    if not pictures:
        visible = [folder for folder in folders if not folder.name.startswith(".")]
        pictures = [(picture, folder.name) for folder in visible for picture in listed_images(folder)]
    if not pictures:
        raise ValueError(f"images must be a folder with pictures, got {str(path)!r}, which has none.")
    return pictures


def is_picture(images: Any) -> bool:
    """Return whether images are PIL images or files, by the first of them."""
    return isinstance(_first(images), (Image.Image, str, Path))


def is_grey(image: Any) -> bool:
    """Return whether a PIL image or a file is grey; also true of what is neither."""
    if isinstance(image, (str, Path)):
        try:
            return is_grey(open_image(Path(image)))
        except (OSError, ValueError):  # a medical file, or none that can be read
            return True
    return not isinstance(image, Image.Image) or image.mode in _image_io.GREY_MODES


def white_of(images: Sequence[Any]) -> int:
    """White level of PIL images and of files, by a sample of them; see `_image_io.white_level`."""
    pictures = [image for image in images if isinstance(image, (str, Path, Image.Image))]
    return _image_io.sampled_white(
        pictures, lambda image: image if isinstance(image, Image.Image) else open_image(Path(image))
    )


def label_tensor(label: Any, images: int, task: Task, names: Sequence[str] = ()) -> Tensor:
    """Labels as of `Batch`, on the CPU, from numbers or names of classes.

    Args:
        label: a tensor, an array, a list, or the label of one image; None: unknown.
        images: their number.
        task: of the classifier.
        names: of the classes that numbers stand for, as the data have them. They are those of the classifier in another
            order, or some of them; if none is, its classes are taken to be in the same order.

    Raises:
        ValueError: they are not of these images or of this task.
    """
    if label is None:
        return task.unknown(images)
    if isinstance(label, Tensor):
        value = label.cpu()
    else:
        array = _array("labels", np.where(label.mask, None, label.data) if np.ma.is_masked(label) else label)
        array = array.astype(str) if array.dtype.kind == "S" else array
        if array.dtype.kind in "UO":
            flat, numbers = array.ravel().tolist(), {}
            if all(isinstance(name, str) or name is None for name in flat):
                named, names = sorted(set(flat) - {None}), ()
                numbers = dict(zip(named, class_positions(named, task.classes), strict=True))
                for name in [name for name, number in numbers.items() if number is None]:
                    checks.choice("labels", name, task.classes)
            blank = np.nan if task.multilabel else -1
            labels = [blank if item is None else numbers[item] if numbers else item for item in flat]
            array = np.asarray(labels).reshape(array.shape)
        if array.dtype.kind not in "biuf":
            raise ValueError(f"labels must be numbers or names of classes, not both, got {checks.in_words(label)}")
        value = torch.from_numpy(np.array(array))
    value = value.reshape(images) if value.ndim == 0 else value
    is_single = value.numel() == images and (len(task.classes) == 1 or task.opposite is not None)
    if task.multilabel:
        value = value.reshape(images, 1) if is_single else value.unsqueeze(0) if value.ndim == images == 1 else value
        value = value if value.is_floating_point() else value.float()
    else:
        value = value.reshape(images) if is_single else value  # as binary losses take them
        number = value.nan_to_num(nan=-1)  # of a table that lacks some, a float
        if number.ndim == 1 and (number == number.long()).all() and (number.dtype != torch.bool or task.opposite):
            value = _by_name(number.long(), task, names)
    return checks.labels(value, images, len(task.classes), task.multilabel, "labels", unknown=True)


def _array(name: str, listed: Any) -> npt.NDArray[Any]:
    try:
        return np.asarray(listed)
    except ValueError as error:
        raise ValueError(f"{name} must be of one shape, got several. Images come first: (images, labels).") from error


def _by_name(label: Tensor, task: Task, names: Sequence[str]) -> Tensor:
    positions = class_positions(names, task.classes)
    in_other_case = {name.casefold() for name in names} & {name.casefold() for name in task.classes}
    if not in_other_case and not any(position is not None for position in positions):
        if names and len(names) != len(task.classes) and label.numel():
            raise ValueError(
                f"labels must be of the classifier's {len(task.classes)} classes, got {len(names)} of other names, as "
                f"{names[0]!r}. Name the classes of the classifier as the data do."
            )
        if names and not all(name.isdigit() for name in task.classes):
            warnings.warn(
                f"no class of the data is one of the classifier's: labels are taken by number, {names[0]!r} as "
                f"{task.classes[0]!r} and so on. If the order differs, name the classes of both alike.",
                stacklevel=2,
            )
        return label
    if None in positions:
        other = names[positions.index(None)]
        raise ValueError(
            f"labels must be of the classifier's classes, got {other!r}.{checks.suggestion(other, task.classes)}"
        )
    numbers = torch.tensor([*positions, -1], device=label.device)
    return numbers[label.clamp(-1)]


def is_read_later(data: Any) -> bool:
    """Return whether data are a dataset or a dataloader; those of Hugging Face are of no class of PyTorch."""
    return isinstance(data, (Images, DataLoader, Dataset)) or (
        hasattr(data, "features") and hasattr(data, "__getitem__") and hasattr(data, "__len__")
    )


def items_of(data: Any) -> list[Labelled]:
    """Items of a dataset, batches of a loader, or other images at once, each with its label."""
    if isinstance(data, (str, Path)):
        data = files_of(data)
    if isinstance(data, DataLoader):
        return [image_and_label(batch) for batch in data]
    return [image_and_label(data[n]) for n in range(len(data))] if is_read_later(data) else [image_and_label(data)]


def has_splits(data: Any) -> bool:
    """Return whether data are a mapping from splits, by their names or since it has datasets, loaders or pairs."""
    return isinstance(data, Mapping) and (
        {*data} <= {*SPLITS, "validation"}
        or all(is_read_later(held) or isinstance(held, tuple) for held in data.values())
    )


def names_of_labels(data: Any) -> Sequence[str]:
    """Names of the classes that labels of a dataset stand for; empty where it has none."""
    while not hasattr(data, "classes") and not hasattr(data, "features") and hasattr(data, "dataset"):
        data = data.dataset  # of a Subset or a DataLoader
    if isinstance(data, ConcatDataset):
        lists = [list(names_of_labels(joined)) for joined in data.datasets]
        if any(names != lists[0] for names in lists):
            raise ValueError(f"labels must mean the same in each data set of a ConcatDataset, got the classes {lists}.")
        return lists[0]
    features = getattr(data, "features", None)
    if isinstance(features, Mapping):
        feature = next((features[key] for key in _LABEL_KEYS if key in features), None)
        return list(getattr(feature, "names", None) or ())
    classes = getattr(data, "classes", ())
    return (
        list(classes) if isinstance(classes, (list, tuple)) and all(isinstance(name, str) for name in classes) else ()
    )


def _first(value: Any) -> Any:
    while isinstance(value, (list, tuple)) and len(value):
        value = value[0]
    return value


def _per_channel(numbers: Iterable[float] | None, default: float) -> Tensor:
    return torch.tensor(checks.pixel_units("mean and std", default if numbers is None else numbers)).view(-1, 1, 1)


def _float_image(image: Any, undo: tuple[Tensor, Tensor] | None, channels: int, white: int) -> Tensor:
    """One image, shape (C, H, W), or a batch, in [0, 1]."""
    if isinstance(image, Image.Image):
        return _image_io.pil_pixels(image, channels, white)
    if isinstance(image, (str, Path)):
        return _image_io.pixels(Path(image), channels, _image_io.Decoding(white=white))
    if isinstance(image, np.ndarray) and image.dtype.kind in "biufc" and not np.ma.is_masked(image):
        image = torch.from_numpy(np.ascontiguousarray(_channels_first(image)))
        image = image.float() if image.is_floating_point() else image
    if not isinstance(image, Tensor):
        must = "tensors, NumPy arrays of numbers without a mask, PIL images or paths, or a list of these, got"
        raise ValueError(f"images must be {must} {checks.in_words(image)}")
    checks.dense("images", image)
    if undo is not None and image.is_floating_point():
        mean, std = (numbers.to(image) for numbers in undo)
        raw = image * std + mean
        unit = raw.clamp(0, 1)
        image = unit if (raw - unit).abs().max() <= _ROUNDING else raw
    if image.dtype == torch.uint8:
        if image.max() == 1:
            warnings.warn("no integer of an image is above 1, of 255. Give black and white as floats.", stacklevel=2)
        image = image.float() / 255
    checks.image_batch(image.unsqueeze(0) if image.ndim == 3 else image, "images", _REMEDY)
    return image


def _channels_first(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """An array of an image or a batch with its channels where torch has them."""
    if array.ndim == 2:
        return array[np.newaxis]
    if array.ndim not in (3, 4):
        raise ValueError(f"images must be arrays of 2, 3 or 4 axes, got shape {array.shape}.")
    first, last = (array.shape[axis] in _CHANNELS for axis in (-3, -1))
    if first == last:
        raise ValueError(
            f"images must have one axis of channels, of {', '.join(map(str, _CHANNELS))}, got shape {array.shape}. "
            "Grey ones need such an axis, array[:, None]; of a tensor it is the one before height and width."
        )
    return array if first else np.moveaxis(array, -1, -3)


def _sized(image: Tensor, size: Size, resize: Resize) -> Tensor:
    if size is None:
        return image
    if isinstance(size, Preprocessing):
        size, resize = size
    sides = size if isinstance(size, (tuple, list)) else (size, size)
    shape = _checks.image_shape((image.shape[-3], *sides))
    if image.ndim == 4:
        return torch.stack([_image_io.fitted(one, shape, resize) for one in image])
    return _image_io.fitted(image, shape, resize)
