"""Networks that are looked at, opened as the commands open them: of settings, of a run, of a checkpoint's file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from dovision import checks
from dovision.config import settings as settings_of
from dovision.config.component_names import check_stored, configuration_folder
from dovision.config.settings import EvaluateSettings, TrainSettings, ViewSettings
from dovision.identity.plans import AUTOENCODER, CLASSIFIER
from dovision.interfaces import Classifier, Images
from dovision.io.sealed import is_foreign
from dovision.models.checkpoint import read_checkpoint
from dovision.propagation.site_table import SiteRow, site_shapes, site_table
from dovision.store.run_record import CONFIG, read_run
from dovision.training.model_cache import Architecture, FittedModel, check_fits, read_model
from dovision.types import CODE, INPUT, Shape

PUBLISHED = ("efficientnet_lite0", "torchvision_model", "timm_model", "xrv_model")  # models with weights of their own
# settings of a run that nothing here reads, and that may refer to the environment
_UNREAD: Mapping[str, Any] = {"tags": [], "note": None, "logger": {}, "explainer": {}, "output_root": "outputs"}
_SECTIONS = ("evaluation", "explanation", "detection")
PICTURES = "dovision.datasets.pictures.Pictures"


@dataclass(frozen=True)
class OpenedNetwork:
    """Classifier, images to show it, and their settings."""

    title: str
    settings: TrainSettings
    images: Images
    split: str
    fitted: Mapping[str, FittedModel] = field(repr=False)  # classifier and perhaps autoencoder
    run: Path | None = None

    @property
    def classifier(self) -> Classifier:
        return self.fitted[CLASSIFIER].classifier

    @property
    def with_autoencoder(self) -> Classifier | None:
        """The classifier with its autoencoder, None without one."""
        autoencoder = self.fitted.get(AUTOENCODER)
        return None if autoencoder is None else autoencoder.classifier

    @property
    def shape(self) -> Shape:
        """(C, H, W) of the images."""
        return tuple(self.images.shape)

    @property
    def checkpoint(self) -> Path | None:
        """File of a fitted or given classifier; None for published weights."""
        has_file = self.settings.checkpoint is not None or self.settings.fits_classifier
        return self.fitted[CLASSIFIER].path if has_file else None

    def with_site(self, name: str) -> Classifier:
        """Classifier that has a site: with its autoencoder for the code.

        Raises:
            ValueError: it is the code, and there is no autoencoder.
        """
        if name != CODE:
            return self.classifier
        if self.with_autoencoder is None:
            raise ValueError("latents need an autoencoder, got none. Start with autoencoder=conv_1x1, or open a run.")
        return self.with_autoencoder

    def sites(self) -> dict[str, Shape]:
        """Sites inside the network with value shapes, found without running it."""
        coded = {} if self.with_autoencoder is None else site_shapes(self.with_autoencoder, self.shape)
        code = {CODE: coded[CODE]} if CODE in coded else {}
        shapes = site_shapes(self.classifier, self.shape)
        return code | {name: shape for name, shape in shapes.items() if name != INPUT}

    def site(self, name: str) -> SiteRow:
        """Layout and units of a site.

        Raises:
            ValueError: there is no such site, or nothing shows its layout.
        """
        rows = site_table(self.with_site(name), self.shape, [name])
        if not rows:
            raise ValueError(f"the network has no site {name!r}.")
        if rows[0].layout == "unknown":
            raise ValueError(f"the layout of {name!r} is not known: its shape is {rows[0].shape}, {rows[0].units}.")
        return rows[0]


def of_settings(settings: ViewSettings, images: Images, fitted: Mapping[str, FittedModel]) -> OpenedNetwork:
    """Images and networks that are made from settings, as dovision-view shows them."""
    model = fitted[CLASSIFIER].model
    title = str(model.get("name") or model["_target_"].rpartition(".")[2])
    title += f" ({settings.checkpoint.name})" if settings.checkpoint else ""
    return OpenedNetwork(title, settings, images, settings.split if settings.has_labels else "test", fitted)


def of_run(folder: Path, split: str | None = None, trusted: bool = False) -> OpenedNetwork:
    """Open the images and networks of a run of dovision-evaluate.

    Args:
        folder: the run directory.
        split: of its images; None: the one that was measured.
        trusted: let its configuration and checkpoints name any function that can be imported, which is then run.

    Raises:
        FileNotFoundError: there is no such run, or a checkpoint of it is gone.
        ValueError: the run is damaged or not finished, the weights are others than those that it has measured, or it
            names what is no component of this package.
    """
    if not (folder / "run.json").is_file():
        raise FileNotFoundError(f"run must be a folder that dovision-evaluate wrote, got {folder}, without run.json.")
    run = read_run(folder)
    files = run.record.get("checkpoint_files", {})
    if not run.config or CLASSIFIER not in files:
        raise ValueError(f"run must be one whose networks were fitted, got {folder}, which is {run.state}.")
    config = {**run.config, **_UNREAD}
    if not trusted:
        check_stored(config, str(folder / CONFIG), f"dovision-view run={folder} trust_checkpoint=true")
    today: Any = OmegaConf.load(configuration_folder() / "evaluate.yaml")  # for keys that came after the run
    config |= {name: OmegaConf.merge(today[name], config[name]) for name in _SECTIONS if name in config}
    settings: EvaluateSettings = settings_of.read("evaluate", OmegaConf.create(config))
    settings = settings.model_copy(update={"checkpoint": Path(files[CLASSIFIER]), "trust_checkpoint": trusted})
    architecture, fitted = Architecture(settings.model, settings.autoencoder, trusted), {}
    for name in (CLASSIFIER, AUTOENCODER):
        if name in files:
            fitted[name] = read_model(Path(files[name]), architecture)
            recorded = run.record.get("checkpoints", {}).get(name, "none")
            if not recorded or not fitted[name].weights.startswith(recorded):
                raise ValueError(
                    f"the weights in {files[name]} must be those that the run has measured ({recorded}), got "
                    f"{fitted[name].weights[: len(recorded)]}. Measure it again, or put the file back."
                )
    dataset = settings.dataset
    images: Images = (dataset.replaced(download=False) if "download" in dataset else dataset).make()
    images.take_classes(fitted[CLASSIFIER].classifier.task)
    check_fits(fitted[CLASSIFIER], images.task, images.shape)
    return OpenedNetwork(folder.name, settings, images, split or settings.evaluation.split, fitted, folder)


def published_words(
    model: str, name: str, weights: bool, size: int | None, like: OpenedNetwork, checkpoint: str = ""
) -> list[str]:
    """Words of dovision-view that open another network for the current pictures.

    Args:
        model: one of PUBLISHED, or "checkpoint".
        name: of the network, as the library has it.
        weights: whether it has the library's weights.
        size: height and width of the images, in pixels; None: what suits the network.
        like: the network that is open.
        checkpoint: the file, if it is one.
    """
    root = like.settings.dataset.get("root") if like.settings.dataset["_target_"] == PICTURES else None
    words = ["dataset=pictures"] + ([] if root is None else [f"dataset.root={quoted(root)}"])
    if model == "checkpoint":
        if is_foreign(Path(checkpoint)):
            raise ValueError(
                f"{checkpoint} must be a checkpoint of dovision on this page, got another program's. Start with the "
                "network that it is of: dovision-view model=... checkpoint=..."
            )
        shape = [checks.positive_int("shape", side) for side in read_checkpoint(checkpoint)["model"]["shape"]]
        shape[1:] = shape[1:] if size is None else [size, size]
        return [*words, f"dataset.shape={quoted(shape)}", f"checkpoint={quoted(checkpoint)}"]
    side = size or 224
    words += [f"dataset.shape=[{1 if model == 'xrv_model' else 3},{side},{side}]", f"model={model}"]
    words += [f"model.name={quoted(name)}"] if name and model != "efficientnet_lite0" else []
    if model == "torchvision_model":
        return [*words, f"model.weights={'DEFAULT' if weights else 'null'}"]
    return [*words, f"model.pretrained={str(weights).lower()}"]


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
