"""Chest-like images drawn from a small structural causal model, with known causes and true counterfactuals."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Sequence
from dataclasses import astuple, dataclass, fields
from functools import cached_property
from typing import Any, NamedTuple

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from dovision import checks
from dovision.datasets import _checks
from dovision.datasets._phantom_patient import LESION_KINDS, Anatomy, Lesion, Patient, Tag, draw_patient
from dovision.functional import geometry
from dovision.interfaces import Counterfactuals, Source
from dovision.types import SOURCE_BOXES, SPLITS, Box, object_kind

_RIBS = 8  # ribs a side
_FAINTEST = 0.01  # attenuation below which an object's rim is cut off, so that its box is tight
_VERSION = 1  # to be raised whenever the same arguments draw another pixel

_TASKS = {
    "disease": ("multiclass", ("healthy", "disease")),
    "kinds": ("multilabel", LESION_KINDS),
}


class Phantom(Counterfactuals):
    """Chest films with known hospital, disease and drawn objects.

    A hospital tags its films; a disease causes lesions; the two are correlated by the shortcut's strength. Images are
    drawn when asked for, the same for the same (seed, split, row).

    Args:
        task, classes, shape: of the data; (1, S, S) with S from 64 to 224.
        label: disease (healthy or not), or kinds (a label for each kind of lesion).
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
        return removable_objects(self._splits[split].patients[row])

    def source_counterfactual(self, split: str, row: int, *objects: str) -> Tensor:
        """Render the same film without some of its objects, shape (1, S, S): all else is equal, the noise too.

        Raises:
            ValueError: the sample has no such object.
        """
        for obj in objects:
            checks.choice("object", obj, self.source_objects(split, row))
        films = self._splits[split]
        return render_film(films.patients[row], films.size, without=objects)


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
            for obj, box in object_boxes(patient, self.size).items()
        ]

    def __call__(self, row: int) -> Tensor:
        return render_film(self.patient(row), self.size)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out patients and boxes: a reading process draws those that it needs."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def _label(patient: Patient, label: str) -> Tensor:
    if label == "kinds":
        return torch.tensor([float(patient.count(finding) > 0) for finding in LESION_KINDS])
    return torch.tensor(int(patient.disease))


def _spoken_for(obj: str, patient: Patient, label: str) -> str | None:
    """Class that an object is a sign of."""
    finding = object_kind(obj)
    if finding not in LESION_KINDS:
        return None
    return finding if label == "kinds" else _TASKS[label][1][int(_label(patient, label))]


class Chest(NamedTuple):
    """Coordinates and borders of one patient's chest, each of shape (H, W), in half-widths of the film."""

    x: Tensor
    y: Tensor
    lateral: Tensor  # distance from the midline
    inner: Tensor  # the lung's inner border at this height, as a distance from the midline
    outer: Tensor
    dome: Tensor  # y of the diaphragm at this distance from the midline
    lung: Tensor  # 0 outside, 1 inside, soft between


def removable_objects(patient: Patient) -> tuple[str, ...]:
    """Names of removable objects: each lesion, the tag if there is one, and one rib."""
    numbers = {finding: itertools.count() for finding in LESION_KINDS}
    lesions = [f"{lesion.finding}{next(numbers[lesion.finding])}" for lesion in patient.lesions]
    return (*lesions, *(("tag",) if patient.tag else ()), "rib")


def render_film(patient: Patient, size: int, without: Collection[str] = ()) -> Tensor:
    """Render the film, shape (1, size, size), in [0, 1); all else, noise too, is the same for any objects left out."""
    anatomy, chest = patient.anatomy, _chest(patient.anatomy, size)
    ribs = _ribs(anatomy, chest) * ~_is_own_rib(patient, chest)
    film = _soft_tissue(anatomy, chest) + _vessels(patient, chest) + ribs
    film = film + _front_ribs(anatomy, chest) + _clavicles(anatomy, chest)
    for name, layer in _layers(patient, chest).items():
        if name not in without:
            film = film + layer
    film = film + anatomy.noise * patient.noise(size, size)
    return (1 - torch.exp(-anatomy.exposure * film.clamp(min=0))).unsqueeze(0)


def object_boxes(patient: Patient, size: int) -> dict[str, Box]:
    """Tight box of the pixels of each object."""
    layers = _layers(patient, _chest(patient.anatomy, size))
    return {name: geometry.bounding_box(layer.bool().numpy()) for name, layer in layers.items()}


