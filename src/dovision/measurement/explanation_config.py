"""Settings by which the maps of explainers are made comparable and judged."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from dovision import checks
from dovision.interfaces import Classifier, Context
from dovision.interventions.fills import Fill, Mean
from dovision.measurement.single_deletion import SingleDeletion
from dovision.types import Batch, Box, Shape, Task

TARGETS = ("label", "prediction")
USUAL_REFERENCE = "grad_cam"  # the explainer that the others are compared with, if it is there


class MapSettings:
    """Settings of maps: the common grid, the explained classes, and the metrics' parameters.

    Args:
        target: label (each class that the image has; without a label, that is predicted), prediction (each that is
            predicted), the name of one class, or the number of a class by sample.
        cells: cells a side of the grid that all maps are brought to.
        margin: by which pointing may miss a box, as a share of the image's side; 15/224 in the literature.
        steps: of deletion and of insertion.
        fill: what a deleted cell is painted with, and what insertion starts from; None is the image's mean.
        noise: of the perturbation under which a map should be stable, uniform in [-noise, noise], in pixel units; 0
            measures no stability, and draws each map once and not twice.
        num_sanity_images: images, the first ones, explained once more for classifiers whose layers are randomised from
            the top down: their maps should be other ones.
        seed: of the noise, and of the new weights.
        reference: the explainer that the others are compared with, by name; None: grad_cam, or the first if there is
            none of this name.
        single_deletion: truth of what single patches of the image do for the class, with which maps are correlated;
            None: none.

    Example:
        >>> import dovision as dv
        >>> settings = dv.MapSettings("prediction", cells=8, noise=0.0)
        >>> settings.target, settings.cells, settings.compared(["effect_map", "grad_cam"])
        ('prediction', 8, 'grad_cam')
    """

    def __init__(
        self,
        target: str | Mapping[int, int] = "label",
        cells: int = 16,
        margin: float = 0.067,
        steps: int = 16,
        fill: Fill | None = None,
        noise: float = 0.01,
        num_sanity_images: int = 0,
        seed: int = 0,
        reference: str | None = None,
        single_deletion: SingleDeletion | None = None,
    ) -> None:
        self.target = target
        self.cells = checks.positive_int("cells", cells)
        self.margin = checks.within("margin", margin, 0, 1)
        self.steps = checks.positive_int("steps", steps)
        self.fill = Mean() if fill is None else fill
        self.noise = checks.within("noise", noise, 0, 1, "It is in pixel units.")
        self.num_sanity_images = int(checks.at_least("num_sanity_images", num_sanity_images, 0))
        self.seed = seed
        self.reference = reference
        self.single_deletion = single_deletion

    def compared(self, explainers: Collection[str]) -> str:
        """Name of the reference explainer.

        Raises:
            ValueError: the one that is asked for is none of them.
        """
        if self.reference is not None:
            return checks.choice("reference", self.reference, explainers)
        return USUAL_REFERENCE if USUAL_REFERENCE in explainers else next(iter(explainers))

    def check(self, classifier: Classifier, shape: Shape) -> None:
        """Raise for a class that the classifier lacks, or a grid finer than images of shape (C, H, W).

        Raises:
            ValueError: `target` is neither label nor prediction nor a class; or there are more cells than pixels a
                side.
        """
        if isinstance(self.target, str):
            checks.choice("target", self.target, (*TARGETS, *classifier.task.classes))
        side = min(shape[1:])
        if self.cells > side:
            raise ValueError(f"cells must be at most the image's {side} pixels a side, got {self.cells}.")

    def pairs(self, batch: Batch, probability: Tensor, task: Task) -> tuple[Tensor, Tensor]:
        """Explained images and the class of each; two tensors of shape (P,) int64.

        Raises:
            ValueError: `target` is neither label nor prediction nor a class.
        """
        images = torch.arange(len(batch.image))
        if not isinstance(self.target, str):
            return images, torch.tensor([self.target[sample] for sample in batch.sample.tolist()], dtype=torch.int64)
        if self.target in task.classes:
            return images, torch.full_like(images, task.classes.index(self.target))
        checks.choice("target", self.target, (*TARGETS, *task.classes))
        named = batch.label if self.target == "label" else task.prediction(probability)
        if not task.multilabel:
            return images, named
        image, target = (named == 1).nonzero(as_tuple=True)
        return image, target

    def filled(self, batch: Batch, classifier: Classifier) -> Tensor:
        """Images painted over entirely, shape (B, C, H, W)."""
        everything = Box(0, 0, *batch.image.shape[2:])
        return self.fill(batch.image, everything, Context(batch, classifier))
