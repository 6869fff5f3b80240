"""The whole design on one page: the components, and what each promises to the others."""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, final

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset, default_collate

from dovision import checks
from dovision.functional import geometry, logit_checks, sample_order
from dovision.functional.norms import check_budget
from dovision.functional.outputs import Reading, reading
from dovision.io.files import sha256
from dovision.module_state import differentiable, outside_inference_mode
from dovision.types import (
    BOX_COLUMNS,
    CODE,
    INPUT,
    SOURCE_BOXES,
    SPLITS,
    Batch,
    Box,
    Epsilons,
    Layout,
    Mask,
    Shape,
    Task,
)


class Classifier(nn.Module):
    """A network with its normalisation inside: images in [0, 1] to logits, shape (B, K).

    Args:
        network: any module from normalised images, shape (B, C, H, W), to logits, shape (B, K).
        task: the classes, in the order of the logits.
        mean, std: one number for all channels, or one a channel, in pixel units; three on a grey image show it to
            the network as three channels.
        output: how logits are read from what the network returns, see `functional.outputs.reading`.

    Raises:
        ValueError: the network is no module, mean and std are no pixel units, or output is no reading; in a call, the
            image has another type, device or number of channels, or the network returns no logits, or those of other
            classes.

    Example:
        >>> import torch
        >>> import dovision as dv
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2))
        >>> classifier = dv.Classifier(network, dv.Task("multiclass", ("dark", "bright")), mean=[0.5], std=[0.25])
        >>> classifier(torch.rand(3, 1, 8, 8)).shape
        torch.Size([3, 2])
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: nn.Module,
        task: Task,
        mean: Sequence[float],
        std: Sequence[float],
        output: str | Sequence[int] | Reading | None = None,
    ) -> None:
        super().__init__()
        mean, std = checks.pixel_units("mean", mean), checks.pixel_units("std", std)
        if min(std) <= 0:
            raise ValueError(f"std must be above 0, got {list(std)!r}.")
        if len({1, len(mean), len(std)}) > 2:
            raise ValueError(f"mean and std must be of the same channels, got {len(mean)} and {len(std)} numbers.")
        self.network = checks.instance("network", network, nn.Module, "a torch module from images to logits")
        self.task = task
        self.output = reading(output)
        self.arguments: Mapping[str, Any] = {}  # plain ones, with which its factory makes it without the files it read
        self.sites: dict[str, str] = {}  # names for sites, such as CODE, and the submodules that they stand for
        like = next((each for each in network.parameters() if each.is_floating_point()), torch.zeros(()))
        for name, numbers in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(numbers, dtype=like.dtype, device=like.device).reshape(-1, 1, 1))

    def __call__(self, image: Tensor) -> Tensor:
        checks.network_image(image, self.mean, max(len(self.mean), len(self.std)))
        return logit_checks.logits(super().__call__(image), len(image), len(self.task.classes))

    def forward(self, image: Tensor) -> Tensor:
        return self.output(self.network((image - self.mean) / self.std))


class Autoencoder(nn.Module):
    """A network that stands behind a layer of a classifier, and whose code's channels are units of interventions.

    A subclass has an encoder and a decoder. One with `loss_terms` is fitted to the activations of the classifier, by
    the sum of these terms; any other through the classifier, by `training.autoencoder.loss`.
    """

    after: str  # the layer of the network whose output passes through it
    width: int  # channels of that output
    layout: Layout = Layout.NCHW  # of that output and of the code; NCHW is also that of (B, C)
    encoder: nn.Module  # from the layer's output to the code, of the same layout
    decoder: nn.Module  # from the code to a value as shaped as the layer's output
    code_channels: int
    first_channels: tuple[int, int] | None = None  # of the maps of encoder[0] and decoder[0]
    loss_terms: tuple[str, ...] = ()

    def forward(self, activation: Tensor) -> Tensor:
        return self.decoder(self.encoder(activation))

    def losses(self, activation: Tensor) -> dict[str, Tensor]:
        """The `loss_terms` of activations without a gradient, weighted scalars; called once a step while it is fitted.

        In eval mode nothing of the autoencoder is changed.
        """
        return {}

    def after_step(self) -> None:
        """Put parameters back to where they may lie, after each step of the optimizer; nothing by default."""

    def after_validation(self, activity: Tensor) -> None:
        """Take note of the mean size of each channel of the code over all positions, shape (code_channels,)."""

    def after_fit(self) -> None:
        """Arrange what was fitted, of which the function stays the same; nothing by default."""


class Source(NamedTuple):
    """The images of a split, row by row, in whatever order the dataset holds them."""

    image: Callable[[int], Tensor]  # of a row, shape (C, H, W) float in [0, 1]; is pickled for reading processes
    label: Tensor  # (N,) int64, or (N, K) float for multilabel
    group: Tensor  # (N,) int64, the patient, or a number of the row's own; the same one in no other split
    images: Callable[[Tensor], Tensor] | None = None  # of rows, shape (R,), where that is faster than one by one


class Split(Dataset[Batch]):
    """A split in its order; each item is a Batch without the leading axis.

    Args:
        source: the images.
        order: the row of each sample, shape (N,).
    """

    def __init__(self, source: Source, order: npt.NDArray[np.int64]) -> None:
        self.source = source
        self.order = order

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, sample: int) -> Batch:
        if not 0 <= sample < len(self):
            raise IndexError(f"sample must be in [0, {len(self)}), got {sample}.")
        row = int(self.order[sample])
        return Batch(self.source.image(row), self.source.label[row], torch.tensor(sample), self.source.group[row])

    def batch(self, samples: Sequence[int]) -> Batch:
        """Several samples as a Batch, equal to their items stacked."""
        if self.source.images is None:
            return default_collate([self[sample] for sample in samples])
        rows = torch.from_numpy(self.order[samples])
        image = self.source.images(rows)
        return Batch(image, self.source.label[rows], torch.tensor(samples), self.source.group[rows])


class Images(ABC):
    """A dataset: its task, the shape of its images, and its splits train, val and test.

    A subclass says what its splits hold, row by row, in `source`, `source_table` and `source_boxes`; this class puts
    each split into its order (see `sample_order`), in which the first N samples stand for all of it.

    `content` is a hash of the data (not of where they lie); `bad_files` names the files left out; `facts` is what else
    a run should record, in plain types. `unread` are files whose bytes are data as well, and were not read for
    `content`, since that takes long; they are read when the fingerprint is asked for. `files` are all files, and
    folders with what is below them, that the fingerprint depends on: as long as none has changed it is not computed
    again. None where they are not known.

    Example:
        >>> import dovision as dv
        >>> digits = dv.component("dataset", "digits")
        >>> digits.task.classes[:3], digits.table("test").columns.tolist()
        (('0', '1', '2'), ['sample', 'name', 'group'])
        >>> digits.split("test").batch([0, 1]).image.shape
        torch.Size([2, 1, 32, 32])
    """

    task: Task
    labelled: bool = True  # False: nothing can be fitted to the images, and their classes may be those of a classifier
    shape: Shape
    content: str
    unread: tuple[Path, ...] = ()
    files: tuple[Path, ...] | None = None
    bad_files: tuple[str, ...] = ()
    facts: Mapping[str, object] = MappingProxyType({})
    mask_names: tuple[str, ...] = ()  # of all that `masks` gives

    @abstractmethod
    def source(self, split: str) -> Source:
        """The images of a split, with their labels and groups."""

    @abstractmethod
    def source_table(self, split: str) -> pd.DataFrame:
        """Facts of each image of a split: at least `name`, which the split has once, and `group` (as text)."""

    def source_boxes(self, split: str) -> pd.DataFrame:
        """As `boxes`, with the column `row` in place of `sample`."""
        return pd.DataFrame(columns=SOURCE_BOXES)

    def source_masks(self, split: str, row: int) -> Mapping[str, Mask]:
        """As `masks`, of a row; none by default."""
        return {}

    def take_classes(self, task: Task) -> None:  # noqa: B027
        """Take over the classes of the classifier that sees them, where images have none; nothing by default."""

    def prepare(self) -> None:  # noqa: B027
        """Make, once, what reads faster than the files as they come; nothing by default. May be stopped and resumed."""

    @final
    @property
    def fingerprint(self) -> str:
        """A hash of the content, of the bytes of `unread`, and of how the splits are put into order."""
        return self.identified(lambda paths: [sha256(path) for path in paths])

    @final
    def identified(self, hashes: Callable[[Sequence[Path]], Sequence[str]]) -> str:
        """The fingerprint.

        Args:
            hashes: gives the SHA-256 of each of some files; asked for each file once in this object's life.
        """
        due = [path for path in self.unread if path not in self._hashes]
        self._hashes.update(zip(due, hashes(due), strict=True))
        read = "".join(self._hashes[path] for path in self.unread)
        return hashlib.sha256(f"{self.content}, order {sample_order.ORDER_VERSION}{read}".encode()).hexdigest()

    @final
    def order(self, split: str) -> npt.NDArray[np.int64]:
        """The row of each sample, shape (N,); it depends on names, labels and groups alone, not on the rows' order."""
        if split not in self._orders:
            checks.choice("split", split, SPLITS)
            source = self.source(split)
            rows = self.source_table(split)["name"].argsort(kind="stable").to_numpy()
            order = sample_order.sample_order(source.label.numpy()[rows], source.group.numpy()[rows])
            self._orders[split] = rows[order]
        return self._orders[split]

    @final
    def split(self, name: str) -> Split:
        """The samples of a split in its order, as a map-style dataset."""
        order = self.order(name)
        return Split(self.source(name), order)

    @final
    def table(self, name: str) -> pd.DataFrame:
        """Facts of each sample, in the split's order: at least `sample`, `name` and `group` (as text)."""
        order = self.order(name)
        table = self.source_table(name).iloc[order].reset_index(drop=True)
        table.insert(0, "sample", range(len(table)))
        return table

    @final
    def boxes(self, name: str) -> pd.DataFrame:
        """Boxes of known objects, in pixels of the images, by sample; no row where nothing is known.

        `sample`; `object`, a name that the sample has once; `label`, the class that the object speaks for, or None;
        `top`, `left`, `bottom`, `right`.
        """
        sample = np.argsort(self.order(name))
        boxes = self.source_boxes(name)
        if boxes.empty:
            return pd.DataFrame(columns=BOX_COLUMNS)
        boxes.insert(0, "sample", sample[boxes.pop("row").to_numpy(np.int64)])
        return boxes.sort_values("sample", kind="stable", ignore_index=True)

    @final
    def masks(self, split: str, sample: int) -> Mapping[str, Mask]:
        """Masks of known objects of an image, each of shape (H, W), by name; a name that it does not have is left out.

        Raises:
            ValueError: a file of masks is damaged, or not of its image's aspect; a mask is of another type or shape.
        """
        found = self.source_masks(split, int(self.order(split)[sample])) if self.mask_names else {}
        for name, mask in found.items():
            checks.mask(f"{type(self).__name__}.source_masks(): {name!r}", mask, self.shape[1:])
        return found

    @final
    def strata(self, split: str) -> npt.NDArray[np.int64]:
        """The class that each sample is stratified by, shape (N,); see `sample_order.strata`."""
        order = self.order(split)
        return sample_order.strata(self.source(split).label.numpy())[order]

    @cached_property
    def _orders(self) -> dict[str, npt.NDArray[np.int64]]:
        return {}

    @cached_property
    def _hashes(self) -> dict[Path, str]:
        return {}


