"""Questions of the page and their answers in plain types; all of them asked in one thread."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from dovision import checks
from dovision.api import to_batch
from dovision.findings.number_text import finer, number_text
from dovision.functional.effects import SCALES
from dovision.interfaces import Attack, Intervention
from dovision.interventions.activation import Activation
from dovision.interventions.brush import Brush
from dovision.interventions.pixel_grid import PixelGrid
from dovision.io import images
from dovision.notebook.drawing import image_bytes
from dovision.types import Batch, Task
from dovision.view import opened_network
from dovision.view.background_map import BackgroundMap
from dovision.view.choices import chosen_component, page_choices
from dovision.view.image_effects import ClassRow, ImageEffects, class_rows
from dovision.view.opened_network import PUBLISHED, OpenedNetwork
from dovision.view.pictures import effects_link, link, png, unpacked
from dovision.view.reproduction import MASKS, ImageOrigin, evaluate_command, notebook_cell
from dovision.view.saving import Panel, archive, mask_png, picture_of, table_of

_KEPT = 8  # images, the last ones


@dataclass
class OpenedImage:
    """An image that the page shows, and where it comes from."""

    effects: ImageEffects
    network: OpenedNetwork
    name: str
    sample: int | None = None  # its number in the split; None: of a file that was dropped
    picture: bytes | None = None  # the content of that file
    whole: tuple[int, int] | None = None  # height and width of the picture in its file, where that is known
    attack: Mapping[str, Any] | None = None  # name, settings and epsilon, of an attacked one
    clean: int | None = None  # the number of the image that was attacked
    coded: ImageEffects | None = None  # in front of the classifier with its autoencoder, once a latent was asked for


class ViewSession:
    """What is opened, and what was found of it.

    Args:
        network: the first one.
        pause: called between the layers of an attack's passes; what it raises ends the attack.
    """

    def __init__(self, network: OpenedNetwork, pause: Callable[[], None] = lambda: None) -> None:
        self.network = network
        self.pause = pause
        self._numbers = itertools.count(1)
        self.images: OrderedDict[int, OpenedImage] = OrderedDict()
        self.maps: dict[int, BackgroundMap] = {}

    def choices(self) -> dict[str, Any]:
        """Names that can be chosen on the page, and what is open."""
        return page_choices(self.network)

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
        checks.bounded("sample", sample, 0, len(own.images.order(own.split)) - 1)
        row = own.images.table(own.split).iloc[sample]
        batch = own.images.split(own.split).batch([sample])
        if own.settings.dataset["_target_"] == opened_network.PICTURES:  # which a command names as a file, its first
            batch = batch._replace(sample=torch.zeros(1, dtype=torch.int64))
        whole = (int(row["height"]), int(row["width"])) if "height" in row else None
        return self._opened(
            OpenedImage(ImageEffects(own.classifier, batch), own, str(row["name"]), sample=sample, whole=whole)
        )

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
        whole = images.upright_size(data)
        return self._opened(
            OpenedImage(ImageEffects(own.classifier, batch), own, name or "picture", picture=data, whole=whole)
        )

    def thumbnail(self, sample: int) -> bytes:
        """A picture of an image of the network's data, as PNG."""
        own = self.network
        checks.bounded("sample", sample, 0, len(own.images.order(own.split)) - 1)
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

    def texts(self, asked: Mapping[str, Any]) -> dict[str, str]:
        """The command and the notebook cell that measure again what is asked for, as `intervention` takes it."""
        image = self.image(asked)
        source = ImageOrigin(image.network, image.name, image.sample, image.picture is not None)
        target = image.effects.task.classes[self.target(asked, image)]
        command = evaluate_command(source, asked, image.attack)
        return {"command": command, "cell": notebook_cell(source, asked, image.attack, target)}

    def saved(self, asked: Mapping[str, Any]) -> bytes:
        """A zip file of the picture, the numbers, the region, the command and the notebook cell."""
        image, texts = self.image(asked), self.texts(asked)
        task, target = image.effects.task, self.target(asked, image)
        source = ImageOrigin(image.network, image.name, image.sample, image.picture is not None)
        contents: dict[str, bytes | str] = {"command.sh": texts["command"] + "\n", "cell.py": texts["cell"]}
        panels = [Panel(f"x: P = {_probability(task, image.effects.control, target)}", self._pixels(image))]
        if asked.get("mask") or asked.get("unit"):
            effects = self._measured(asked, image) if asked.get("unit") else image.effects
            found = effects.effect(self.intervention(asked, image))
            contents["numbers.csv"] = table_of(class_rows(task, found.control, found.treated, target))
            after = f"do(u): P = {_probability(task, found.treated, target)}"
            if found.image is not None:
                height, width = found.image.shape[1:]
                region = unpacked(str(asked["mask"]), height, width)
                contents[f"{MASKS}/{source.mask_file}"] = mask_png(region)
                panels.append(Panel(after, image_bytes(found.image), region=region))
        maps = self._map_panels(int(asked["image"]), str(asked.get("scale", "probability")))
        limit = max((float(abs(panel.effects).max()) for panel in maps if panel.effects is not None), default=0) or 1.0
        contents["picture.png"] = picture_of([*panels, *maps], limit, task.classes[target], texts["command"])
        if image.picture is not None and source.file is not None:
            contents[source.file] = image.picture
        return archive(contents)

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
        return chosen_component(group, asked, self.network.settings.seed)

    def attacked(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Open the image that an attack makes of a clean one; without epsilon the clean one itself."""
        image, attack = self.image(asked), dict(asked["attack"])
        eps = checks.number("eps", attack["eps"])
        settings = {**dict(attack.get("settings") or {}), "eps": [attack["eps"]]}
        made: Attack = self.component("attack", {"name": attack["name"], "settings": settings})
        if eps == 0:
            return self._shown(int(asked["image"]), image)
        number = int(asked["image"])
        effects = image.effects.attacked(made, self.pause)
        self.image(asked)  # which may have been closed in a pause
        return self._opened(replace(image, effects=effects, attack=attack, clean=number, coded=None))

    def begin_map(self, asked: Mapping[str, Any]) -> Iterator[None]:
        """Begin the map of a grid; the iterator measures it, a few cells a step."""
        image = self.image(asked)
        rows = checks.positive_int("rows", asked["rows"])
        grid = self.intervention({"fill": asked["fill"], "rows": rows}, image)
        found = self.maps[int(asked["image"])] = BackgroundMap(image.effects, grid, self.target(asked, image))
        return found.measure()

    def map_pictures(self, numbers: list[int], scale: str) -> dict[str, Any]:
        """The maps of images so far, in one scale of colours, by the number of the image.

        Args:
            numbers: of the images.
            scale: probability or log_odds.
        """
        checks.choice("scale", scale, SCALES)
        shown = {number: self.maps[number] for number in numbers if number in self.maps}
        sizes = [abs(value or 0.0) for found in shown.values() for value in found.values(scale)]
        limit = max(sizes, default=0.0) or 1.0
        answer = {}
        for number, found in shown.items():
            answer[str(number)] = {
                "picture": effects_link(found.painted(scale), limit),
                "values": found.values(scale),
                "done": len(found.treated),
                "units": found.units,
                "target": found.effects.task.classes[found.target],
                "problem": found.problem,
            }
        return {"limit": limit, "maps": answer}

    def target(self, asked: Mapping[str, Any], image: OpenedImage) -> int:
        """The number of the class that is looked at; by default the one that is predicted of the clean image."""
        if asked.get("target") is not None:
            return image.effects.task.number_of(int(asked["target"]))
        return (image if image.clean is None else self.images[image.clean]).effects.predicted

    def _map_panels(self, number: int, scale: str) -> list[Panel]:
        """The maps of an image, and of the clean one if it is attacked, as far as they are measured."""
        clean, panels = self.images[number].clean, []
        for own in (number,) if clean is None else (clean, number):
            if own in self.maps and own in self.images:
                image = self.images[own]
                title = "clean" if image.attack is None else f"{image.attack['name']}, ε = {image.attack['eps']}"
                panels.append(Panel(f"map, {title}", self._pixels(image), self.maps[own].painted(scale)))
        return panels

    def _pixels(self, image: OpenedImage) -> npt.NDArray[np.uint8]:
        return image_bytes(image.effects.batch.image[0])

    def image(self, asked: Mapping[str, Any]) -> OpenedImage:
        """The image that is asked about.

        Raises:
            ValueError: it is not open any more.
        """
        number = int(asked.get("image") or 0)
        found = self.images.get(number)
        if found is None:
            raise ValueError("this image is not open any more. Open it again.")
        for own in (found.clean, number):  # the last that are asked about are held, and the clean image of each
            if own is not None and own in self.images:
                self.images.move_to_end(own)
        return found

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
            "whole": image.whole,
            "rows": _plain(class_rows(effects.task, before, effects.control, int(before.argmax()))),
            "predicted": effects.predicted,
            "target": int(before.argmax()),
        }


def _text(asked: Mapping[str, Any], key: str) -> str:
    text = str(asked.get(key) or "").strip()
    if not text:
        raise ValueError(f"{key} must be given, got nothing.")
    return text


def _plain(rows: list[ClassRow]) -> list[dict[str, Any]]:
    return [row._asdict() for row in rows]


def _probability(task: Task, logits: torch.Tensor, target: int) -> str:
    probability = float(task.probability(logits)[target])
    return number_text(probability, finer(".3f", probability))
