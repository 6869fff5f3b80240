"""The whole design on one page: what the parts are, and what each promises to the others."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset

from dovision import checks

Shape = tuple[int, ...]  # of one value without the batch axis: (C, H, W) for an image or a feature map

INPUT = "input"  # the site of an edit of the image itself
CODE = "code"  # the site of an edit of an inserted autoencoder's code


class Box(NamedTuple):
    """Rows top <= r < bottom and columns left <= c < right of an image or a feature map."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def area(self) -> int:
        return self.height * self.width

    def crop(self, value: Tensor) -> Tensor:
        """The part of `value`, shape (..., H, W), inside the box; a view."""
        return value[..., self.top : self.bottom, self.left : self.right]


class Batch(NamedTuple):
    """Images and what is known of each; one item of a dataset is a Batch without the leading axis."""

    image: Tensor  # (B, C, H, W) float in [0, 1]
    label: Tensor  # (B,) int64, or (B, K) float for multilabel
    sample: Tensor  # (B,) int64, the row in the split
    group: Tensor  # (B,) int64, the patient, or the sample itself

    def rows(self, index: slice | Tensor | Sequence[int]) -> Batch:
        """The chosen rows, as a Batch."""
        return Batch(*(field[index] for field in self))


@dataclass(frozen=True)
class Task:
    """What the classes mean: one of K (multiclass), or K independent ones (multilabel)."""

    kind: str
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        checks.choice("task", self.kind, ("multiclass", "multilabel"))
        least = 2 if self.kind == "multiclass" else 1
        if len(self.classes) < least:
            raise ValueError(f"a {self.kind} task needs at least {least} classes, got {list(self.classes)!r}.")
        if len(set(self.classes)) < len(self.classes):
            raise ValueError(f"class names must differ, got {list(self.classes)!r}.")

    @property
    def multilabel(self) -> bool:
        return self.kind == "multilabel"

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
        """Cross-entropy, or the sum of the labels' binary cross-entropies, in nats; shape (B,)."""
        if self.multilabel:
            return F.binary_cross_entropy_with_logits(logits, label.to(logits), reduction="none").sum(-1)
        return F.cross_entropy(logits, label, reduction="none")

    def prediction(self, probability: Tensor) -> Tensor:
        """The label said: (B,) int64, or (B, K) int64 of zeros and ones, at a half, for multilabel."""
        return (probability >= 0.5).long() if self.multilabel else probability.argmax(-1)

    def correct(self, probability: Tensor, label: Tensor) -> Tensor:
        """Whether the image's label, or each of its labels, was said; shape (B,) bool."""
        hit = self.prediction(probability) == label.long()
        return hit.all(-1) if self.multilabel else hit


