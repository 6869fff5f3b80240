"""Interchange interventions: a unit is set to the value that it has in a source image."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dovision import checks
from dovision.functional.rng import generator
from dovision.interfaces import Context, Images, Split
from dovision.interventions.counterfactual import Counterfactual
from dovision.interventions.values import ActivationValue, SiteUnit
from dovision.types import Batch, Box

SOURCE_CLASSES = ("same", "other")
_Samples = npt.NDArray[np.int64]


class Interchange(ActivationValue):
    """The unit's value in the source image of each sample, at the same site (interchange intervention).

    Source: arXiv:2106.02997.

    Args:
        images: the source of each sample, shape (N, C, H, W) in [0, 1], or one source for all, shape (1, C, H, W).

    Example:
        >>> import torch
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.Linear(4 * 36, 2))
        >>> image, source = torch.rand(2, 1, 1, 8, 8)
        >>> swapped = dv.Activation("0", value=dv.Interchange(source))
        >>> dv.effect_map(dv.wrap(network, classes=2), image, swapped).units
        ('c0', 'c1', 'c2', 'c3')
    """

    def __init__(self, images: Tensor) -> None:
        self.images = checks.image_batch(images, "images")

    def sources(self, batch: Batch) -> Tensor:
        """Source images, shape (B, C, H, W).

        Raises:
            ValueError: there are no sources, or none of a sample.
        """
        last = int(batch.sample.max())
        if 1 < len(self.images) <= last:
            raise ValueError(
                f"images must be a source for each sample, or one for all, got {len(self.images)} for sample {last}."
            )
        return self.images[batch.sample.to(self.images.device) % len(self.images)]

    of_rows = True

    def __call__(self, value: Tensor, unit: SiteUnit, context: Context) -> Tensor:
        if context.source is None:
            raise ValueError("interchange needs the site's value of source images, got none.")
        return unit.of(context.source)


class ClassInterchange(Interchange):
    """Interchange with a random image of the same or another class, from another group (patient).

    The class is that by which a split is stratified, for multilabel the rarest of an image's labels.

    Args:
        source_class: same (the source is of the sample's class) or other.
        seed: of the draws; the same seed and sample give the same source.

    Example:
        >>> dv.Activation("relu", value=dv.ClassInterchange("other", seed=0)).site
        'relu'
    """

    def __init__(self, source_class: str, seed: int) -> None:
        self._split: Split | None = None
        self.source_class = checks.choice("source_class", source_class, SOURCE_CLASSES)
        self.seed = checks.seed(seed)

    def bind(self, images: Images, split: str) -> None:
        """Find the class and the group of each image of a split.

        Raises:
            ValueError: an image has no source.
        """
        self._split = images.split(split)
        self._classes: _Samples = np.asarray(images.strata(split))
        self._groups: _Samples = images.source(split).group.numpy()[images.order(split)]
        for sample in np.unique(np.stack([self._classes, self._groups]), axis=1, return_index=True)[1]:
            if not len(self._fitting(sample)):
                raise ValueError(
                    f"interchange needs, for each image of the {split} split, one of the {self.source_class} class and "
                    f"another group, got none for sample {sample}. Choose another value."
                )

    def source_of(self, sample: int) -> int:
        """Source sample of a sample."""
        fitting = self._fitting(sample)
        return int(fitting[int(torch.randint(len(fitting), (), generator=generator(self.seed, sample)))])

    def labelled_source(self, sample: int) -> tuple[int, int]:
        """Source sample of a sample, and the source's class."""
        assert self._split is not None
        source = self.source_of(sample)
        return source, int(self._split.source.label[self._split.order[source]])

    def sources(self, batch: Batch) -> Tensor:
        if self._split is None:
            raise ValueError("interchange must be bound to a dataset, got no source images. Call bind(images, split).")
        samples = batch.sample.tolist()
        return torch.stack([self._split[self.source_of(sample)].image for sample in samples]).to(batch.image)

    def _fitting(self, sample: int) -> _Samples:
        """Candidate source samples of a sample."""
        fits = (self._classes == self._classes[sample]) == (self.source_class == "same")
        return np.flatnonzero(fits & (self._groups != self._groups[sample]))


class CounterfactualInterchange(Interchange):
    """Interchange with the sample's true counterfactual: its image without an object.

    The source of an image without such an object is the image itself, which changes nothing.

    Args:
        without: the object that is left out, a unit of intervention=counterfactual, such as tag or "all labelled".

    Example:
        >>> dv.Activation("relu", value=dv.CounterfactualInterchange(without="tag")).site
        'relu'
    """

    def __init__(self, without: str) -> None:
        self.without = without
        self._counterfactual = Counterfactual()

    def bind(self, images: Images, split: str) -> None:
        """Find the objects of a split's images.

        Raises:
            ValueError: the dataset draws no counterfactuals, or has no such object.
        """
        self._counterfactual.bind(images, split)
        checks.choice("without", self.without, self._counterfactual.units(images.shape))

    def image_region(self, image: tuple[int, ...], sample: int) -> Box:
        return self._counterfactual.region(image, self._unit, sample)

    def sources(self, batch: Batch) -> Tensor:
        return self._counterfactual.images_without(batch, self._unit)

    @property
    def _unit(self) -> int:
        return self._counterfactual.units(()).index(self.without)
