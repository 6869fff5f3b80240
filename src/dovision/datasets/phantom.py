"""Chest-like images drawn from a small structural causal model, with known causes and true counterfactuals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from functools import cached_property
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from dovision import checks
from dovision.datasets import _checks, _phantom_film
from dovision.datasets._phantom_patient import LESION_KINDS, Patient, draw_patient
from dovision.interfaces import Counterfactuals, Source
from dovision.types import SOURCE_BOXES, SPLITS, object_kind

_VERSION = 1  # to be raised whenever the same arguments draw another pixel

_TASKS = {
    "disease": ("multiclass", ("healthy", "disease")),
    "kinds": ("multilabel", LESION_KINDS),
    "kind": ("multiclass", ("healthy", *LESION_KINDS, "both")),
}


class Phantom(Counterfactuals):
    """Chest films with known hospital, disease and drawn objects.

    A hospital tags its films; a disease causes lesions; the two are correlated by the shortcut's strength. Images are
    drawn when asked for, the same for the same (seed, split, row).

    Args:
        task, classes, shape: of the data; (1, S, S) with S from 64 to 224.
        label: disease (healthy or not), kinds (a label for each kind of lesion), or kind (one of four classes).
        shortcut: s in [0, 1]; P(disease | tagged) = (1 + s)/2 and P(disease | not tagged) = (1 - s)/2.
        test_shortcut: s of the test split; None is the same s. 0 is the honest test.
        train_images, val_images, test_images: images in each split.
        seed: of everything drawn.

    Raises:
        ValueError: a fact does not belong to the label, or a number is out of its range.

    Example:
        >>> import dovision as dv
        >>> settings = {"train_images": 4, "val_images": 4, "test_images": 4}
        >>> films = dv.component("dataset", "phantom", settings)
        >>> films.task.classes, films.split("test")[0].image.shape
        (('healthy', 'disease'), torch.Size([1, 96, 96]))
        >>> films.boxes("test").columns.tolist()
        ['sample', 'object', 'label', 'top', 'left', 'bottom', 'right']
    """

    def __init__(
        self,
        task: str,
        classes: Sequence[str],
        shape: Sequence[int],
        label: str,
        shortcut: float,
        test_shortcut: float | None,
        train_images: int,
        val_images: int,
        test_images: int,
        seed: int,
    ) -> None:
        task_name, names = _TASKS[checks.choice("label", label, _TASKS)]
        self.task = _checks.task(task, classes, (task_name,), f"label={label}")
        _checks.agree("classes", self.task.classes, names)
        self.shape = _checks.image_shape(shape)
        size = int(checks.within("the phantom's height", self.shape[1], 64, 224))
        _checks.agree("shape", self.shape, (1, size, size))
        strength = checks.within("shortcut", shortcut, 0, 1)
        test_strength = strength if test_shortcut is None else checks.within("test_shortcut", test_shortcut, 0, 1)
        self._splits = {}
        for number, (split, images) in enumerate(zip(SPLITS, (train_images, val_images, test_images), strict=True)):
            count = checks.positive_int(f"{split}_images", images)
            of_split = test_strength if split == "test" else strength
            self._splits[split] = Films(seed, number, count, size, of_split, label)
        described = [repr((_VERSION, astuple(films))).encode() for films in self._splits.values()]
        self.files = ()
        self.content = _checks.fingerprint(described, {})

    def source(self, split: str) -> Source:
        films = self._splits[split]
        label = torch.stack([_label(patient, films.task) for patient in films.patients])
        group = torch.arange(films.images) * len(SPLITS) + films.split  # no patient is in two splits
        return Source(films, label, group)

    def source_table(self, split: str) -> pd.DataFrame:
        """Columns of the causal variables: `hospital`, `disease`, `tag`, and the number of lesions of each kind."""
        patients = self._splits[split].patients
        names = [f"{split}-{row}" for row in range(len(patients))]
        variables = pd.DataFrame(
            [
                (patient.hospital, patient.disease, patient.tag is not None, *map(patient.count, LESION_KINDS))
                for patient in patients
            ],
            columns=["hospital", "disease", "tag", *LESION_KINDS],
        )
        return pd.DataFrame({"name": names, "group": names}).join(variables.astype(int))

    def source_boxes(self, split: str) -> pd.DataFrame:
        """Tight box of the pixels of each part; lesions speak for a class, the tag and the rib for none."""
        return pd.DataFrame(self._splits[split].boxes, columns=SOURCE_BOXES)

    def source_objects(self, split: str, row: int) -> tuple[str, ...]:
        """Removable objects of an image: each lesion, the tag if there is one, and one rib."""
        return _phantom_film.removable_objects(self._splits[split].patients[row])

    def source_counterfactual(self, split: str, row: int, *objects: str) -> Tensor:
        """Render the same film without some of its objects, shape (1, S, S): all else is equal, the noise too.

        Raises:
            ValueError: the sample has no such object.
        """
        for obj in objects:
            checks.choice("object", obj, self.source_objects(split, row))
        films = self._splits[split]
        return _phantom_film.render_film(films.patients[row], films.size, without=objects)


@dataclass(frozen=True)
class Films:
    """A split of the phantom; each film is drawn when asked for, from these numbers and the row alone."""

    seed: int
    split: int
    images: int
    size: int
    shortcut: float
    task: str  # a key of _TASKS

    def patient(self, row: int) -> Patient:
        """Causal variables of a film."""
        return draw_patient(self.seed, self.split, row, self.shortcut)

    @cached_property
    def patients(self) -> list[Patient]:
        """Causal variables of all films."""
        return [self.patient(row) for row in range(self.images)]

    @cached_property
    def boxes(self) -> list[tuple[Any, ...]]:
        """Boxes of the parts of all films, with their rows, names and classes."""
        return [
            (row, obj, _spoken_for(obj, patient, self.task), *box)
            for row, patient in enumerate(self.patients)
            for obj, box in _phantom_film.object_boxes(patient, self.size).items()
        ]

    def __call__(self, row: int) -> Tensor:
        return _phantom_film.render_film(self.patient(row), self.size)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out patients and boxes: a reading process draws those that it needs."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def _label(patient: Patient, label: str) -> Tensor:
    present = torch.tensor([patient.count(finding) > 0 for finding in LESION_KINDS])
    if label == "kinds":
        return present.float()
    if label == "kind":
        return present[0] + 2 * present[1]
    return torch.tensor(int(patient.disease))


def _spoken_for(obj: str, patient: Patient, label: str) -> str | None:
    """Class that an object is a sign of."""
    finding = object_kind(obj)
    if finding not in LESION_KINDS:
        return None
    return finding if label == "kinds" else _TASKS[label][1][int(_label(patient, label))]