class Classifier(nn.Module):
    """A network with its normalisation inside: images in [0, 1] to logits, shape (B, K).

    Args:
        network: any module from normalised images, shape (B, C, H, W), to logits, shape (B, K).
        task: the classes, in the order of the logits.
        mean, std: one number for all channels, or one a channel, in pixel units.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, task: Task, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        if min(std) <= 0:
            raise ValueError(f"std must be above 0, got {list(std)!r}.")
        self.network = network
        self.task = task
        self.sites: dict[str, str] = {}  # names for sites, such as CODE, and the submodules that they stand for
        self.register_buffer("mean", torch.tensor(list(mean), dtype=torch.float32).reshape(-1, 1, 1))
        self.register_buffer("std", torch.tensor(list(std), dtype=torch.float32).reshape(-1, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        return self.network((image - self.mean) / self.std)


class Images(ABC):
    """A dataset: its task, the shape of its images, and its splits train, val and test.

    `fingerprint` is a hash of the content (not of where it lies); `bad_files` names the files left out.
    """

    task: Task
    shape: Shape
    fingerprint: str
    bad_files: tuple[str, ...] = ()

    @abstractmethod
    def split(self, name: str) -> Dataset[Batch]:
        """The images of a split as a map-style dataset; each item is a Batch without the leading axis."""

    @abstractmethod
    def table(self, name: str) -> pd.DataFrame:
        """Facts of each image of a split, a row a sample: at least `sample`, `name` and `group` (as text)."""

    def boxes(self, name: str) -> pd.DataFrame:
        """What is known to lie where, in pixels of the images: `sample`, `part`, `top`, `left`, `bottom`, `right`."""
        return pd.DataFrame(columns=["sample", "part", *Box._fields])


class Context(NamedTuple):
    """The world in which an intervention is made."""

    batch: Batch
    classifier: Classifier

    def rows(self, index: slice | Tensor | Sequence[int]) -> Context:
        """The chosen rows, as a Context."""
        return Context(self.batch.rows(index), self.classifier)


class Intervention(ABC):
    """do(u): an edit at one node of the classifier's computation graph, with a finite, named family of units."""

    site: str  # INPUT, CODE, or the name of a layer of the network, whose output is edited

    @abstractmethod
    def units(self, shape: Shape) -> tuple[str, ...]:
        """Names of the units of a value of this shape, in the order of their numbers."""

    def region(self, shape: Shape, unit: int, sample: int) -> Box | None:
        """All that do(unit) can touch on this sample; None is everything, an empty box nothing."""
        return None

    @abstractmethod
    def do(self, value: Tensor, unit: int, context: Context) -> Tensor:
        """The region's new value, shape (B, C, h, w), from the site's whole value, shape (B, C, H, W).

        Pure: `value` is not changed, and random numbers come from `generator(seed, sample, ...)` only.
        All samples of the context have the same region for this unit.
        """

    def apply(self, value: Tensor, unit: int, context: Context) -> Tensor:
        """The site's whole value after do(unit), shape (B, C, H, W), for samples of one region."""
        new = self.do(value, unit, context)
        region = self.region(tuple(value.shape[1:]), unit, int(context.batch.sample[0]))
        if region is None:
            return new
        treated = value.clone()
        region.crop(treated).copy_(new)
        return treated


class Attack(ABC):
    """An adversarial world: x -> x + delta, with |delta| <= eps in pixel units, for each epsilon of a list.

    A subclass writes `run`; this class guards the range, the budget and the classifier's state.

    Args:
        eps: one epsilon or several, numbers or fractions such as "8/255".
        norm: linf or l2.
    """

    def __init__(self, eps: float | str | Sequence[float | str], norm: str = "linf") -> None:
        self.norm = checks.choice("norm", norm, ("linf", "l2"))
        self.eps = checks.epsilons(eps, norm)

    @abstractmethod
    def run(self, batch: Batch, classifier: Classifier, eps: float) -> Tensor:
        """Attacked images, shape (B, C, H, W); called with gradients enabled and the classifier in eval mode."""

    def __call__(self, batch: Batch, classifier: Classifier, eps: float) -> Tensor:
        """Attacked images in [0, 1], within eps of `batch.image`; the image itself, bit for bit, at eps = 0.

        Leaves no gradient in the parameters, and the mode of every submodule as it was.
        """
        checks.image_batch(batch.image)
        if eps == 0:
            return batch.image
        frozen = {p: p.requires_grad for p in classifier.parameters()}
        try:
            classifier.requires_grad_(False)
            with evaluating(classifier), torch.inference_mode(False), torch.enable_grad():
                attacked = self.run(batch, classifier, eps).detach()
        finally:
            for parameter, required in frozen.items():
                parameter.requires_grad_(required)
        distance = size(attacked - batch.image, self.norm)
        if not (distance <= eps * (1 + 1e-5) + 1e-6).all() or attacked.min() < 0 or attacked.max() > 1:
            raise RuntimeError(
                f"{type(self).__name__} must stay within eps {eps:g} and in [0, 1], got {self.norm} distance "
                f"{distance.max().item():g} in [{attacked.min().item():g}, {attacked.max().item():g}]. "
                "This is a fault of the attack."
            )
        return attacked


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Eval mode for a block; after it each submodule has the mode that it had."""
    modes = {child: child.training for child in module.modules()}
    try:
        module.eval()
        yield
    finally:
        for child, training in modes.items():
            child.training = training


def size(delta: Tensor, norm: str) -> Tensor:
    """The Linf or L2 norm of each perturbation, shape (B,), in pixel units."""
    return delta.flatten(1).norm(p=torch.inf if norm == "linf" else 2, dim=1)


def generator(seed: int, *keys: int) -> torch.Generator:
    """A generator on the CPU that depends on (seed, sample, ...) alone: not on batch, worker or device."""
    state = np.random.SeedSequence(seed, spawn_key=keys).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state) >> 1)
