"""Chest-like images drawn from a small structural causal model, with known causes and true counterfactuals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import Dataset

from dovision import checks
from dovision.contracts import BOXES, Batch, Images, part_kind
from dovision.datasets import facts, phantom_film, splits
from dovision.datasets.phantom_patient import KINDS, Patient, draw

VERSION = 1  # to be raised whenever the same arguments draw another pixel

_TASKS = {
    "disease": ("multiclass", ("healthy", "disease")),
    "kinds": ("multilabel", KINDS),
    "kind": ("multiclass", ("healthy", *KINDS, "both")),
}


class Settings(NamedTuple):
    """All that a pixel or a label of one split depends on, besides the sample."""

    seed: int
    split: int
    images: int
    size: int
    shortcut: float
    label: str


class Phantom(Images):
    """Chest films of which the hospital, the disease and every drawn part are known.

    A hospital tags its films; a disease causes lesions; the two are correlated by the shortcut's strength. Images are
    drawn when asked for, the same for the same (seed, split, sample).

    Args:
        task, classes, shape: facts; (1, S, S) with S from 64 to 224.
        label: disease (healthy or not), kinds (a label for each kind of lesion), or kind (one of four classes).
        shortcut: s in [0, 1]; P(disease | tagged) = (1 + s)/2 and P(disease | not tagged) = (1 - s)/2.
        test_shortcut: s of the test split; None is the same s. 0 is the honest test.
        train_images, val_images, test_images: images in each split.
        seed: of everything drawn.

    Raises:
        ValueError: a fact does not belong to the label, or a number is out of its range.
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
        kind, names = _TASKS[checks.choice("label", label, _TASKS)]
        self.task = facts.task(task, classes, (kind,), f"label={label}")
        facts.agree("classes", self.task.classes, names)
        self.shape = facts.shape(shape)
        size = int(checks.within("the phantom's height", self.shape[1], 64, 224))
        facts.agree("shape", self.shape, (1, size, size))
        strength = checks.within("shortcut", shortcut, 0, 1)
        test_strength = strength if test_shortcut is None else checks.within("test_shortcut", test_shortcut, 0, 1)
        counts = {"train_images": train_images, "val_images": val_images, "test_images": test_images}
        self._splits = {}
        for number, (name, count) in enumerate(counts.items()):
            own = test_strength if splits.NAMES[number] == "test" else strength
            settings = Settings(seed, number, checks.positive_int(name, count), size, own, label)
            self._splits[splits.NAMES[number]] = Films(settings)
        described = [repr((VERSION, tuple(films.settings))).encode() for films in self._splits.values()]
        self.fingerprint = facts.fingerprint(described, {})

    def split(self, name: str) -> Films:
        return self._splits[checks.choice("split", name, splits.NAMES)]

    def table(self, name: str) -> pd.DataFrame:
        """Besides the names, the causal variables: `hospital`, `disease`, `tag`, and how many lesions of each kind."""
        films = self.split(name)
        patients = [films.patient(sample) for sample in range(len(films))]
        names = [f"{name}-{sample}" for sample in range(len(films))]
        known = {
            "hospital": [int(patient.hospital) for patient in patients],
            "disease": [int(patient.disease) for patient in patients],
            "tag": [int(patient.tag is not None) for patient in patients],
        }
        counts = {kind: [patient.count(kind) for patient in patients] for kind in KINDS}
        return pd.DataFrame({"sample": range(len(films)), "name": names, "group": names, **known, **counts})

    def boxes(self, name: str) -> pd.DataFrame:
        """The tight box of each part's own pixels; lesions speak for a class, the tag and the rib for none."""
        films = self.split(name)
        rows = [row for sample in range(len(films)) for row in films.boxes(sample)]
        return pd.DataFrame(rows, columns=BOXES)

    def parts(self, split: str, sample: int) -> tuple[str, ...]:
        """What can be left out of an image: each lesion, the tag if there is one, and one rib."""
        return phantom_film.parts(self.split(split).patient(sample))

    def counterfactual(self, split: str, sample: int, *parts: str) -> Tensor:
        """The same film without some of its parts, shape (1, S, S): all else is equal, the noise too.

        Raises:
            ValueError: the sample has no such part.
        """
        films = self.split(split)
        patient = films.patient(sample)
        for part in parts:
            checks.choice("part", part, phantom_film.parts(patient))
        return phantom_film.render(patient, films.settings.size, without=parts)


class Films(Dataset[Batch]):
    """A split of the phantom; each film is drawn when asked for."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def __len__(self) -> int:
        return self.settings.images

    def patient(self, sample: int) -> Patient:
        """The causal variables of a sample."""
        if not 0 <= sample < len(self):
            raise IndexError(f"sample must be in [0, {len(self)}), got {sample}.")
        return draw(self.settings.seed, self.settings.split, sample, self.settings.shortcut)

    def boxes(self, sample: int) -> list[tuple[object, ...]]:
        """A row for each part of a sample, of the columns BOXES."""
        patient = self.patient(sample)
        boxes = phantom_film.boxes(patient, self.settings.size)
        return [(sample, part, _spoken_for(part, patient, self.settings.label), *box) for part, box in boxes.items()]

    def __getitem__(self, sample: int) -> Batch:
        patient = self.patient(sample)
        image = phantom_film.render(patient, self.settings.size)
        group = sample * len(splits.NAMES) + self.settings.split  # no patient is in two splits
        return Batch(image, _label(patient, self.settings.label), torch.tensor(sample), torch.tensor(group))


def _label(patient: Patient, label: str) -> Tensor:
    present = torch.tensor([patient.count(kind) > 0 for kind in KINDS])
    if label == "kinds":
        return present.float()
    if label == "kind":
        return present[0] + 2 * present[1]
    return torch.tensor(int(patient.disease))


def _spoken_for(part: str, patient: Patient, label: str) -> str | None:
    """The class that a part is a sign of."""
    kind = part_kind(part)
    if kind not in KINDS:
        return None
    return kind if label == "kinds" else _TASKS[label][1][int(_label(patient, label))]
