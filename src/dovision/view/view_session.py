"""Questions of the page and their answers in plain types; all of them asked in one thread."""

from __future__ import annotations

import itertools
import json
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from dovision import checks
from dovision.api import to_batch
from dovision.functional.geometry import central_fit
from dovision.interfaces import Attack, Intervention
from dovision.interventions.activation import Activation
from dovision.interventions.brush import Brush
from dovision.interventions.pixel_grid import PixelGrid
from dovision.io import images
from dovision.notebook.drawing import image_bytes
from dovision.report.inline_assets import png_bytes
from dovision.results.display_names import component_name
from dovision.types import Batch, Box
from dovision.view.image_effects import BackgroundEffects, BrushEffect, ClassRow, ImageEffects, class_rows
from dovision.view.opened_network import OpenedNetwork
from dovision.view.pictures import archive, link, map_link, mask_of, runs_of, table_of
from dovision.view.questions import component_of_page, numbers_of, offered
from dovision.view.reproduction import MASKS, ImageOrigin, evaluate_command, unlabelled_root

_HELD = 8  # images, the last ones
_CONTROLS = 20  # matched controls of what is set, so that an effect beyond all of them is one of 21
_RANKED = 20  # units of a site that are listed
_THUMBNAILS = 16
_REGIONS = 32  # objects of an image that can be clicked


@dataclass
class OpenedImage:
    """Image shown on the page, and its origin."""

    effects: ImageEffects
    name: str
    sample: int | None = None  # its number in the split; None: of a file that was dropped
    picture: bytes | None = None  # the content of that file
    whole: tuple[int, int] | None = None  # height and width of the picture in its file, where that is known
    attack: Mapping[str, Any] | None = None  # name, settings and epsilon, of an attacked one
    clean: int | None = None  # the number of the image that was attacked
    coded: ImageEffects | None = None  # in front of the classifier with its autoencoder, once a latent was asked for


