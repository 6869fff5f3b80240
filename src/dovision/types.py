"""Types that all packages share: boxes, batches, tasks."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from dovision import checks

Mask = npt.NDArray[np.bool_]  # True for the pixels, or cells, that are meant
Shape = tuple[int, ...]  # of one value without the batch axis: (C, H, W) for an image or a feature map
Epsilons = float | str | Sequence[float | str]  # one or several, in pixel units; numbers or fractions such as "8/255"

BOX_COLUMNS = ["sample", "object", "label", "top", "left", "bottom", "right"]  # columns of Images.boxes
SOURCE_BOXES = ["row", *BOX_COLUMNS[1:]]  # columns of Images.source_boxes
SPLITS = ("train", "val", "test")
TASKS = ("multiclass", "multilabel")
INPUT = "input"  # the site of an edit of the image itself
SET_JOIN = "+"  # between the names of units that are set at once
MATCHED_CONTROL = " control "  # between the name of a unit, or a set, and the number of one of its matched controls
FRAME = " frame"  # ends the name of a unit of which only the frame of its region is painted
OUTSIDE = "outside"  # the unit of all that is in no mask of an image
TOKENS = "tokens"  # the site of a vision transformer's tokens, behind their position embedding
CODE = "code"  # the site of an edit of an inserted autoencoder's code


class Box(NamedTuple):
    """Rows top <= r < bottom and columns left <= c < right of an image or a feature map.

    Example:
        >>> box = dv.Box(top=1, left=2, bottom=4, right=8)
        >>> box.height, box.width, box.area
        (3, 6, 18)
    """

    top: int
    left: int
    bottom: int
    right: int

    @property
    def height(self) -> int:
        """Rows, in pixels."""
        return self.bottom - self.top

    @property
    def width(self) -> int:
        """Columns, in pixels."""
        return self.right - self.left

    @property
    def area(self) -> int:
        """Number of pixels."""
        return self.height * self.width

    @property
    def slices(self) -> tuple[slice, slice]:
        """The box as an index of an array of shape (H, W)."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def crop(self, value: Tensor) -> Tensor:
        """View of `value`, shape (..., H, W), inside the box."""
        return value[..., self.top : self.bottom, self.left : self.right]


class Resize(NamedTuple):
    """How an image of any size is brought to a shape: resized, and its centre taken.

    Example:
        >>> dv.Resize(size=256, interpolation="bicubic")
        Resize(mode='cover', size=256, interpolation='bicubic')
    """

    mode: str = "cover"  # both sides by one factor; stretch: each by its own
    size: int | None = None  # pixels of the shorter side (stretch: of both) before the crop; None: as the shape has
    interpolation: str = "bilinear"  # or bicubic, both with antialiasing

    @classmethod
    def of(cls, setting: str | Mapping[str, Any] | Resize | None) -> Resize:
        """Read a setting: a mode, or some fields by name; None is all defaults.

        Raises:
            ValueError: it is none of these.
        """
        if isinstance(setting, Resize):
            setting = setting._asdict()
        if not isinstance(setting, (str, Mapping, type(None))):
            raise ValueError(f"resize must be cover, stretch, or fields as {{size: 256}}, got {setting!r}.")
        fields = {"mode": setting} if isinstance(setting, str) else dict(setting or {})
        for name in fields:
            checks.choice("resize", str(name), cls._fields)
        resize = cls(**fields)
        checks.choice("resize", resize.mode, ("cover", "stretch"))
        checks.choice("resize.interpolation", resize.interpolation, ("bilinear", "bicubic"))
        if resize.size is not None:
            checks.positive_int("resize.size", resize.size)
        return resize

    @property
    def setting(self) -> str:
        """Value of dataset.resize for it on a command line."""
        fields = ",".join(f"{name}:{value}" for name, value in self._asdict().items() if value is not None)
        return self.mode if self == Resize(self.mode) else f"{{{fields}}}"


COVER = Resize()


class Preprocessing(NamedTuple):
    """Size of the images that a network's weights were trained on, and how images were brought to it.

    Example:
        >>> dv.Preprocessing(224, dv.Resize(size=256, interpolation="bicubic")).pixels
        224
    """

    pixels: int  # height and width
    resize: Resize = COVER

    @classmethod
    def of(cls, stored: object) -> Preprocessing:
        """Read both fields as a checkpoint stores them, each checked, since the file may be anybody's.

        Raises:
            ValueError: they are something else.
        """
        if not isinstance(stored, Mapping) or set(stored) != set(cls._fields):
            raise ValueError(f"preprocessing must be pixels and resize, got {stored!r:.200}.")
        return cls(checks.positive_int("preprocessing.pixels", stored["pixels"]), Resize.of(stored["resize"]))


