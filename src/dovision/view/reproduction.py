"""The command that measures again what the page shows."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dovision.config.sources import configuration_folder
from dovision.io.mask_files import mask_file
from dovision.io.text_files import read_yaml
from dovision.types import CODE
from dovision.view.opened_network import OpenedNetwork

FOLDER = "dovision.datasets.image_folder.ImageFolder"
MASKS, PICTURES_FOLDER = "masks", "images"  # folders of the region and of a dropped picture, beside the command
_PATTERN = "{stem}.png"  # of a mask's file, as intervention=mask_files has it


class ImageOrigin:
    """Origin of a shown image, as commands refer to it.

    Args:
        network: that it is shown to.
        name: of the image.
        sample: its number in the split; None: it is a file.
        dropped: whether that file was dropped on the page, and lies beside the command.
    """

    def __init__(self, network: OpenedNetwork, name: str, sample: int | None, dropped: bool) -> None:
        self.network = network
        self.name = name
        self.sample = sample
        last = re.split(r"[/\\]", name)[-1].strip(".") or "picture"  # a file of this name leaves all others alone
        self.file: str | None = f"{PICTURES_FOLDER}/{last}" if dropped else None
        root = unlabelled_root(network)
        if not dropped and isinstance(root, str):
            path = Path(root)
            self.file = str((path / name if path.is_dir() else path).absolute())

    @property
    def mask_file(self) -> str:
        """Name of the file of the region, below `MASKS`."""
        return mask_file(_PATTERN, self.name if self.file is None else Path(self.file).name)

    def words(self) -> list[str]:
        """Overrides of dovision-evaluate for the image and the network."""
        network, settings = self.network, self.network.settings
        if self.file is not None:
            words = ["dataset=image_folder", f"dataset.root={quoted(self.file)}"]
            words.append(f"dataset.shape={quoted(network.shape)}")
            words.append(f"dataset.resize={network.images.resize.setting}")  # and not what suits the weights
        else:
            words = component_words("dataset", settings.dataset)
            words += [f"evaluation.split={network.split}", f"evaluation.images={(self.sample or 0) + 1}"]
        if network.checkpoint is not None:
            words.append(f"checkpoint={quoted(str(network.checkpoint.absolute()))}")
        else:
            words += component_words("model", settings.model, settings.dataset)
        return [*words, f"seed={settings.seed}"]


def evaluate_command(source: ImageOrigin, question: Mapping[str, Any], attack: Mapping[str, Any] | None) -> str:
    """Command dovision-evaluate that repeats the measurement.

    Args:
        source: of the image.
        question: what is done to it, as `ViewSession.intervention` takes it.
        attack: name, settings and eps; None: the image is clean.
    """
    words = [*source.words(), *intervention_words(source, question)]
    if attack is not None:
        words += [f"attack={attack['name']}", *_set("attack", {**attack.get("settings", {}), "eps": attack["eps"]})]
    return shlex.join(["dovision-evaluate", *words, "name=view"])


def intervention_words(source: ImageOrigin, question: Mapping[str, Any]) -> list[str]:
    """Overrides of dovision-evaluate for the intervention."""
    if unit := question.get("unit"):
        value = [f"value@intervention.value={unit['value']['name']}"]
        chosen = [f"intervention.unit={quoted(unit['kind'])}", f"intervention.choose=[{unit['number']}]"]
        coded = unit["site"] == CODE
        autoencoder = component_words("autoencoder", source.network.settings.code_of) if coded else []
        return [*autoencoder, "intervention=activation", f"intervention.site={quoted(unit['site'])}", *chosen, *value]
    fill = question["fill"]
    painted = [f"fill@intervention.fill={fill['name']}", *_set("intervention.fill", fill.get("settings") or {})]
    if rows := question.get("rows"):
        return ["intervention=pixel_grid", f"intervention.rows={rows}", f"intervention.columns={rows}", *painted]
    skip = [] if source.file is not None else ["intervention.missing=skip"]  # the other images have no region
    return ["intervention=mask_files", f"intervention.root={MASKS}", "intervention.controls=0", *skip, *painted]


def component_words(group: str, component: Mapping[str, Any], around: Mapping[str, Any] | None = None) -> list[str]:
    """Overrides that choose a component: its name, and each key that differs from its yaml file.

    Args:
        group: such as dataset.
        component: its settings.
        around: settings of the dataset, from which its file takes what it does not state.
    """
    choices = []
    for path in sorted((configuration_folder() / group).glob("*.yaml")):
        content = read_yaml(path)
        if content.get("_target_") == component["_target_"]:
            choices.append([f"{group}={path.stem}", *_differences(group, content, component, around or {})])
    if not choices:
        raise ValueError(f"no file of conf/{group} makes {component['_target_']}, so that no command can name it.")
    return min(choices, key=len)


def _differences(
    where: str, content: Mapping[str, Any], settings: Mapping[str, Any], around: Mapping[str, Any]
) -> Iterator[str]:
    for key, value in settings.items():
        default = content.get(key)
        taken = isinstance(default, str) and default.startswith("${")
        if key == "_target_" or (taken and (key not in around or around[key] == value)) or default == value:
            continue
        if isinstance(value, Mapping) and isinstance(default, Mapping):
            yield from _differences(f"{where}.{key}", default, value, {})
        else:
            yield f"{where}.{key}={quoted(value)}"


def _set(where: str, settings: Mapping[str, Any]) -> list[str]:
    return [f"{where}.{key}={quoted(value)}" for key, value in settings.items()]


def unlabelled_root(network: OpenedNetwork) -> Any:
    """Root of a folder or list of images without labels; None for other datasets."""
    settings = network.settings
    return settings.dataset["root"] if settings.dataset["_target_"] == FOLDER and not settings.has_labels else None


def quoted(value: Any) -> str:
    """Quote a value for an override of Hydra."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{quoted(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(quoted, value)) + "]"
    if isinstance(value, (int, float)):
        return repr(value)
    text = str(value)
    if re.fullmatch(r"(?!(null|true|false)$)[^\W\d][\w./-]*|[./-][\w./-]*|\d+/\d+", text, re.IGNORECASE):
        return text
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
