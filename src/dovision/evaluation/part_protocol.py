"""The protocol of FunnyBirds, image by image: what maps say of the parts of a bird, against pictures without them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import combinations
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from dovision import checks
from dovision.datasets.funnybirds import FunnyBirds, background_object
from dovision.functional.agreement import spearman
from dovision.interfaces import Classifier, Images
from dovision.store.map_tables import PART_COLUMNS, PART_THRESHOLDS
from dovision.types import Batch

RELEVANT = 0.05  # share of the class logit by which it must fall without an object that the network uses
SHARED = 2  # parts that the class of an image shares with each of two other classes

_Array = npt.NDArray[np.float64]


class _Bird(NamedTuple):
    """An image, its objects, and the network's logits of all pictures of the same scene that are drawn."""

    label: int
    predicted: int
    masks: Mapping[str, Tensor]  # by object, (N, H, W), 1 at the grown pixels of each of its N pieces
    logits: Mapping[frozenset[str], Tensor]  # by the objects that are left out, (K,)
    background: tuple[str, ...]


class PartProtocol:
    """Scores of a map by the parts of birds, as the authors of FunnyBirds compute them.

    The sum of a map over the pixels of a part, grown by `dilation`, is its importance; important parts have more than
    a threshold's share of the sum of the map. For each of 80 thresholds:

    - controlled_check: over the smallest sets of parts that no other class has all of, the largest share of a set that
      is important; of images that are predicted rightly. The last class has no such set in the authors' script, and
      scores 0 here as there.
    - preservation_check: 1 if the predicted class stays without all parts that are not important.
    - deletion_check: 1 if it does not stay without those that are important.
    - distractibility: share of the objects without which the class logit falls by less than 5 % that are important.

    And, without a threshold, part_deletion, (1 + rho) / 2 of Spearman's rho between the importance of parts and the
    logit lost without each; target_sensitivity, of an image that shares two parts with a second class and two others
    with a third, and loses most of each one's logit without the parts shared with it: the mean of two answers, whether
    either two are more important to the map of the class that shares them than to that of the other; and counts of the
    objects of the background, of those drawn without, and of those without which the class logit falls by 5 %.

    Args:
        dilation: odd side of the square by which pixels of a part are grown; the authors' 5 is for 256 pixels.

    Source: Hesse, Schaub-Meyer and Roth, FunnyBirds, ICCV 2023, arXiv:2308.06248.

    Example:
        >>> import dovision as dv
        >>> dv.PartProtocol(dilation=3).dilation
        3
    """

    columns = PART_COLUMNS

    def __init__(self, dilation: int = 5) -> None:
        self.dilation = checks.positive_int("dilation", dilation)
        if not self.dilation % 2:
            raise ValueError(f"dilation must be odd, got {dilation}.")

    def bind(self, images: Images, split: str) -> None:
        """Take the dataset that has the pictures.

        Raises:
            ValueError: it is not FunnyBirds.
        """
        if not isinstance(images, FunnyBirds):
            raise ValueError(f"the part protocol needs dataset=funnybirds, got {type(images).__name__}.")
        self._birds = images
        self._split = split
        self._models = [self._birds.part_models[name] for name in self._birds.task.classes]
        self._names = tuple(sorted(self._birds.bird_parts))

    @torch.no_grad()
    def losses(self, batch: Batch, target: Tensor, classifier: Classifier) -> list[_Bird]:
        """Logits of all pictures of each image's scene, and its objects."""
        return [
            self._bird(sample, label, classifier)
            for sample, label in zip(batch.sample.tolist(), target.tolist(), strict=True)
        ]

    def scores(
        self, maps: Tensor, birds: Sequence[_Bird], explain: Callable[[int, int], Tensor]
    ) -> dict[str, list[float | _Array | None]]:
        """Columns of a table of maps of the images' labels, shape (B, H, W), by name; None where one is not defined.

        Args:
            maps: of the classes that the images have.
            birds: from `losses`.
            explain: the map, shape (H, W), of an image, by its row, and a class.
        """
        rows = [
            self._row(map_of, bird, partial(explain, row))
            for row, (map_of, bird) in enumerate(zip(maps, birds, strict=True))
        ]
        return {name: [row.get(name) for row in rows] for name in self.columns}

    def _bird(self, sample: int, label: int, classifier: Classifier) -> _Bird:
        background = tuple(map(background_object, range(self._birds.background_objects(self._split, sample))))
        pictures = self._birds.pictures_without(self._split, sample)
        logits = classifier(torch.stack([*pictures.values()]).to(classifier.mean.device)).cpu()
        grown = {
            name: F.max_pool2d(masks.float(), self.dilation, 1, self.dilation // 2)
            for name, masks in self._birds.object_masks(self._split, sample).items()
        }
        of_scene = dict(zip(pictures, logits, strict=True))
        return _Bird(label, int(of_scene[frozenset()].argmax()), grown, of_scene, background)

    def _row(self, of_label: Tensor, bird: _Bird, explain: Callable[[int], Tensor]) -> dict[str, float | _Array | None]:
        names = self._names
        clean, every = bird.logits[frozenset()], frozenset(names)
        important = _important(of_label, bird, names)
        right = bird.predicted == bird.label
        of_prediction = important if right else _important(explain(bird.predicted), bird, names)
        chosen = [frozenset(name for name, one in zip(names, row, strict=True) if one) for row in of_prediction]
        row: dict[str, float | _Array | None] = {
            "preservation_check": np.array([_stays(bird, every - one) for one in chosen]),
            "deletion_check": 1 - np.array([_stays(bird, one) for one in chosen]),
        }
        if right:
            sets = [[names.index(name) for name in one] for one in self._sufficient_sets(bird.label)]
            shares = [important[:, columns].mean(1) for columns in sets]
            row["controlled_check"] = np.max(shares, 0) if sets else np.zeros(len(PART_THRESHOLDS))
        lost = {
            name: float(clean[bird.label] - bird.logits[one][bird.label])
            for name in (*names, *bird.background)
            if (one := frozenset({name})) in bird.logits
        }
        least = RELEVANT * abs(float(clean[bird.label]))
        irrelevant = [name for name, loss in lost.items() if abs(loss) < least or loss < 0]
        if irrelevant:
            row["distractibility"] = _important(of_label, bird, irrelevant).mean(1)
        drawn = [name for name in bird.background if name in lost]
        row["background_objects"], row["background_drawn"] = float(len(bird.background)), float(len(drawn))
        row["background_relevant"] = float(len(set(drawn) - set(irrelevant)))
        if all(name in lost for name in names):
            importances = np.array([_importance(of_label, bird, name) for name in names])
            rho = float(spearman(importances, np.array([lost[name] for name in names])))
            row["part_deletion"] = None if np.isnan(rho) else (1 + rho) / 2
        row["target_sensitivity"] = self._target_sensitivity(bird, explain)
        return row

    def _target_sensitivity(self, bird: _Bird, explain: Callable[[int], Tensor]) -> float | None:
        shared = {
            other: frozenset(name for name in self._names if model[name] == self._models[bird.label][name])
            for other, model in enumerate(self._models)
        }
        with_two = [other for other in shared if other != bird.label and len(shared[other]) == SHARED]
        pairs = [pair for pair in combinations(with_two, 2) if not shared[pair[0]] & shared[pair[1]]]
        if not pairs or not all(shared[other] in bird.logits for other in pairs[0]):
            return None
        first, second = pairs[0]
        without_first, without_second = (bird.logits[shared[other]] for other in pairs[0])
        if not (without_first[first] < without_second[first] and without_second[second] < without_first[second]):
            return None
        sums = {
            (other, of): sum(_importance(map_of, bird, name) for name in shared[of])
            for other, map_of in ((first, explain(first)), (second, explain(second)))
            for of in (first, second)
        }
        answers = (sums[first, first] > sums[second, first], sums[first, second] < sums[second, second])
        return sum(answers) / 2

    def _sufficient_sets(self, label: int) -> list[frozenset[str]]:
        """Smallest sets of parts by which the class differs from each other one."""
        if label == len(self._models) - 1:
            return []  # as in the authors' script
        model, others = self._models[label], [other for row, other in enumerate(self._models) if row != label]
        subsets = (frozenset(one) for size in range(1, len(self._names) + 1) for one in combinations(self._names, size))
        sets: list[frozenset[str]] = []
        for subset in subsets:
            enough = all(any(other[name] != model[name] for name in subset) for other in others)
            if enough and not any(smaller < subset for smaller in sets):
                sets.append(subset)
        return sets


def _importance(map_of: Tensor, bird: _Bird, name: str) -> float:
    return float((map_of * bird.masks[name]).sum()) if name in bird.masks else 0.0


def _important(map_of: Tensor, bird: _Bird, names: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Whether each object is important to a map by each threshold, shape (80, N)."""
    importance = np.array([_importance(map_of, bird, name) for name in names])
    return importance > float(map_of.sum()) * PART_THRESHOLDS[:, None]


def _stays(bird: _Bird, without: frozenset[str]) -> float:
    """1 if the predicted class does without these objects, else 0; nan where no picture is drawn without just these."""
    logits = bird.logits.get(without)
    return float("nan") if logits is None else float(logits.argmax() == bird.predicted)