class Counterfactuals(Images):
    """A dataset that can draw an image again with all equal but for some of its objects."""

    @abstractmethod
    def source_objects(self, split: str, row: int) -> tuple[str, ...]:
        """As `objects`, of a row."""

    @abstractmethod
    def source_counterfactual(self, split: str, row: int, *objects: str) -> Tensor:
        """As `counterfactual`, of a row."""

    def source_has_counterfactual(self, split: str, row: int, *objects: str) -> bool:
        """As `has_counterfactual`, of a row; always true by default."""
        return True

    @final
    def objects(self, split: str, sample: int) -> tuple[str, ...]:
        """Objects that can be left out of an image."""
        return self.source_objects(split, int(self.order(split)[sample]))

    @final
    def has_counterfactual(self, split: str, sample: int, *objects: str) -> bool:
        """Return whether there is an image without just these of its objects."""
        return self.source_has_counterfactual(split, int(self.order(split)[sample]), *objects)

    @final
    def counterfactual(self, split: str, sample: int, *objects: str) -> Tensor:
        """The image without these objects, shape (C, H, W).

        Raises:
            ValueError: the image has no such object, or there is no image without just these.
        """
        return self.source_counterfactual(split, int(self.order(split)[sample]), *objects)


class Context(NamedTuple):
    """The condition in which an intervention is made."""

    batch: Batch
    classifier: Classifier
    source: Tensor | None = None  # the site's value for the images of `Intervention.sources`, as shaped as `value`
    reference: Tensor | None = None  # the mean of the site's value over `Intervention.references`, without axis 0

    def rows(self, index: slice | Tensor | Sequence[int]) -> Context:
        """The chosen rows, as a Context."""
        source = None if self.source is None else self.source[index]
        return Context(self.batch.rows(index), self.classifier, source, self.reference)


