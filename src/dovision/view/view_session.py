"""Questions of the page and their answers in plain types; all of them asked in one thread."""

from __future__ import annotations

import functools
import itertools
import json
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from dovision import checks
from dovision.api import to_batch
from dovision.config.sources import configuration_folder
from dovision.interfaces import Attack, Intervention
from dovision.interventions.activation import Activation
from dovision.interventions.brush import Brush
from dovision.interventions.pixel_grid import PixelGrid
from dovision.io import files, images
from dovision.notebook.by_name import component
from dovision.types import Batch
from dovision.view import opened_network
from dovision.view.image_effects import ClassRow, ImageEffects, class_rows
from dovision.view.opened_network import PUBLISHED, OpenedNetwork
from dovision.view.pictures import effects_link, image_bytes, link, unpacked

_KEPT = 8  # images, the last ones
_ATTACKS = ("fgsm", "bim", "mifgsm", "pgd", "margin_pgd", "apgd", "random_sign")  # quick ones of the norm linf
_VALUES = ("zero", "mean", "resample", "noise")  # that ask for no other image
_THUMBNAILS = 16


@dataclass
class OpenedImage:
    """An image that the page shows, and where it comes from."""

    effects: ImageEffects
    network: OpenedNetwork
    name: str
    picture: bytes | None = None  # of a file that was dropped; None: of the network's images
    attack: Mapping[str, Any] | None = None  # name, settings and epsilon, of an attacked one
    clean: int | None = None  # the number of the image that was attacked
    coded: ImageEffects | None = None  # in front of the classifier with its autoencoder, once a latent was asked for


@dataclass
class MapSoFar:
    """A map that is being measured: the treated logits of the units that are done."""

    grid: Intervention
    target: int
    units: int
    treated: dict[int, Tensor] = field(default_factory=dict)
    problem: str = ""