def _layers(patient: Patient, chest: Chest) -> dict[str, Tensor]:
    """Attenuation of each object, by its name, shape (size, size)."""
    drawn = [_lesion(patient.anatomy, chest, lesion) for lesion in patient.lesions]
    drawn += [_letter(patient.tag, len(chest.x))] if patient.tag else []
    rib = _ribs(patient.anatomy, chest) * _is_own_rib(patient, chest)
    named = zip(removable_objects(patient), [*drawn, rib], strict=True)
    return {name: layer * (layer >= _FAINTEST) for name, layer in named}


def _film(size: int) -> tuple[Tensor, Tensor]:
    """Coordinates across and down, each of shape (size, size), from -1 to 1."""
    centres = (torch.arange(size) + 0.5) * (2 / size) - 1
    return centres.expand(size, size), centres.unsqueeze(1).expand(size, size)


def _edge(distance: Tensor, softness: float = 0.02) -> Tensor:
    return torch.sigmoid(distance / softness)


def _chest(anatomy: Anatomy, size: int) -> Chest:
    across, down = _film(size)
    cos, sin = math.cos(anatomy.tilt) / anatomy.scale, math.sin(anatomy.tilt) / anatomy.scale
    x = (across - anatomy.shift_x) * cos + (down - anatomy.shift_y) * sin
    y = (down - anatomy.shift_y) * cos - (across - anatomy.shift_x) * sin
    lateral = x.abs()
    dome = _dome(anatomy, lateral, x > 0)
    inner, outer = _borders(anatomy, y)
    lung = _edge(lateral - inner) * _edge(outer - lateral) * _edge(dome - y, 0.015)
    return Chest(x, y, lateral, inner, outer, dome, lung)


def _dome(anatomy: Anatomy, lateral: Tensor, right: Tensor) -> Tensor:
    level = anatomy.diaphragm + 0.07 * right
    return level + 0.22 * ((lateral - 0.34) / 0.38).square()


def _borders(anatomy: Anatomy, y: Tensor) -> tuple[Tensor, Tensor]:
    rest = (1 - (y - anatomy.apex) / (anatomy.diaphragm + 0.25 - anatomy.apex)).clamp(0, 1)
    inner = 0.11 + 0.20 * rest**7
    outer = anatomy.lung_width * (1 - rest**2.6).clamp(min=0) ** 0.55
    return inner, outer


def _soft_tissue(anatomy: Anatomy, chest: Chest) -> Tensor:
    shoulders = 0.24 + 0.74 * _edge(chest.y + 0.80 - 0.25 * (chest.lateral - 0.5), 0.06)
    body = _edge(shoulders - chest.lateral, 0.03) * (1 - 0.25 * chest.lateral.square())
    heart = ((chest.x - 0.13) / anatomy.heart_width).square() + ((chest.y - 0.26) / anatomy.heart_height).square()
    middle = 0.14 + 0.05 * torch.tanh(4 * chest.y + 1)
    spine = _edge(0.08 - chest.lateral, 0.02) * (0.14 + 0.05 * torch.cos(chest.y * 2 * math.pi / 0.17))
    windpipe = _edge(0.05 - chest.lateral, 0.015) * _edge(-0.25 - chest.y, 0.05)
    attenuation = anatomy.tissue * (1 - anatomy.air * chest.lung)
    centre = 1 - (1 - _edge(1 - heart, 0.10)) * (1 - 0.7 * _edge(middle - chest.lateral, 0.03))
    attenuation = attenuation + 0.50 * centre
    attenuation = attenuation + 0.25 * _edge(chest.y - chest.dome, 0.03) + spine - 0.20 * windpipe
    return 0.03 + body * attenuation


def _vessels(patient: Patient, chest: Chest) -> Tensor:
    """Branching streaks that fade from the hilum outwards, and uneven aeration."""
    size = chest.x.shape[-1]
    coarse, haze = _smooth(patient.texture[:2, :12, :12], size)
    (fine,) = _smooth(patient.texture[2:], size)
    streaks = (1 - 3 * coarse.abs()).clamp(min=0) + 0.7 * (1 - 3 * fine.abs()).clamp(min=0)
    hilum = torch.exp(-((chest.lateral - 0.18).square() + (chest.y + 0.05).square()) / 0.12)
    return chest.lung * (patient.anatomy.vessels * streaks * (0.25 + hilum) + 0.12 * hilum + 0.05 * haze)