class Intervention(ABC):
    """do(u): an edit at one node of the classifier's computation graph, with a finite, named family of units.

    Example:
        >>> import dovision as dv
        >>> class Negative(dv.Intervention):
        ...     site = dv.INPUT
        ...     def units(self, shape):
        ...         return ("negative",)
        ...     def do(self, value, unit, context):
        ...         return 1 - value
        >>> classifier, digits = dv.example()
        >>> dv.effect_map(classifier, digits.image, Negative()).effect.shape
        torch.Size([8, 1, 10])
    """

    site: str  # INPUT, CODE, or the name of a layer of the network, whose output is edited
    unit: str | None = None  # channel, token, position or head of the site's value; None: the value as it comes
    layout: Layout | None = None  # of the site's value, if `unit` is given; None: found by probing the network
    shortens = False  # whether do() leaves out positions of the value: it returns fewer rows than it is given
    second: Intervention | None = None  # one of a single unit, made at a later site of the same pass (see `has_second`)
    through: str | None = None  # a later site, which alone passes on what the edit changes; None: all do

    @property
    def on_code(self) -> bool:
        """True if an inserted autoencoder's code is one of its sites."""
        return CODE in (self.site, self.through) or (self.second is not None and self.second.on_code)

    def bind(self, images: Images, split: str) -> None:  # noqa: B027
        """Learn what the units need to know of a split's images, before the first edit; nothing by default.

        Raises:
            ValueError: the dataset does not know what the units need.
        """

    def for_images(self, batch: Batch) -> Intervention:
        """The intervention on images that belong to no dataset; itself, unless its units depend on the images."""
        return self

    def sources(self, batch: Batch) -> Tensor | None:
        """Images of which `Context.source` is to be the site's value, one for each of the batch; None: not needed."""
        return None

    def references(self) -> Tensor | None:
        """Images over which `Context.reference` is to be the mean of the site's value; None: not needed."""
        return None

    @abstractmethod
    def units(self, shape: Shape) -> tuple[str, ...]:
        """Names of the units of a value of this shape, in the order of their numbers."""

    def region(self, shape: Shape, unit: int, sample: int) -> Box | None:
        """All that do(unit) can touch on this sample; None is everything, an empty box nothing."""
        return None

    def on_image(self, shape: Shape, unit: int, sample: int) -> Box | None:
        """Where the unit lies in an image of shape (C, H, W); None if nowhere, as units of a layer do."""
        return self.region(shape, unit, sample) if self.site == INPUT else None

    def mask(self, shape: Shape, unit: int, sample: int) -> Mask | None:
        """Pixels of the region that do(unit) can touch, of the region's shape (h, w); None is all of them."""
        return None

    @abstractmethod
    def do(self, value: Tensor, unit: int, context: Context) -> Tensor:
        """The region's new value, shape (B, C, h, w), from the site's whole value, shape (B, C, H, W).

        An intervention with a `unit` sees a value of any layout as `Layout.present` shows it, with its channels, or its
        heads, on axis 1.
        Pure: `value` is not changed, and random numbers come from `generator(seed, sample, ...)` only.
        All samples of the context have the same region for this unit.
        """

    def unchanged(self, value: Tensor) -> Tensor | None:
        """Edits that are known, without being made, to leave the site's value as it is, bit for bit; shape (B, U) bool.

        The value is as `do` sees it, shape (B, ...). None: none is known; all are made, and compared with the value.
        """
        return None

    def has_second(self, shape: Shape, unit: int) -> bool:
        """Return whether do(unit) is made together with that of `second`; never by default."""
        return False

    def apply(self, value: Tensor, unit: int, context: Context) -> Tensor:
        """The site's whole value after do(unit), shape (B, C, H, W), for samples of one region."""
        region = self.checked_box(self.region, tuple(value.shape[1:]), unit, int(context.batch.sample[0]))
        new = self.checked_do(value, unit, context, region)
        if region is None:
            return new
        treated = value.clone()
        region.crop(treated).copy_(new)
        return treated

    @final
    def checked_box(
        self, where: Callable[[Shape, int, int], Box | None], shape: Shape, unit: int, sample: int
    ) -> Box | None:
        """What `where`, `region` or `on_image`, returns; ValueError unless it is None or lies inside the value."""
        box = where(shape, unit, sample)
        if box is None:
            return None
        height, width = shape[-2:] if len(shape) > 1 else (0, 0)
        whole = isinstance(box, Box) and isinstance(sum(box), (int, np.integer))
        if not whole or not (0 <= box.top <= box.bottom <= height and 0 <= box.left <= box.right <= width):
            raise ValueError(
                f"{self._result(where, shape, unit)} must be None or a Box of whole numbers inside the {height} x "
                f"{width} value of site {self.site!r}, got {box!r}."
            )
        return box

    @final
    def checked_mask(self, shape: Shape, unit: int, sample: int, region: Box | None) -> Mask | None:
        """What `mask` returns; ValueError unless it is None, or a mask of the region's shape."""
        mask = self.mask(shape, unit, sample)
        if mask is None:
            return None
        size = shape[-2:] if region is None else (region.height, region.width)
        return checks.mask(self._result(self.mask, shape, unit), mask, size)

    @final
    def checked_do(self, value: Tensor, unit: int, context: Context, region: Box | None) -> Tensor:
        """What `do` returns; ValueError unless it is like the region's value and, on a CPU, without nan."""
        new = self.do(value, unit, context)
        shape = tuple(value.shape) if region is None else (*value.shape[:-2], region.height, region.width)
        if self.shortens and isinstance(new, Tensor):
            shape = (*shape[:2], *new.shape[2:3], *shape[3:])
        if isinstance(new, Tensor) and new.is_floating_point():
            new = new.to(value.dtype)
        like = shape, value.dtype, value.device
        got: tuple[object, ...] = (type(new).__name__,)
        if isinstance(new, Tensor):
            got = tuple(new.shape), new.dtype, new.device
        if got == like and value.device.type == "cpu" and new.detach().sum().isnan() and not value.isnan().any():
            got = ("nan",)
        if got != like:
            raise ValueError(
                f"{self._result(self.do, tuple(value.shape[1:]), unit)} must be its region's new value, shape "
                f"{', '.join(map(str, like))}, got {', '.join(map(str, got))}. "
                "Return it like the value that do() is given."
            )
        return new

    def _result(self, method: Callable[..., object], shape: Shape, unit: int) -> str:
        return f"{type(self).__name__}.{method.__name__}() of unit {self.units(shape)[unit]!r}"

    @final
    def on_pixels(self, shape: Shape, sample: int, values: Sequence[float]) -> npt.NDArray[np.float64]:
        """Each unit's value on what it can touch of a sample, shape (H, W).

        The mean where units overlap, zero where there is none; a unit without a region is left out.

        Args:
            shape: (C, H, W) of the images.
            sample: the row in the split.
            values: one a unit.
        """
        regions = [self.checked_box(self.on_image, shape, unit, sample) for unit in range(len(values))]
        masks = [self.checked_mask(shape, unit, sample, region) for unit, region in enumerate(regions)]
        return geometry.paint(shape[1], shape[2], regions, values, masks)