class ViewSession:
    """What is opened, and what was found of it.

    Args:
        network: the first one.
    """

    def __init__(self, network: OpenedNetwork) -> None:
        self.network = network
        self._numbers = itertools.count(1)
        self.images: OrderedDict[int, OpenedImage] = OrderedDict()
        self.maps: dict[int, MapSoFar] = {}

    def choices(self) -> dict[str, Any]:
        """Names that can be chosen on the page, and what is open."""
        own = self.network
        split = own.images.order(own.split)
        names = own.images.table(own.split)["name"].astype(str).tolist()[:_THUMBNAILS]
        return {
            "network": own.title,
            "classes": list(own.classifier.task.classes),
            "shape": list(own.shape),
            "fills": {name: _settings("fill", name) for name in _names("fill")},
            "values": {name: _settings("value", name) for name in _VALUES},
            "attacks": {name: _settings("attack", name) for name in _ATTACKS},
            "models": list(PUBLISHED),
            "samples": [{"sample": sample, "name": name} for sample, name in enumerate(names)],
            "images": len(split),
            "run": None if own.run is None else str(own.run),
            "on_code": own.with_autoencoder is not None,
        }

    def sites(self) -> dict[str, Any]:
        """Shape of the value of each site inside the network."""
        return {name: list(shape) for name, shape in self.network.sites().items()}

    def units(self, site: str) -> dict[str, int]:
        """How many units of each kind a site has."""
        counted = (each.split() for each in self.network.site(site).units.split(", "))
        return {kind.removesuffix("s"): int(count) for count, kind in counted}

    def open_network(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Open a published network, a checkpoint or a run, and say what can be chosen of it."""
        kind = checks.choice("model", _text(asked, "model"), (*PUBLISHED, "checkpoint", "run"))
        if kind == "run":
            self.network = opened_network.of_run(Path(_text(asked, "path")))
        else:
            file = _text(asked, "path") if kind == "checkpoint" else ""
            name, weights = str(asked.get("name") or ""), asked.get("weights") is not False
            words = opened_network.published_words(kind, name, weights, asked.get("size"), self.network, file)
            self.network = opened_network.of_words(words)
        self.images.clear()
        self.maps.clear()
        return self.choices()

    def open_sample(self, sample: int) -> dict[str, Any]:
        """Open an image of the network's data."""
        own = self.network
        count = len(own.images.order(own.split))
        checks.bounded("sample", sample, 0, count - 1)
        name = str(own.images.table(own.split)["name"].iloc[sample])
        batch = own.images.split(own.split).batch([sample])
        return self._opened(OpenedImage(ImageEffects(own.classifier, batch), own, name))

    def open_picture(self, data: bytes, name: str) -> dict[str, Any]:
        """Open a file that was dropped on the page."""
        try:
            decoded = images.decode(data)
        except images.BadFile as error:
            raise ValueError(f"{name or 'the file'} must be a whole image, but is {error}.") from error
        own = self.network
        image = to_batch(decoded, size=(own.shape[1], own.shape[2]), channels=own.shape[0])
        number = torch.zeros(1, dtype=torch.int64)
        batch = Batch(image, own.classifier.task.unknown(1), number, number)
        return self._opened(OpenedImage(ImageEffects(own.classifier, batch), own, name or "picture", picture=data))

    def thumbnail(self, sample: int) -> bytes:
        """A picture of an image of the network's data, as PNG."""
        from dovision.view.pictures import png

        own = self.network
        return png(image_bytes(own.images.split(own.split)[sample].image))

    def effect(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """P(y) before and after do(brushed region = fill) or do(unit = value)."""
        image = self.image(asked)
        effects = self._measured(asked, image) if asked.get("unit") else image.effects
        found = effects.effect(self.intervention(asked, image))
        target = self.target(asked, image)
        rows = class_rows(image.effects.task, found.control, found.treated, target)
        seen = None if found.image is None else link(image_bytes(found.image))
        return {"rows": _plain(rows), "seen": seen}

    def intervention(self, asked: Mapping[str, Any], image: OpenedImage) -> Intervention:
        """What the page asks to be done: a unit set to a value, a grid, or a brushed region painted.

        Raises:
            ValueError: there is no such fill, value, site or unit; the region has no pixel.
        """
        if unit := asked.get("unit"):
            value = self.component("value", unit["value"])
            kind, number = str(unit["kind"]), checks.count("number", unit["number"])
            return Activation(str(unit["site"]), kind, value, choose=[number])
        fill = self.component("fill", asked["fill"])
        if rows := asked.get("rows"):
            return PixelGrid(rows, rows, fill)
        height, width = image.effects.batch.image.shape[2:]
        return Brush(torch.from_numpy(unpacked(str(asked["mask"]), height, width)), fill)

    def component(self, group: str, asked: Mapping[str, Any]) -> Any:
        """A component as the commands make it, by its name and perhaps settings."""
        settings = json.dumps(dict(asked.get("settings") or {}), sort_keys=True)
        return _component(group, str(asked["name"]), settings, self.network.settings.seed)

    def attacked(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Open the image that an attack makes of a clean one; without epsilon the clean one itself."""
        image, attack = self.image(asked), dict(asked["attack"])
        eps = checks.number("eps", attack["eps"])
        settings = {**dict(attack.get("settings") or {}), "eps": [attack["eps"]]}
        made: Attack = self.component("attack", {"name": attack["name"], "settings": settings})
        if eps == 0:
            return self._shown(int(asked["image"]), image)
        number = int(asked["image"])
        effects = image.effects.attacked(made)
        return self._opened(OpenedImage(effects, image.network, image.name, image.picture, attack, number))

    def begin_map(self, asked: Mapping[str, Any]) -> Iterator[None]:
        """Begin the map of a grid; the iterator measures it, a few cells a step."""
        image = self.image(asked)
        rows = checks.positive_int("rows", asked["rows"])
        grid = self.intervention({"fill": asked["fill"], "rows": rows}, image)
        grid.region(tuple(image.effects.batch.image.shape[1:]), 0, 0)  # refuses more cells than pixels
        found = self.maps[int(asked["image"])] = MapSoFar(grid, self.target(asked, image), rows * rows)
        return self._measure(image.effects, found)

    def map_pictures(self, numbers: list[int], scale: str) -> dict[str, Any]:
        """The maps of images so far, in one scale of colours, by the number of the image.

        Args:
            numbers: of the images.
            scale: probability or log_odds.
        """
        checks.choice("scale", scale, ("probability", "log_odds"))
        shown = {number: self.maps[number] for number in numbers if number in self.maps and number in self.images}
        values = {number: self._values(self.images[number], found, scale) for number, found in shown.items()}
        limit = max((abs(value) for own in values.values() for value in own), default=0.0) or 1.0
        answer = {}
        for number, found in shown.items():
            effects = self.images[number].effects
            batch = effects.batch
            painted = found.grid.on_pixels(tuple(batch.image.shape[1:]), int(batch.sample[0]), values[number])
            answer[str(number)] = {
                "picture": effects_link(painted, limit),
                "values": values[number],
                "done": len(found.treated),
                "units": found.units,
                "target": effects.task.classes[found.target],
                "problem": found.problem,
            }
        return {"limit": limit, "maps": answer}

    def target(self, asked: Mapping[str, Any], image: OpenedImage) -> int:
        """The number of the class that is looked at; by default the one that is predicted of the clean image."""
        if asked.get("target") is not None:
            return image.effects.task.number_of(int(asked["target"]))
        return (image if image.clean is None else self.images[image.clean]).effects.predicted

    def image(self, asked: Mapping[str, Any]) -> OpenedImage:
        """The image that is asked about.

        Raises:
            ValueError: it is not open any more.
        """
        found = self.images.get(int(asked.get("image") or 0))
        if found is None:
            raise ValueError("this image is not open any more. Open it again.")
        return found

    def _measure(self, effects: ImageEffects, found: MapSoFar) -> Iterator[None]:
        try:
            for units, treated in effects.map_steps(found.grid):
                found.treated.update(zip(units, treated, strict=True))
                yield
        except ValueError as error:
            found.problem = str(error)

    def _values(self, image: OpenedImage, found: MapSoFar, scale: str) -> list[float]:
        """The effect of each unit on the target class; 0 of those that are not done."""
        task, control = image.effects.task, image.effects.control.double()
        of = task.log_odds if scale == "log_odds" else task.probability
        values = [0.0] * found.units
        for unit, treated in found.treated.items():
            values[unit] = float(of(treated.double())[found.target] - of(control)[found.target])
        return values

    def _measured(self, asked: Mapping[str, Any], image: OpenedImage) -> ImageEffects:
        """The image in front of the classifier that has the unit."""
        classifier = image.network.with_site(str(asked["unit"]["site"]))
        if classifier is image.effects.classifier:
            return image.effects
        if image.coded is None:
            image.coded = ImageEffects(classifier, image.effects.batch)
        return image.coded

    def _opened(self, image: OpenedImage) -> dict[str, Any]:
        number = next(self._numbers)
        self.images[number] = image
        while len(self.images) > _KEPT:
            gone, _ = self.images.popitem(last=False)
            self.maps.pop(gone, None)
        return self._shown(number, image)

    def _shown(self, number: int, image: OpenedImage) -> dict[str, Any]:
        effects = image.effects
        before = effects.control if image.clean is None else self.images[image.clean].effects.control
        return {
            "image": number,
            "name": image.name,
            "picture": link(image_bytes(effects.batch.image[0])),
            "height": effects.batch.image.shape[2],
            "width": effects.batch.image.shape[3],
            "rows": _plain(class_rows(effects.task, before, effects.control, int(before.argmax()))),
            "predicted": effects.predicted,
        }


@functools.lru_cache(maxsize=64)
def _component(group: str, name: str, settings: str, seed: int) -> Any:
    return component(group, name, json.loads(settings), seed)


@functools.cache
def _names(group: str) -> list[str]:
    return sorted(path.stem for path in (configuration_folder() / group).glob("*.yaml"))


def _settings(group: str, name: str) -> dict[str, float]:
    """The numbers that can be set of a component, with their defaults."""
    content = yaml.safe_load(files.read_text(configuration_folder() / group / f"{name}.yaml"))
    return {key: value for key, value in content.items() if isinstance(value, (int, float)) and key != "_target_"}


def _text(asked: Mapping[str, Any], key: str) -> str:
    text = str(asked.get(key) or "").strip()
    if not text:
        raise ValueError(f"{key} must be given, got nothing.")
    return text


def _plain(rows: list[ClassRow]) -> list[dict[str, Any]]:
    return [row._asdict() for row in rows]
