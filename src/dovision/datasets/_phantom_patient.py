"""Structural causal model of the phantom: variables, their causes and their distributions, before anything is drawn.

    hospital ----> tag
        |  (shortcut)
        v
    disease -----> lesions        anatomy and noise have no cause and cause neither

Each variable draws its own noise from a stream of its own, so that one can be changed and all others stay.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple, get_type_hints

import torch
from torch import Tensor

from dovision.functional.rng import generator

LESION_KINDS = ("nodule", "opacity")

_HOSPITAL, _DISEASE, _ANATOMY, _LESIONS, _TAG, _RIB, _TEXTURE, _NOISE = range(8)  # keys of the streams


class Anatomy(NamedTuple):
    """Geometry of the healthy chest; lengths in half-widths of the film, x from left to right, y from top to bottom.

    Each number is drawn uniformly from the range beside its type.
    """

    shift_x: Annotated[float, -0.05, 0.05]
    shift_y: Annotated[float, -0.04, 0.04]
    tilt: Annotated[float, -0.05, 0.05]  # radians
    scale: Annotated[float, 0.93, 1.05]
    lung_width: Annotated[float, 0.66, 0.76]  # from the midline to the chest wall
    apex: Annotated[float, -0.80, -0.70]  # y of the lungs' upper end
    diaphragm: Annotated[float, 0.40, 0.54]  # y of the dome on the film's left
    heart_width: Annotated[float, 0.30, 0.40]
    heart_height: Annotated[float, 0.28, 0.36]
    rib_spacing: Annotated[float, 0.150, 0.185]
    rib_drop: Annotated[float, 0.20, 0.34]  # how steeply the ribs fall towards the chest wall
    rib_offset: Annotated[float, 0.0, 1.0]
    rib_density: Annotated[float, 0.10, 0.17]
    tissue: Annotated[float, 0.95, 1.15]  # attenuation of the chest without lungs
    air: Annotated[float, 0.66, 0.78]  # share of the tissue's attenuation that the lungs lack
    vessels: Annotated[float, 0.10, 0.18]
    exposure: Annotated[float, 0.85, 1.15]
    noise: Annotated[float, 0.04, 0.065]  # standard deviation of the sensor noise, in attenuation


_RANGES = [hint.__metadata__ for hint in get_type_hints(Anatomy, include_extras=True).values()]


class Lesion(NamedTuple):
    """Nodule (small, sharp) or opacity (large, cloudy) in a lung field."""

    finding: str
    right: bool  # on the film's right
    across: float  # place between the lung's inner (0) and outer (1) border
    along: float  # place between the apex (0) and the diaphragm (1)
    radius: float  # half-widths of the film
    stretch: float  # ratio of the two axes
    angle: float  # radians
    contrast: float  # attenuation at the centre
    texture: Tensor  # (8, 8) the cloud's own noise


class Tag(NamedTuple):
    """Letter that a hospital puts on its films, in the upper left corner."""

    x: float
    y: float
    size: float


class Patient(NamedTuple):
    """Variables of one sample."""

    hospital: bool  # the one that tags its films
    disease: bool
    anatomy: Anatomy
    lesions: tuple[Lesion, ...]
    tag: Tag | None
    rib: tuple[bool, int]  # the rib that is an object of the sample: on the film's right, and its number
    keys: tuple[int, int, int]  # seed, split, sample

    def count(self, finding: str) -> int:
        """Number of lesions of one finding."""
        return sum(lesion.finding == finding for lesion in self.lesions)

    @property
    def texture(self) -> Tensor:
        """Standard normal noise of this patient's lungs, shape (3, 24, 24)."""
        return torch.randn(3, 24, 24, generator=generator(*self.keys, _TEXTURE))

    def noise(self, *shape: int) -> Tensor:
        """Standard normal noise of this patient's film, of any shape."""
        return torch.randn(shape, generator=generator(*self.keys, _NOISE))


def draw_patient(seed: int, split: int, sample: int, shortcut: float) -> Patient:
    """Draw the patient of a sample, from the model's causes to its effects.

    Args:
        shortcut: s in [0, 1]; P(disease | the hospital that tags) = (1 + s)/2, P(disease | the other) = (1 - s)/2.
    """
    keys = (seed, split, sample)
    hospital = _uniform(keys, _HOSPITAL, 1)[0] < 0.5
    risk = (1 + shortcut) / 2 if hospital else (1 - shortcut) / 2
    disease = _uniform(keys, _DISEASE, 1)[0] < risk
    side, number = _uniform(keys, _RIB, 2)
    shares = zip(_RANGES, _uniform(keys, _ANATOMY, len(_RANGES)), strict=True)
    x, y, size = _uniform(keys, _TAG, 3)
    return Patient(
        hospital=hospital,
        disease=disease,
        anatomy=Anatomy(*(low + (high - low) * share for (low, high), share in shares)),
        lesions=_lesions(keys) if disease else (),
        tag=Tag(x=-0.90 + 0.06 * x, y=-0.90 + 0.06 * y, size=0.13 + 0.03 * size) if hospital else None,
        rib=(side < 0.5, 2 + int(number * 4)),
        keys=keys,
    )


def _lesions(keys: tuple[int, int, int]) -> tuple[Lesion, ...]:
    kinds, nodules, opacities = _uniform(keys, _LESIONS, 3)
    counts = {"nodule": 1 + int(nodules * 3), "opacity": 1 + int(opacities * 2)}
    present = (("nodule",), ("opacity",), LESION_KINDS)[int(kinds * 3)]
    return tuple(_lesion(keys, finding, number) for finding in present for number in range(counts[finding]))


def _lesion(keys: tuple[int, int, int], finding: str, number: int) -> Lesion:
    stream = generator(*keys, _LESIONS, LESION_KINDS.index(finding), number)
    side, across, along, radius, stretch, angle, contrast = torch.rand(7, generator=stream).tolist()
    small = finding == "nodule"
    return Lesion(
        finding=finding,
        right=side < 0.5,
        across=0.2 + 0.65 * across,
        along=0.15 + 0.7 * along,
        radius=0.07 + 0.05 * radius if small else 0.20 + 0.14 * radius,
        stretch=0.8 + 0.4 * stretch,
        angle=3.14159 * angle,
        contrast=0.35 + 0.40 * contrast if small else 0.32 + 0.36 * contrast,
        texture=torch.randn(8, 8, generator=stream),
    )


def _uniform(keys: tuple[int, int, int], stream: int, count: int) -> list[float]:
    return torch.rand(count, generator=generator(*keys, stream)).tolist()