class ClassifierComponent:
    """A component that is handed images and the classifier of them: an attack, an explainer or a detector.

    Its inputs are tensors of which gradients can be had, also if the caller is in inference mode.
    """

    def check(self, classifier: Classifier, shape: Shape) -> None:
        """Refuse what the component cannot work with, before the first image of this shape; nothing by default.

        Args:
            classifier: perhaps not fitted, and without numbers, on the meta device.
            shape: (C, H, W) of the images.

        Raises:
            ValueError: says why.
        """


class Attack(ClassifierComponent, ABC):
    """An adversarial condition: x -> x + delta, with |delta| <= eps in pixel units, for each epsilon of a list.

    A subclass writes `run`; this class guards the range, the budget and the classifier's state, and counts queries:
    `passes` are forward passes of one image each so far, by epsilon.

    Args:
        eps: one epsilon or several, numbers or fractions such as "8/255".
        norm: linf or l2.

    Example:
        >>> import dovision as dv
        >>> class Brighter(dv.Attack):
        ...     def run(self, batch, classifier, eps):
        ...         return (batch.image + eps).clamp(0, 1)
        >>> classifier, digits = dv.example()
        >>> Brighter(eps="8/255")(digits, classifier).shape
        torch.Size([8, 1, 8, 8])
    """

    def __init__(self, eps: Epsilons, norm: str = "linf") -> None:
        self.norm = checks.choice("norm", norm, ("linf", "l2"))
        self.eps = checks.epsilons(eps, norm)
        self._attacked: Counter[float] = Counter()  # images, by epsilon
        self.passes: Counter[float] = Counter()

    @property
    def queries(self) -> dict[float, float]:
        """Forward passes that an image has cost, by epsilon: the mean of all images attacked so far."""
        return {eps: self.passes[eps] / images for eps, images in self._attacked.items()}

    def most_queries(self, classes: int) -> int | None:
        """Forward passes that an image of so many classes may cost, where the attack stops once its aim is reached.

        None: all images cost the same.
        """
        return None

    @abstractmethod
    def run(self, batch: Batch, classifier: Classifier, eps: float) -> Tensor:
        """Attacked images, shape (B, C, H, W); called with gradients enabled and the classifier in eval mode."""

    def __call__(self, batch: Batch, classifier: Classifier, eps: float | None = None) -> Tensor:
        """Attacked images in [0, 1], within eps of `batch.image`; the image itself, bit for bit, at eps = 0.

        Leaves no gradient in the parameters, and the mode of every submodule as it was.

        Args:
            batch: images in [0, 1], shape (B, C, H, W), and their labels.
            classifier: the one under attack.
            eps: in pixel units; None: that of the attack, if it has a single one.

        Raises:
            ValueError: eps is None and the attack has several; the images or labels are not those of the classifier.
        """
        eps = checks.single_epsilon(self.eps) if eps is None else eps
        checks.image_batch(batch.image)
        checks.labels(batch.label, len(batch.image), len(classifier.task.classes), classifier.task.multilabel)
        if eps == 0:
            return batch.image

        def count(module: nn.Module, images: tuple[Tensor, ...], logits: Tensor) -> None:
            self.passes[eps] += len(logits)

        with differentiable(classifier), classifier.register_forward_hook(count):
            attacked = self.run(batch.detached(), classifier, eps).detach()
            self._attacked[eps] += len(batch.image)
        return check_budget(type(self).__name__, attacked, batch.image, eps, self.norm)