class Layout(str, Enum):
    """Meaning of the axes of a site's value; N counts the images."""

    NCHW = "NCHW"  # a map, channels first
    NHWC = "NHWC"  # a map, channels last
    NTC = "NTC"  # tokens with their channels
    NCT = "NCT"  # the same, channels first
    NHTC = "NHTC"  # attention heads, tokens, and the channels of a head
    NC = "NC"  # one vector an image

    @property
    def units(self) -> tuple[str, ...]:
        """Kinds of units of a value in this layout."""
        if self in (Layout.NTC, Layout.NCT):
            return ("channel", "token")
        return {"NHTC": ("head", "token"), "NC": ("channel",)}.get(self, ("channel", "position"))

    def present(self, value: Tensor) -> Tensor:
        """View of the value as interventions see it, with channels or heads on axis 1.

        NCHW and NHWC become (N, C, H, W), NTC and NCT (N, C, T, 1), NHTC (N, heads, T, C) and NC (N, C).
        """
        if self is Layout.NHWC:
            return value.movedim(-1, 1)
        if self is Layout.NTC:
            return value.movedim(-1, 1).unsqueeze(-1)
        return value.unsqueeze(-1) if self is Layout.NCT else value

    def restore(self, value: Tensor) -> Tensor:
        """Convert a presented value back to its own layout; inverse of `present`."""
        if self is Layout.NHWC:
            return value.movedim(1, -1)
        if self is Layout.NTC:
            return value.squeeze(-1).movedim(1, -1)
        return value.squeeze(-1) if self is Layout.NCT else value


class Batch(NamedTuple):
    """Images with labels, sample numbers and groups; a dataset's item is a Batch without the leading axis.

    Example:
        >>> classifier, digits = dv.example()
        >>> digits.rows(slice(0, 3)).image.shape
        torch.Size([3, 1, 8, 8])
    """

    image: Tensor  # (B, C, H, W) float in [0, 1]
    label: Tensor  # (B,) int64, or (B, K) float for multilabel
    sample: Tensor  # (B,) int64, the place in the split's order
    group: Tensor  # (B,) int64, the patient, or the sample itself; -1: equal images are one

    def rows(self, index: slice | Tensor | Sequence[int]) -> Batch:
        """Select rows, as a Batch; its tensors may lie on several devices."""
        if not isinstance(index, Tensor):
            return Batch(*(field[index] for field in self))
        places = {device: index.to(device) for device in {field.device for field in self}}
        return Batch(*(field[places[field.device]] for field in self))

    def detached(self) -> Batch:
        """Copies without a gradient history; outside inference mode they can require gradients."""
        return Batch(*(field.detach().clone() for field in self))


def object_kind(obj: str) -> str:
    """Kind of an object: its name without the trailing number."""
    return obj.rstrip("0123456789")