def _ribs(anatomy: Anatomy, chest: Chest) -> Tensor:
    """Posterior arcs of the ribs, one periodic band."""
    phase = _rib_phase(anatomy, chest)
    number = phase.round()
    profile = (1 - ((phase - number) / 0.20).square()).clamp(min=0).sqrt()
    reach = ((chest.lateral - 0.07) / 0.06).clamp(0, 1) * ((chest.outer + 0.06 - chest.lateral) / 0.06).clamp(0, 1)
    above = (1 - 0.7 * _edge(chest.y - chest.dome)) * ((number >= 0) & (number < _RIBS))
    return anatomy.rib_density * profile * reach * above


def _is_own_rib(patient: Patient, chest: Chest) -> Tensor:
    right, number = patient.rib
    return (_rib_phase(patient.anatomy, chest).round() == number) & ((chest.x > 0) == right)


def _rib_phase(anatomy: Anatomy, chest: Chest) -> Tensor:
    bend = anatomy.rib_drop * (chest.lateral - 0.22).square() / 0.2
    return (chest.y - bend - anatomy.apex - 0.04) / anatomy.rib_spacing - anatomy.rib_offset


def _front_ribs(anatomy: Anatomy, chest: Chest) -> Tensor:
    phase = (chest.y + 0.75 * (chest.lateral - 0.5) - anatomy.apex) / (1.15 * anatomy.rib_spacing) - anatomy.rib_offset
    profile = (1 - ((phase - phase.round()) / 0.24).square()).clamp(min=0)
    reach = ((chest.lateral - 0.25) / 0.3).clamp(0, 1) * ((chest.outer + 0.04 - chest.lateral) / 0.06).clamp(0, 1)
    return 0.5 * anatomy.rib_density * profile * reach * _edge(chest.dome - chest.y)


def _clavicles(anatomy: Anatomy, chest: Chest) -> Tensor:
    line = anatomy.apex + 0.24 - 0.14 * chest.lateral + 0.05 * torch.sin(7 * chest.lateral)
    profile = (1 - ((chest.y - line) / 0.04).square()).clamp(min=0).sqrt()
    return 1.3 * anatomy.rib_density * profile * _edge(chest.lateral - 0.09) * _edge(0.66 - chest.lateral, 0.03)


def _lesion(anatomy: Anatomy, chest: Chest, lesion: Lesion) -> Tensor:
    x, y = _position(anatomy, lesion)
    cos, sin = math.cos(lesion.angle), math.sin(lesion.angle)
    long = ((chest.x - x) * cos + (chest.y - y) * sin) / (lesion.radius * lesion.stretch)
    short = ((chest.y - y) * cos - (chest.x - x) * sin) / (lesion.radius / lesion.stretch)
    inside = (1 - long.square() - short.square()).clamp(min=0)
    if lesion.finding == "opacity":
        inside = inside * (1 + 0.6 * _smooth(lesion.texture.unsqueeze(0), chest.x.shape[-1])[0]).clamp(0, 2)
    else:
        inside = inside.sqrt()
    return lesion.contrast * inside * chest.lung


def _position(anatomy: Anatomy, lesion: Lesion) -> tuple[float, float]:
    """Position on the film of a lesion in its lung; along first, then across."""
    lateral = torch.tensor(0.34)
    for _ in range(2):  # the dome's height depends on the distance from the midline, which depends on the height
        y = anatomy.apex + lesion.along * (_dome(anatomy, lateral, torch.tensor(lesion.right)) - anatomy.apex)
        inner, outer = _borders(anatomy, y)
        lateral = inner + lesion.across * (outer - inner)
    return float(lateral) * (1 if lesion.right else -1), float(y)


def _letter(tag: Tag, size: int) -> Tensor:
    """Attenuation of the lead letter E: a stem and three bars."""
    across, down = _film(size)
    x, y = (across - tag.x) / tag.size, (down - tag.y) / tag.size
    stem = (x >= 0) & (x < 0.3)
    bars = (y * 2.5 - (y * 2.5).floor() < 0.5) & (x < 0.75)
    return 1.6 * ((stem | bars) & (x >= 0) & (y >= 0) & (y < 1)).float()


def _smooth(noise: Tensor, size: int) -> Tensor:
    """Upsample coarse noise, shape (N, h, w), smoothly to the film's size, shape (N, size, size)."""
    return F.interpolate(noise.unsqueeze(0), size=(size, size), mode="bicubic", align_corners=False)[0]