class Explanation(NamedTuple):
    """Maps at the image's size, and how far the maps that they are means of lie apart."""

    map: Tensor  # (B, H, W) float32, positive where the image speaks for the class
    spread: Tensor  # (B, H, W) float32, the standard deviation over the maps of `Explainer.run_each`; nan if it is one


class Explainer(ClassifierComponent, ABC):
    """Location of the evidence for a class in an image: a map, positive where the image speaks for the class.

    A subclass writes `run`, or also `run_each` if its map is the mean of several; this class guards the range and the
    classifier's state, brings maps to the image's size, and counts forward passes.

    Example:
        >>> import dovision as dv
        >>> class Bright(dv.Explainer):
        ...     def run(self, batch, target, classifier):
        ...         return batch.image.mean(1)
        >>> classifier, digits = dv.example()
        >>> Bright()(digits, digits.label, classifier).shape
        torch.Size([8, 8, 8])
    """

    counts_passes = False  # whether `run` does so itself, since it does not run the classifier as a whole
    _passes = 0  # forward passes of one image each
    _drawn = 0  # maps

    @property
    def passes(self) -> float:
        """Forward passes of one image that a map took, the mean of all maps drawn so far; nan before the first.

        A pass with a gradient counts as one; an edit of which only what descends from it is recomputed, too.
        """
        return self._passes / self._drawn if self._drawn else math.nan

    @property
    def counts(self) -> tuple[int, int]:
        """Those forward passes, and the maps, so far."""
        return self._passes, self._drawn

    def bind(self, images: Images, split: str) -> None:
        """Learn what the maps need to know of a split's images, before the first of them; nothing by default."""

    @abstractmethod
    def run(self, batch: Batch, target: Tensor, classifier: Classifier) -> Tensor:
        """Maps of any size, shape (B, h, w), of class target[b] of image b.

        Called with gradients enabled, the classifier in eval mode with its parameters frozen, and images that require
        a gradient. The map of an image does not depend on the others of the batch.
        """

    def run_each(self, batch: Batch, target: Tensor, classifier: Classifier) -> Tensor:
        """The M maps of which `run` is the mean, shape (B, M, h, w), such as one a baseline; called as `run` is."""
        return self.run(batch, target, classifier).unsqueeze(1)

    def __call__(self, batch: Batch, target: Tensor, classifier: Classifier) -> Tensor:
        """The map of `explain` alone, shape (B, H, W) float32."""
        return self.explain(batch, target, classifier).map

    def explain(self, batch: Batch, target: Tensor, classifier: Classifier) -> Explanation:
        """Maps at the image's size (smaller ones are interpolated), with their spread, for target, shape (B,).

        Leaves no gradient in the parameters, and the mode of every submodule as it was.
        """
        checks.image_batch(batch.image)

        def count(module: nn.Module, images: tuple[Tensor, ...], logits: Tensor) -> None:
            self._passes += len(logits)

        counting = nullcontext() if self.counts_passes else classifier.register_forward_hook(count)
        with differentiable(classifier), counting:
            own = batch.detached()
            own.image.requires_grad_()
            maps = self.run_each(own, target.clone(), classifier).detach().float()
        checks.maps(type(self).__name__, maps[:, 0], len(batch.image))
        self._drawn += len(maps)
        spread = maps.std(1, correction=0) if maps.shape[1] > 1 else torch.full_like(maps[:, 0], torch.nan)
        both = torch.stack([maps.mean(1), spread], 1)
        if maps.shape[2:] != batch.image.shape[2:]:
            both = F.interpolate(both, size=batch.image.shape[2:], mode="bilinear", align_corners=False)
        return Explanation(both[:, 0], both[:, 1])