@dataclass(frozen=True)
class Task:
    """Meaning of the classes: one of K (multiclass), or K independent labels (multilabel).

    A label of nan, or a class number of -1, is not known: it counts neither in the loss nor in what is right. Tasks of
    other `thresholds` are equal, since these belong to a fitted classifier and not to the data.

    Args:
        kind: multiclass or multilabel.
        classes: their names, in the order of the logits.
        thresholds: of each label, for multilabel, from which on it is predicted; a half if empty.

    Raises:
        ValueError: there are too few classes, or two of one name; the thresholds are not one for each label.

    Example:
        >>> task = dv.Task("multiclass", ("cat", "dog"))
        >>> task.number_of("dog"), task.multilabel
        (1, False)
    """

    kind: str
    classes: tuple[str, ...]
    thresholds: tuple[float, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        checks.choice("task", self.kind, TASKS)
        least = 2 if self.kind == "multiclass" else 1
        if len(self.classes) < least:
            raise ValueError(f"a {self.kind} task needs at least {least} classes, got {list(self.classes)!r}.")
        twice = [name for name, count in Counter(self.classes).items() if count > 1]
        if twice:
            raise ValueError(f"class names must differ, got {', '.join(map(repr, twice))} more than once.")
        if self.thresholds and (self.kind == "multiclass" or len(self.thresholds) != len(self.classes)):
            raise ValueError(f"a multilabel task has a threshold for each label, got {len(self.thresholds)}.")

    @property
    def multilabel(self) -> bool:
        """Return whether the classes are independent."""
        return self.kind == "multilabel"

    @property
    def opposite(self) -> str | None:
        """First of two mutually exclusive classes; its effects are the second's with the opposite sign."""
        return self.classes[0] if len(self.classes) == 2 and not self.multilabel else None

    def number_of(self, target: int | str) -> int:
        """Number, counted from 0, of a class given by name or number.

        Raises:
            ValueError: there is no such class.
        """
        if isinstance(target, str):
            return self.classes.index(checks.choice("target", target, self.classes))
        number = -1 if isinstance(target, bool) or not hasattr(target, "__index__") else operator.index(target)
        if not 0 <= number < len(self.classes):
            rule = f"the name of a class or its number, 0 to {len(self.classes) - 1}"
            raise ValueError(f"target must be {rule}, got {target!r}.")
        return number

    def targets(self, target: Any, images: int) -> Tensor:
        """Class of each image, shape (images,) int64, from one class for all, or one an image, by names or numbers.

        Raises:
            ValueError: there is no such class, or there are more or fewer than images.
        """
        listed = target.tolist() if hasattr(target, "tolist") else target
        if not isinstance(listed, (list, tuple)):
            return torch.full((images,), self.number_of(listed))
        if len(listed) != images:
            raise ValueError(f"target must be one class, or one for each of {images} images, got {len(listed)}.")
        return torch.tensor([self.number_of(item) for item in listed])

    def probability(self, logits: Tensor) -> Tensor:
        """P(y | x), shape (..., K), from logits of that shape."""
        return logits.sigmoid() if self.multilabel else logits.softmax(-1)

    def log_odds(self, logits: Tensor) -> Tensor:
        """log P(y_k | x) - log(1 - P(y_k | x)), shape (..., K), exact where the probability saturates."""
        if self.multilabel:
            return logits
        top = logits.argmax(-1, keepdim=True)
        largest = logits.gather(-1, top)
        weight = (logits - largest).exp()
        others = largest + (weight.sum(-1, keepdim=True) - weight.scatter(-1, top, 0)).log()  # but for the top's own
        return logits - others.scatter(-1, top, logits.scatter(-1, top, -torch.inf).logsumexp(-1, keepdim=True))

    def loss(self, logits: Tensor, label: Tensor) -> Tensor:
        """Cross-entropy, or the sum of the known labels' binary cross-entropies, in nats; shape (B,)."""
        if self.multilabel:
            is_known = label.isfinite()
            loss = F.binary_cross_entropy_with_logits(logits, label.nan_to_num().to(logits), reduction="none")
            return (loss * is_known).sum(-1)
        return F.cross_entropy(logits, label, reduction="none")

    def unknown(self, count: int) -> Tensor:
        """Unknown labels: (count,) int64 of -1, or (count, K) of nan for multilabel."""
        return torch.full((count, len(self.classes)), torch.nan) if self.multilabel else torch.full((count,), -1)

    def is_known(self, label: Tensor) -> Tensor:
        """Return whether an image's label, or any of its labels, is known; shape (B,) bool."""
        return label.isfinite().any(-1) if self.multilabel else label >= 0

    def label_or_prediction(self, label: Tensor, prediction: Tensor) -> Tensor:
        """Label of each image, or its prediction where the label is unknown; same shape as `label`."""
        labelled = self.is_known(label)
        return torch.where(labelled.unsqueeze(-1) if self.multilabel else labelled, label, prediction.to(label))

    def prediction(self, probability: Tensor) -> Tensor:
        """The predicted label: (B,) int64, or (B, K) int64 of zeros and ones, at the thresholds, for multilabel."""
        if not self.multilabel:
            return probability.argmax(-1)
        return (probability >= probability.new_tensor(self.thresholds or 0.5)).long()

    def correct(self, probability: Tensor, label: Tensor) -> Tensor:
        """Return whether the image's label, or each of its known labels, was predicted; shape (B,) bool."""
        hit = self.prediction(probability) == label
        return (hit | ~label.isfinite()).all(-1) if self.multilabel else hit