class ViewSession:
    """State of the page: the open network and image, and their effects.

    Args:
        network: in front of which images are opened.
        check: called before each pass of an attack; raises an error to end the attack.
        begin: begins work in the background, by its name.
    """

    def __init__(
        self,
        network: OpenedNetwork,
        check: Callable[[], None] = lambda: None,
        begin: Callable[[str, Iterator[Any]], None] = lambda name, steps: None,
    ) -> None:
        self.network = network
        self.check = check
        self.begin = begin
        self._numbers = itertools.count(1)
        self.images: OrderedDict[int, OpenedImage] = OrderedDict()
        self._background: dict[tuple[str, int], tuple[str, dict[str, BackgroundEffects]]] = {}  # by question and image

    def questions(self) -> dict[str, Callable[[dict[str, Any]], Any]]:
        """Handlers by the request's name."""
        return {
            "choices": lambda question: self.choices(),
            "sites": lambda question: self.sites(),
            "units": lambda question: self.units(question["site"]),
            "sample": lambda question: self.open_sample(question["sample"]),
            "effect": self.effect,
            "attack": self.attacked,
            "texts": self.texts,
            "around": self.around,
            "ranking": self.ranking,
            "maps": self.maps,
            "save": self.saved,
        }

    def choices(self) -> dict[str, Any]:
        """Names to choose from on the page, and what is open."""
        network, groups = self.network, ("fill", "attack", "value")
        names = network.images.table(network.split)["name"].astype(str).tolist()
        settings = {group: {name: numbers_of(group, name) for name in offered(group)} for group in groups}
        return {
            "names": {name: component_name(name) for names in settings.values() for name in names},
            "network": network.title,
            "classes": list(network.classifier.task.classes),
            "shape": list(network.shape),
            **{f"{group}s": of_names for group, of_names in settings.items()},
            "samples": [{"sample": sample, "name": name} for sample, name in enumerate(names[:_THUMBNAILS])],
            "images": len(names),
        }

    def sites(self) -> dict[str, Any]:
        """Value shape of each site inside the network."""
        return {name: list(shape) for name, shape in self.network.sites().items()}

    def units(self, site: str) -> dict[str, int]:
        """Number of units of each kind at a site."""
        counted = (text.split() for text in self.network.site(site).units.split(", "))
        return {unit.removesuffix("s"): int(count) for count, unit in counted}

    def open_sample(self, sample: int) -> dict[str, Any]:
        """Open an image of the network's data."""
        network, batch = self.network, self._sample(sample)
        row = network.images.table(network.split).iloc[sample]
        if unlabelled_root(network) is not None:  # a command names it as a file, its first
            batch = batch._replace(sample=torch.zeros(1, dtype=torch.int64))
        whole = (int(row["height"]), int(row["width"])) if "height" in row else None
        effects = ImageEffects(network.classifier, batch)
        return self._opened(OpenedImage(effects, str(row["name"]), sample=sample, whole=whole))

    def open_picture(self, data: bytes, name: str) -> dict[str, Any]:
        """Open an image file that was dropped on the page."""
        try:
            decoded = images.decode(data)
        except images.BadFile as error:
            raise ValueError(f"{name or 'the file'} must be a whole image, but is {error}.") from error
        network = self.network
        channels, *size = network.shape
        image = to_batch(decoded, (size[0], size[1]), channels, network.images.resize)
        number = torch.zeros(1, dtype=torch.int64)
        effects = ImageEffects(network.classifier, Batch(image, network.classifier.task.unknown(1), number, number))
        whole = images.upright_size(data)
        return self._opened(OpenedImage(effects, name or "picture", picture=data, whole=whole))

    def thumbnail(self, sample: int) -> bytes:
        """PNG of an image of the network's data."""
        return png_bytes(image_bytes(self._sample(sample).image[0]), 1)

    def _sample(self, sample: int) -> Batch:
        images_of_split = self.network.images.split(self.network.split)
        checks.bounded("sample", sample, 0, len(images_of_split) - 1)
        return images_of_split.batch([sample])

    def effect(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """P(y) before and after do(brushed region = fill) or do(unit = value)."""
        image = self.image(question)
        effect = self._measured_effect(question, image)
        rows = class_rows(image.effects.task, effect.control, effect.treated, self.target(question, image))
        edited = None if effect.image is None else link(image_bytes(effect.image))
        return {"rows": _dicts(rows), "seen": edited}

    def texts(self, question: Mapping[str, Any]) -> dict[str, str]:
        """Command that repeats the measurement; arguments as of `intervention`."""
        image = self.image(question)
        return {"command": evaluate_command(self._origin(image), question, image.attack)}

    def saved(self, question: Mapping[str, Any]) -> bytes:
        """Zip file of numbers, region, dropped picture and command."""
        image, texts = self.image(question), self.texts(question)
        task, target = image.effects.task, self.target(question, image)
        source = self._origin(image)
        contents: dict[str, bytes | str] = {"command.sh": texts["command"] + "\n"}
        if question.get("mask") or question.get("unit"):
            effect = self._measured_effect(question, image)
            contents["numbers.csv"] = table_of(class_rows(task, effect.control, effect.treated, target))
            if effect.image is not None:
                region = mask_of(str(question["mask"]), *effect.image.shape[1:])
                contents[f"{MASKS}/{source.mask_file}"] = png_bytes(region.astype(np.uint8) * 255, 1)
        if image.picture is not None and source.file is not None:
            contents[source.file] = image.picture
        return archive(contents)

    def _origin(self, image: OpenedImage) -> ImageOrigin:
        return ImageOrigin(self.network, image.name, image.sample, image.picture is not None)

    def intervention(self, question: Mapping[str, Any], image: OpenedImage, controls: int = 0) -> Intervention:
        """Intervention of a request: a unit set to a value, a grid, or a painted brush region, with matched controls.

        Raises:
            ValueError: there is no such fill, value, site or unit; the region has no pixel.
        """
        seed = self.network.settings.seed
        if unit := question.get("unit"):
            value, number = self.component("value", unit["value"]), checks.count("number", unit["number"])
            units = str(unit["site"]), str(unit["kind"])
            return Activation(*units, value, choose=[number], controls=controls, seed=seed)
        fill = self.component("fill", question["fill"])
        if rows := question.get("rows"):
            return PixelGrid(rows, rows, fill)
        mask = mask_of(str(question["mask"]), *image.effects.batch.image.shape[2:])
        return Brush(torch.from_numpy(mask), fill, controls, seed)

    def component(self, group: str, chosen: Mapping[str, Any]) -> Any:
        """Make a component as the commands do, by name and optional settings."""
        settings = json.dumps(dict(chosen.get("settings") or {}), sort_keys=True)
        return component_of_page(group, str(chosen["name"]), settings, self.network.settings.seed)

    def attacked(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """Open the attacked version of a clean image; without epsilon the clean image."""
        image, attack = self.image(question), dict(question["attack"])
        eps, number = checks.number("eps", attack["eps"]), int(question["image"])
        settings = {**dict(attack.get("settings") or {}), "eps": [attack["eps"]]}
        made: Attack = self.component("attack", {"name": attack["name"], "settings": settings})
        if eps == 0:
            return self._shown(number, image)
        effects = image.effects.attacked(made, self.check)
        return self._opened(replace(image, effects=effects, attack=attack, clean=number, coded=None))

    def maps(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """Maps of a grid on the images of a question, as measured so far, on one colour scale, by image number."""
        scale = str(question["scale"])
        shown, values, targets = {}, {}, {}
        for number in question["images"]:
            of_image = {**question, "image": number}
            (shown[number],) = self._begun("map", of_image).values()
            targets[number] = self.target(of_image, self.images[number])
            values[number] = shown[number].values(scale, targets[number])
        limit = max((abs(value) for effects in values.values() for value in effects.values()), default=0.0) or 1.0
        maps = {
            str(number): {
                "picture": map_link(one.painted(scale, targets[number]), limit),
                "values": [values[number].get(unit) for unit in range(question["rows"] ** 2)],
                "target": one.effects.task.classes[targets[number]],
                "problem": one.problem,
            }
            for number, one in shown.items()
        }
        return {"limit": limit, "maps": maps, "done": all(one.done for one in shown.values())}

    def around(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """Effects of matched controls of what is set, and of other fills or values, as measured so far.

        `bands` has, by the number of each of the question's classes, the lowest and highest effect of the controls.
        """
        image, scale = self.image(question), str(question["scale"])
        begun = self._begun("around", question)
        target, others = self.target(question, image), list(begun.items())[1:]
        controls = begun[""].controls(scale)
        classes = [image.effects.task.number_of(number) for number in question["classes"] if len(controls)]
        return {
            "controls": len(controls),
            "bands": {str(number): [float(edge) for edge in controls[:, number].aminmax()] for number in classes},
            "others": [
                {"name": name, "effect": one.values(scale, target).get(0), "problem": one.problem}
                for name, one in others
            ],
            "done": all(one.done for one in begun.values()),
        }

    def ranking(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """Units of a site with the largest effects on the class, as measured so far."""
        (units,) = self._begun("units", question).values()
        values = units.values(str(question["scale"]), self.target(question, self.image(question)))
        largest = sorted(values.items(), key=lambda ranked: -abs(ranked[1]))[:_RANKED]
        ranked = [{"number": number, "effect": effect} for number, effect in largest]
        return {"ranked": ranked, "measured": len(values), "done": units.done, "problem": units.problem}

    def _begun(self, name: str, question: Mapping[str, Any]) -> dict[str, BackgroundEffects]:
        """Effects of a map, of units, or around what is set; begun with the first question that asks for them."""
        number, image = int(question["image"]), self.image(question)
        stated = json.dumps({key: question.get(key) for key in ("mask", "fill", "unit", "rows")}, sort_keys=True)
        if self._background.get((name, number), ("",))[0] != stated:
            if name == "map":
                interventions = {"": self.intervention({"fill": question["fill"], "rows": question["rows"]}, image)}
            elif name == "units":
                unit, value = question["unit"], self.component("value", question["unit"]["value"])
                interventions = {"": Activation(str(unit["site"]), str(unit["kind"]), value)}
            else:
                interventions = self._around(question, image)
            effects = image.effects if name == "map" else self._effects_at(question, image)
            begun = {key: BackgroundEffects(effects, intervention) for key, intervention in interventions.items()}
            self._background[name, number] = stated, begun
            self.begin(f"{name} {number}", itertools.chain.from_iterable(one.measure() for one in begun.values()))
        return self._background[name, number][1]

    def _around(self, question: Mapping[str, Any], image: OpenedImage) -> dict[str, Intervention]:
        """What is set with its controls, by the name "", and with each fill or value of the page."""
        group, chosen = ("value", question["unit"]["value"]) if question.get("unit") else ("fill", question["fill"])
        others = {name: {"name": name} for name in offered(group)} | {chosen["name"]: chosen}

        def made(component: Mapping[str, Any], controls: int = 0) -> Intervention:
            changed = {"unit": {**question["unit"], "value": component}} if group == "value" else {"fill": component}
            return self.intervention({**question, **changed, "rows": None}, image, controls)

        return {"": made(chosen, _CONTROLS)} | {name: made(component) for name, component in others.items()}

    def target(self, question: Mapping[str, Any], image: OpenedImage) -> int:
        """Number of the class to show, by default the prediction on the clean image."""
        if question.get("target") is not None:
            return image.effects.task.number_of(int(question["target"]))
        return (image if image.clean is None else self.images[image.clean]).effects.predicted

    def image(self, question: Mapping[str, Any]) -> OpenedImage:
        """Image that a request refers to.

        Raises:
            ValueError: it is not open any more.
        """
        number = int(question.get("image") or 0)
        if number not in self.images:
            raise ValueError("this image is not open any more. Open it again.")
        image = self.images[number]
        for used in (image.clean, number):  # the last that are asked about are held, and the clean image of each
            if used is not None and used in self.images:
                self.images.move_to_end(used)
        return image

    def _measured_effect(self, question: Mapping[str, Any], image: OpenedImage) -> BrushEffect:
        return self._effects_at(question, image).effect(self.intervention(question, image))

    def _effects_at(self, question: Mapping[str, Any], image: OpenedImage) -> ImageEffects:
        """Effects on the classifier that has the site of the question's unit."""
        unit = question.get("unit")
        classifier = self.network.with_site(str(unit["site"])) if unit else image.effects.classifier
        if classifier is image.effects.classifier:
            return image.effects
        image.coded = image.coded or ImageEffects(classifier, image.effects.batch)
        return image.coded

    def _opened(self, image: OpenedImage) -> dict[str, Any]:
        number = next(self._numbers)
        self.images[number] = image
        while len(self.images) > _HELD:
            gone, _ = self.images.popitem(last=False)
            for name in ("map", "around", "units"):
                self._background.pop((name, gone), None)
        return self._shown(number, image)

    def _shown(self, number: int, image: OpenedImage) -> dict[str, Any]:
        effects = image.effects
        clean = effects.control if image.clean is None else self.images[image.clean].effects.control
        shape, resize = self.network.shape, self.network.images.resize
        fit = None if image.whole is None else central_fit(*image.whole, shape, resize)
        return {
            "image": number,
            "name": image.name,
            "sample": image.sample,
            "regions": [] if image.sample is None else _regions(self.network, image.sample),
            "picture": link(image_bytes(effects.batch.image[0])),
            "height": effects.batch.image.shape[2],
            "width": effects.batch.image.shape[3],
            "whole": image.whole,
            "cropped": fit is not None and fit.resized != shape[1:],
            "rows": _dicts(class_rows(effects.task, clean, effects.control, int(clean.argmax()))),
            "predicted": effects.predicted,
            "target": int(clean.argmax()),
        }


def _regions(network: OpenedNetwork, sample: int) -> list[dict[str, str]]:
    """Known masks and boxes of an image as the page paints them."""
    masks = dict(network.images.masks(network.split, sample))
    boxes = network.images.boxes(network.split)
    for name, *edges in boxes.loc[boxes["sample"] == sample, ["object", *Box._fields]].itertuples(index=False):
        mask = masks.setdefault(f"{name} (box)" if name in masks else str(name), np.zeros(network.shape[1:], bool))
        mask[Box(*map(int, edges)).slices] = True
    named = itertools.islice(masks.items(), _REGIONS)
    return [{"name": name, "mask": runs_of(mask)} for name, mask in named if mask.any()]


def _dicts(rows: list[ClassRow]) -> list[dict[str, Any]]:
    return [row._asdict() for row in rows]