class Detector(ClassifierComponent, ABC):
    """Separates attacked images from clean ones in three steps: features of an image, a fit, and a score.

    All in torch, so that an adaptive attacker can follow the gradient from the score to the image. An unsupervised
    detector is fitted to clean images only. One whose features depend on clean images is prepared with these first.

    Example:
        >>> import dovision as dv
        >>> class Darkness(dv.Detector):
        ...     passes = 0
        ...     def read_features(self, batch, classifier, with_autoencoder):
        ...         return 1 - batch.image.mean((2, 3))
        >>> classifier, digits = dv.example()
        >>> detector = Darkness()
        >>> detector.score(detector.read(digits, classifier, None)).shape
        torch.Size([8])
    """

    supervised = False  # is fitted to attacked images as well
    passes: int  # forward passes that reading an image takes; known once one was read
    reads_code = False  # needs the classifier with its autoencoder
    tuned: Mapping[str, object] = MappingProxyType({})  # settings that the fit has chosen, in plain types
    prepared = False
    _fitted = False

    def prepare_features(
        self, clean: Iterable[Batch], classifier: Classifier, with_autoencoder: Classifier | None
    ) -> None:
        """Learn what features depend on, from clean validation images that the detector is also fitted to.

        Without gradients; assigns new attributes and edits none. By default there is nothing to learn.
        """

    @abstractmethod
    def read_features(self, batch: Batch, classifier: Classifier, with_autoencoder: Classifier | None) -> Tensor:
        """Features that the score is a function of, shape (B, F) float32; of each image alone.

        Args:
            batch: images; their labels are not to be looked at.
            classifier: the one under attack, in eval mode.
            with_autoencoder: the same with its autoencoder, for what is read of the code; None if there is none.
        """

    def fit_features(self, clean: Tensor, attacked: Tensor) -> None:
        """Learn from at least two finite rows a kind, shapes (N, F) and (M, F); M is 0 for an unsupervised detector.

        Assigns new attributes and edits none, so that shallow copies can be fitted to different images. A setting that
        is chosen by these rows, such as a step size, is read for all its candidates, and the choice is put in `tuned`.
        """

    def score_features(self, features: Tensor) -> Tensor:
        """The higher, the likelier attacked; shape (B,) from (B, F). By default the first feature."""
        return features[:, 0]

    @property
    def needs_fit(self) -> bool:
        """Return whether there is something to fit."""
        return type(self).fit_features is not Detector.fit_features

    @property
    def needs_preparation(self) -> bool:
        """Return whether features depend on clean images, with which `prepare` is to be called first."""
        return type(self).prepare_features is not Detector.prepare_features

    @final
    def prepare(self, clean: Iterable[Batch], classifier: Classifier, with_autoencoder: Classifier | None) -> None:
        """Learn what features depend on from batches of clean images, if anything; see `prepare_features`."""
        if self.needs_preparation:
            with outside_inference_mode(), torch.no_grad():
                self.prepare_features(clean, classifier, with_autoencoder)
        self.prepared = True

    @final
    def read(self, batch: Batch, classifier: Classifier, with_autoencoder: Classifier | None) -> Tensor:
        """Features of images, shape (B, F), with a gradient if the images require one; see `read_features`.

        Raises:
            ValueError: the detector was not prepared.
        """
        if self.needs_preparation and not self.prepared:
            raise ValueError(
                f"{type(self).__name__} must be prepared before it reads. Call prepare with clean validation images."
            )
        with outside_inference_mode():
            return self.read_features(
                batch.detached() if batch.image.is_inference() else batch, classifier, with_autoencoder
            )

    @final
    def fit(self, clean: Tensor, attacked: Tensor) -> None:
        """Fit to features of validation images, shapes (N, F) and (M, F); see `fit_features`.

        Raises:
            ValueError: there are fewer than two images of a kind, or any attacked ones for an unsupervised detector;
                the kinds were read differently; a number is not finite.
        """
        if self.needs_fit:
            checks.fit_rows(type(self).__name__, clean, attacked, self.supervised)
            with outside_inference_mode():
                self.fit_features(clean.detach().clone(), attacked.detach().clone())
        self._fitted = True

    @final
    def score(self, features: Tensor) -> Tensor:
        """The higher, the likelier attacked; shape (B,) from (B, F); B may be 0.

        Raises:
            ValueError: the detector was not fitted.
        """
        if self.needs_fit and not self._fitted:
            raise ValueError(
                f"{type(self).__name__} must be fitted before it scores. Fit it to clean validation images."
            )
        return self.score_features(features) if len(features) else features.new_zeros(0)
