"""Readings of what a network returns: logits by name, and numbers of segmentations and detections as logits.

A number p in [0, 1], such as the share of a class or the score of a box, is returned as its logit, log p - log(1 - p):
in a multilabel task, whose probabilities are the sigmoid of logits, effects are changes of that number.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx

from dovision import checks
from dovision.types import Box, Task

Reading = Callable[[Any], Tensor]  # from what a network returns for B images to logits, shape (B, K)
_EXAMPLE = 'a function of what the network returns, or a name in it such as "logits", "[0]", "out" or "probability"'
_LEAST = 1e-6  # of a number in [0, 1] whose logit is taken, and of its distance from 1: the logit is at most 13.8
_ROUNDING = 1e-3  # by which probabilities may leave [0, 1] or sum to something else than 1
_STEP = re.compile(r"\[(-?\d+)\]|\.?([^\W\d]\w*)")


def reading(output: str | Sequence[int] | Reading | None) -> Reading:
    """The function that extracts logits from a network's output.

    Args:
        output: such a function; or names and numbers on the way to the logits, such as "logits", "[0]", "heads.age" or
            "out[0]"; [0], as YAML reads it, is "[0]"; "probability" of a network that ends in a softmax or a sigmoid.
            None: what the network returns, its `logits`, as those of Hugging Face, or the only matrix in it.

    Raises:
        ValueError: it is none of these.
    """
    if output is None:
        return own_logits
    if output == "probability":
        return probability
    if isinstance(output, Sequence) and len(output) == 1 and isinstance(output[0], int):
        output = f"[{checks.bounded('output', output[0], -(2**31), 2**31)}]"
    return Entry(output) if isinstance(output, str) else checks.function("output", output, _EXAMPLE)  # type: ignore[arg-type]


def own_logits(value: Any) -> Any:
    """The `logits` tensor of an output, or its only matrix, as (logits, attentions); otherwise the output unchanged."""
    if isinstance(value, Tensor | fx.Proxy):
        return value
    inner = value.get("logits") if isinstance(value, Mapping) else getattr(value, "logits", None)
    if isinstance(inner, Tensor | fx.Proxy):
        return inner
    entries = value.values() if isinstance(value, Mapping) else value if isinstance(value, tuple | list) else ()
    matrices = [entry for entry in entries if isinstance(entry, Tensor | fx.Proxy) and entry.ndim == 2]
    return matrices[0] if len(matrices) == 1 else value


class Entry:
    """Entry of a network's output, at the end of a path of names and numbers.

    Args:
        path: names of keys or attributes, and numbers in brackets.
    """

    def __init__(self, path: str) -> None:
        steps = list(_STEP.finditer(path))
        if not path or path.startswith(".") or "".join(step[0] for step in steps) != path:
            raise ValueError(f"output must be {_EXAMPLE}, got {path!r}.")
        self.path = path
        self.steps: list[int | str] = [int(step[1]) if step[1] else step[2] for step in steps]

    def __call__(self, value: Any) -> Any:
        for step in self.steps:
            value = self._entry(value, step)
        return value

    def _entry(self, value: Any, step: int | str) -> Any:
        if isinstance(value, Tensor):
            raise ValueError(
                f"output must name an entry of what the network returns, but {self.path!r} is looked for in a tensor. "
                "Leave it out where the network returns logits."
            )
        try:
            if isinstance(step, int) or (isinstance(value, Mapping) and step in value):
                return value[step]
            return getattr(value, step)
        except (AttributeError, IndexError, KeyError, TypeError):
            raise ValueError(
                f"output must name an entry of what the network returns, got {self.path!r}, but it returns "
                f"{described(value)}."
            ) from None


def probability(value: Any) -> Any:
    """The probabilities that a network returns, found as `own_logits` finds logits, for a `Classifier`."""
    return own_logits(value)


def task_logits(values: Any, task: Task, are_probabilities: bool) -> Any:
    """Logits, shape (B, K), from a network's logits or probabilities.

    Args:
        values: shape (B, K); or (B, 1) or (B,), of a single label, or of the second of two classes.
        task: the classes.
        are_probabilities: they lie behind the task's softmax or sigmoid.

    Raises:
        ValueError: probabilities leave [0, 1], or those of classes that exclude each other do not sum to 1.
    """
    if not isinstance(values, Tensor | fx.Proxy):
        return values
    ndim: Any = values.ndim
    if len(task.classes) < 3 and ndim < 2:
        values = values.reshape(-1, 1)
    is_single = task.opposite is not None and values.ndim == 2 and values.shape[1] == 1
    if are_probabilities:
        exclusive, limits = not (is_single or task.multilabel), torch.finfo(values.dtype)
        if isinstance(values, Tensor) and not values.is_meta:
            total = values.sum(-1) if exclusive else values.new_ones(())
            if not ((values - 0.5).abs().max() <= 0.5 + _ROUNDING and (total - 1).abs().max() <= _ROUNDING):
                raise ValueError(
                    f"the network's outputs must lie in [0, 1]{' and sum to 1' * exclusive} with output='probability', "
                    f"got {values.min():.3g} to {values.max():.3g}. Leave it out for logits, or set task='multilabel'."
                )
        values = values.clamp(limits.tiny, 1 if exclusive else 1 - limits.eps / 2)
        values = values.log() if exclusive else values.logit()
    return torch.cat([torch.zeros_like(values), values], 1) if is_single else values


class MeanLogit:
    """The mean logit of classes over a region of a segmentation: logits, shape (B, K).

    Args:
        classes: numbers of the classes, in the order of the task's; None is all.
        region: of the network's maps, in their pixels: a box, or its top, left, bottom and right; None is all.
        output: where the maps are in what the network returns, shape (B, C, H, W), as of `reading`. None: the maps
            themselves, or "out", or "logits".

    Example:
        >>> import torch
        >>> import dovision as dv
        >>> dv.MeanLogit(region=dv.Box(0, 0, 2, 2))(torch.ones(2, 3, 4, 4))
        tensor([[1., 1., 1.],
                [1., 1., 1.]])
    """

    def __init__(
        self,
        classes: Sequence[int] | None = None,
        region: Box | Sequence[int] | None = None,
        output: str | None = None,
    ) -> None:
        self.classes = None if classes is None else list(checks.channels("classes", classes))
        region = _as_box(region)
        if region is not None and not (isinstance(region, Box) and region.area):
            given = region if isinstance(region, Box) else f"a {type(region).__name__}"
            raise ValueError(f"region must be a Box of at least a pixel or None, got {given}.")
        self.region = region
        self.entry = None if output is None else Entry(output)

    def chosen(self, values: Any) -> Any:
        """Mean of the chosen classes over the region, shape (B, K), from maps, shape (B, C, H, W)."""
        values = values if self.classes is None else values[:, self.classes]
        return (values if self.region is None else self.region.crop(values)).mean((2, 3))

    def maps(self, value: Any) -> Any:
        """The maps in a network's output, shape (B, C, H, W).

        Raises:
            ValueError: there are none, or they have not these classes, or not this region.
        """
        if self.entry is not None:
            value = self.entry(value)
        elif isinstance(value, Mapping) and "out" in value:
            value = value["out"]
        else:
            value = own_logits(value)
        if not isinstance(value, fx.Proxy):
            self._check(value)
        return value

    def _check(self, maps: Any) -> None:
        name = type(self).__name__
        if not isinstance(maps, Tensor) or maps.ndim != 4:
            got = f"shape {tuple(maps.shape)}" if isinstance(maps, Tensor) else described(maps)
            raise ValueError(f"{name} needs a network that returns maps of classes, shape (B, C, H, W), got {got}.")
        count, height, width = maps.shape[1:]
        for number in self.classes or ():
            checks.bounded(f"classes of {name}", number, 0, count - 1)
        if self.region is not None and not (
            min(self.region) >= 0 and self.region.bottom <= height and self.region.right <= width
        ):
            raise ValueError(f"region must lie in the network's maps, {height} x {width}, got {self.region}.")

    def __call__(self, value: Any) -> Any:
        return self.chosen(self.maps(value))


class ClassShare(MeanLogit):
    """The mean probability of classes over a region of a segmentation, as logits, shape (B, K), for a multilabel task.

    A pixel has the probabilities that the softmax over all classes of the network gives it. Arguments as of
    `MeanLogit`.

    Example:
        >>> import torch
        >>> import dovision as dv
        >>> dv.ClassShare([1])(torch.zeros(2, 3, 4, 4)).shape
        torch.Size([2, 1])
    """

    def __call__(self, value: Any) -> Any:
        return _logit(self.chosen(self.maps(value).softmax(1)))


class BoxScore:
    """The scores of the best detections, of known boxes or anywhere, as logits, shape (B, K), for a multilabel task.

    Of each box the highest score among the detections of its label that overlap it by at least `iou`; 0 where there
    are none.

    Args:
        boxes: K boxes in pixels of the image, each also as its top, left, bottom and right, in the order of the task's
            classes; None: anywhere in the image.
        labels: the label of each, as the detector numbers them.
        iou: intersection over union from which on a detection is one of the box.

    Example:
        >>> import torch
        >>> import dovision as dv
        >>> box, score, label = torch.tensor([[0.0, 0.0, 4.0, 4.0]]), torch.tensor([0.5]), torch.tensor([1])
        >>> detections = [{"boxes": box, "scores": score, "labels": label}]
        >>> dv.BoxScore([dv.Box(0, 0, 4, 4)], [1])(detections)
        tensor([[0.]])
        >>> dv.BoxScore(None, labels=[1])(detections)
        tensor([[0.]])
    """

    def __init__(self, boxes: Sequence[Box | Sequence[int]] | None, labels: Sequence[int], iou: float = 0.5) -> None:
        everywhere = [Box(0, 0, 1, 1)] * len(labels) if boxes is None else boxes
        as_boxes: list[Box] = [_as_box(box) for box in everywhere]
        if (
            not as_boxes
            or len(as_boxes) != len(labels)
            or not all(isinstance(box, Box) and box.area for box in as_boxes)
        ):
            raise ValueError(
                f"boxes must be at least one Box of at least a pixel, with a label each, got {boxes!r} and {labels!r}."
            )
        self.boxes = torch.tensor([(box.left, box.top, box.right, box.bottom) for box in as_boxes], dtype=torch.float)
        self.labels = torch.tensor([checks.count("labels", label) for label in labels])
        self.iou = 0.0 if boxes is None else checks.within("iou", iou, 0, 1)  # of which all detections are a match

    def __call__(self, value: Any) -> Tensor:
        if not isinstance(value, Sequence) or not all(_is_detection(one) for one in value):
            raise ValueError(
                "BoxScore needs a network that returns boxes, labels and scores of each image, as torchvision's "
                f"detectors in eval mode, got {described(value)}."
            )
        return _logit(torch.stack([self._scores(**{key: one[key] for key in _DETECTION}) for one in value]))

    def _scores(self, boxes: Tensor, labels: Tensor, scores: Tensor) -> Tensor:
        """The score of each known box in one image, shape (K,), from N detections; boxes are x, y, x, y."""
        from torchvision.ops import box_iou  # for which a completed run does not wait

        matched = box_iou(self.boxes.to(boxes), boxes) >= self.iou
        matched &= self.labels.to(labels)[:, None] == labels
        return torch.cat([(matched * scores), scores.new_zeros(len(matched), 1)], 1).amax(1)


def _as_box(region: Any) -> Any:
    """Convert four whole numbers, as in YAML, to a box; return anything else unchanged."""
    if isinstance(region, Sequence) and len(region) == 4 and all(type(end) is int for end in region):
        return Box(*region)
    return region


_DETECTION = ("boxes", "labels", "scores")


def _is_detection(value: object) -> bool:
    return isinstance(value, Mapping) and all(isinstance(value.get(key), Tensor) for key in _DETECTION)


def _logit(number: Any) -> Any:
    number = number.clamp(_LEAST, 1 - _LEAST)
    return number.log() - (1 - number).log()


def described(output: object) -> str:
    """Describe a network's output in a sentence."""
    class_name = type(output).__name__
    if isinstance(output, Mapping):
        return f"a {class_name} with the keys {', '.join(repr(key) for key in output)}"
    return f"a {class_name} of {len(output)}" if isinstance(output, tuple | list) else f"a {class_name}"


def remedy(output: object) -> str:
    """Sentence on how to read logits from an output that is not a tensor of logits."""
    if isinstance(output, list | tuple) and output and _is_detection(output[0]):
        return "Take the best scores of labels: output=BoxScore(None, labels), of known boxes too; task='multilabel'."
    return f"Name its logits: output={_probable_logits(output)!r}, or a function that returns them."


def _probable_logits(output: object) -> str:
    """Guess the path of the logits in an output."""
    if isinstance(output, Mapping):
        return next((key for key in ("logits", "out", "output", *output) if key in output), "logits")
    if isinstance(output, list | tuple) and not hasattr(output, "_fields"):
        return "[0]"
    return next(iter([*getattr(output, "_fields", ()), *getattr(output, "__dict__", ())]), "logits")
