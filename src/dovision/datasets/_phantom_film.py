"""Rendering of a phantom patient: attenuations add up along the ray, and the film shows 1 - exp(-attenuation)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from dovision.datasets._phantom_patient import LESION_KINDS, Anatomy, Lesion, Patient, Tag
from dovision.functional import geometry
from dovision.types import Box

_RIBS = 8  # ribs a side
_FAINTEST = 0.01  # attenuation below which an object's rim is cut off, so that its box is tight


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
