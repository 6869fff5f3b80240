"""Painting over the superpixels of an image."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
from torch import Tensor

from dovision import checks
from dovision.interfaces import Images, Intervention
from dovision.interventions._masks import MaskIntervention
from dovision.interventions._objects import bound
from dovision.interventions.fills import Fill
from dovision.interventions.pixel_grid import BLACK
from dovision.types import Batch, Mask

LabelMap = npt.NDArray[np.int64]  # (H, W) number of the segment that a pixel belongs to


class Segments(MaskIntervention):
    """do(segment = fill) on the superpixels of an image, by SLIC.

    Units are s0, s1, ... An image may have fewer segments than there are units; if SLIC finds more, the smallest ones
    join the neighbours with which they share the longest border. Segments are those of the dataset's own images: in an
    attacked condition they stay what they are. Images of no dataset are segmented as they are given.

    Args:
        segments: about how many there are.
        fill: what a segment is painted with.
        compactness: of segments, against how alike their pixels are; 10 is the usual one, larger is more square.
        controls, seed: of control masks, see `MaskIntervention`.

    Raises:
        ImportError: scikit-image is not installed.

    Source: Achanta et al., IEEE TPAMI 34(11), 2012.

    Example:
        >>> classifier, digits = dv.example()
        >>> len(dv.effect_map(classifier, digits.image, dv.Segments(4)).units) > 0
        True
    """

    def __init__(
        self, segments: int, fill: Fill = BLACK, compactness: float = 10.0, controls: int = 0, seed: int = 0
    ) -> None:
        super().__init__(fill, controls, seed)
        self.segments = checks.positive_int("segments", segments)
        self.compactness = checks.positive("compactness", compactness)
        self.slic = checks.import_extra("skimage.segmentation", "segments").slic
        self._image: Callable[[int], Tensor] | None = None  # of a sample, shape (C, H, W)

    def bind(self, images: Images, split: str) -> None:
        """Take the split whose images are segmented; each is read on demand."""
        super().bind(images, split)
        samples = images.split(split)
        self._image = lambda sample: samples[sample].image

    def for_images(self, batch: Batch) -> Intervention:
        if self._image is not None:
            return self
        shown = copy.copy(self)
        shown._image = dict(zip(batch.sample.tolist(), batch.image.detach().cpu(), strict=True)).__getitem__
        shown._forget()
        return shown

    def names(self) -> tuple[str, ...]:
        return tuple(f"s{number}" for number in range(self.segments))

    def masks(self, sample: int) -> Mapping[str, Mask]:
        labels = self._labels(bound(self._image)(sample))
        return {f"s{number}": labels == number for number in range(labels.max() + 1)}

    def _labels(self, image: Tensor) -> LabelMap:
        colours = image.expand(3, -1, -1) if len(image) == 1 else image
        labels = self.slic(
            colours.permute(1, 2, 0).double().numpy(), self.segments, self.compactness, start_label=0, channel_axis=-1
        )
        return merged(np.unique(labels, return_inverse=True)[1].reshape(labels.shape), self.segments)


def merged(labels: LabelMap, most: int) -> LabelMap:
    """Merge the smallest segment into the neighbour with the longest border until at most so many are left.

    Args:
        labels: all numbers from 0 to the largest.
        most: segments that may be left.
    """
    while (size := np.bincount(labels.ravel())).size > most:
        smallest = size.argmin()
        beside = [(labels[:, :-1], labels[:, 1:]), (labels[:-1], labels[1:])]
        border = [b[(a == smallest) & (b != a)] for pair in beside for a, b in (pair, pair[::-1])]
        labels = np.where(labels == smallest, np.bincount(np.concatenate(border)).argmax(), labels)
        labels = labels - (labels > smallest)
    return labels
