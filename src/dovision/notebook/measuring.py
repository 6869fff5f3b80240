"""Measurements of a notebook, by the callbacks of the commands, under a Lightning trainer of their own."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor
from torch.utils.data import DataLoader

from dovision.config.row_choices import ALL_ROWS
from dovision.interfaces import Attack, Classifier, Detector, Explainer, Images, Intervention
from dovision.interventions.fills import Constant
from dovision.interventions.object_cells import object_cells
from dovision.interventions.pixel_grid import PixelGrid
from dovision.io.text_files import make_folder
from dovision.measurement.by_name import named_components
from dovision.measurement.callback import ClassifierUnderTest
from dovision.measurement.effects import EffectEvaluation, EffectOptions
from dovision.measurement.explanation_config import MapSettings
from dovision.measurement.maps import MapEvaluation
from dovision.measurement.refuters import RefuterEvaluation, RefuterOptions, refutable
from dovision.module_state import evaluating
from dovision.notebook.image_data import ImageData
from dovision.notebook.running import Running
from dovision.results.image_tables import write_boxes
from dovision.results.run_record import Run
from dovision.results.summary import write_summary
from dovision.results.thumbnails import PictureChoice
from dovision.types import Batch, Epsilons, Shape

THUMBNAILS = 8  # images of which a picture is saved with the tables
PICTURED = (1, 3)  # channels of images that are
WHOLE_IMAGE = PixelGrid(1, 1, fill=Constant(0.0))  # of which effects are measured where none is named


class ResultFolder:
    """Folder of a result: a given one, or a temporary one deleted with the last reference.

    Args:
        folder: a new or an empty one; None: a temporary one.

    Raises:
        ValueError: there are files in it.
    """

    def __init__(self, folder: Path | str | None) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="dovision-") if folder is None else None
        self.path = Path(folder if self._temporary is None else self._temporary.name).absolute()  # type: ignore[arg-type]
        if self.path.is_file() or (self.path.is_dir() and any(self.path.iterdir())):
            raise ValueError(f"folder must be new or empty, got {self.path}, which is not. Choose another folder.")
        make_folder(self.path, setting="folder")


def attacks_by_name(attacks: Any, eps: Epsilons | None, seed: int = 0) -> dict[str, Attack]:
    """Attacks as of `named_components`; epsilons are given once, here or in the attack object.

    Raises:
        ValueError: eps is given, and all attacks have their own; one is no attack.
    """
    several = attacks.values() if isinstance(attacks, Mapping) else attacks
    if eps is not None and all(
        item is None or isinstance(item, Attack) for item in (several if isinstance(several, Iterable) else [several])
    ):
        got = "without an attack. Name one, such as 'pgd'." if attacks is None else "beside one that has its own."
        raise ValueError(f"eps must be given once, with the name of an attack, got {eps!r} {got}")
    return named_components("attack", attacks, seed, {} if eps is None else {"eps": eps})


def one_attack(attack: Any, eps: Epsilons | None, seed: int = 0) -> Attack:
    """Single attack; arguments and errors as of `attacks_by_name`."""
    if isinstance(attack, (list, tuple, Mapping)):
        raise ValueError(f"attack must be one, got {len(attack)}. Call it for each, or name several epsilons.")
    return next(iter(attacks_by_name(attack, eps, seed).values()))


def check_components(
    classifier: Classifier, shape: Shape | None, *components: Attack | Detector | Explainer | MapSettings
) -> None:
    """Raise ValueError if a component does not fit the network or the image shape (None: unknown)."""
    for component in components if shape is not None else ():
        component.check(classifier, shape)  # type: ignore[arg-type]


def measured_run(
    classifier: Classifier,
    data: ImageData,
    intervention: Intervention,
    attack: Attack,
    folder: ResultFolder,
    running: Running,
    *,
    rows: str = ALL_ROWS,
    attacked: Callable[[float, Batch], object] | None = None,
    maps: MapEvaluation | None = None,
    refute: bool = False,
) -> Run:
    """Measure effects, and maps if given, into a run as of dovision-evaluate, which reports can read.

    Args:
        classifier: of the images.
        data: the images.
        intervention, attack: of which effects are measured, with pictures of a few images.
        folder: where tables and pictures go.
        running: the device.
        rows: the classes of which an image's effects are rows, as `effects` takes them.
        attacked: called with each epsilon and batch of attacked images, on the device.
        maps: what evaluates explainers, too.
        refute: whether the headline effects are measured once more, altered.
    """
    config = {"intervention": component_settings(intervention), "attack": component_settings(attack)}
    if refute:
        refutable(intervention)
    objects = None
    if isinstance(data.images, Images):
        intervention.bind(data.images, data.split)
        objects = object_cells(intervention, data.images, data.split)
    elif (batch := data.batch(classifier)) is not None:
        intervention = intervention.for_images(batch)
    shape = data.shape(classifier)
    pictures = THUMBNAILS if shape is None or shape[0] in PICTURED else 0
    effects = EffectEvaluation(
        intervention,
        folder.path,
        attack,
        classifier,
        mean=data.mean,
        std=data.std,
        options=EffectOptions(
            rows=rows,
            names=data.names(),
            pictures=PictureChoice(pictures, data.classes_of_samples(classifier)),
            attacked=attacked,
            objects=objects,
        ),
    )
    if maps is not None:
        config["explainer"] = {name: component_settings(explainer) for name, explainer in maps.explainers.items()}
    run_callbacks(classifier, [effects] if maps is None else [effects, maps], data.loader(classifier), running)
    write_boxes(folder.path, data.boxes())
    if refute:
        options = RefuterOptions(objects=objects)
        altered = RefuterEvaluation(folder.path, intervention, classifier, options, data.mean, data.std)
        run_callbacks(classifier, [altered], data.loader(classifier), running)
    record, summary = {"contents": effects.batches[0].contents}, write_summary(folder.path)
    return Run(folder.path, folder.path.name, "completed", record, config, summary)


def run_callbacks(
    classifier: Classifier,
    callbacks: Sequence[Callback],
    loaders: DataLoader[Any] | list[DataLoader[Any]],
    running: Running,
) -> None:
    """Run `trainer.test` with callbacks, silently but for progress, leaving the classifier unchanged."""
    with running.on(classifier) as device, _silence(), evaluating(classifier), torch.inference_mode(False):
        one: Any = [device.index] if device.index is not None and device.type == "cuda" else 1
        trainer = pl.Trainer(
            accelerator=device.type,
            devices=one,
            callbacks=list(callbacks),
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            inference_mode=False,
            use_distributed_sampler=False,
        )
        trainer.test(ClassifierUnderTest(None), loaders, verbose=False)


def component_settings(component: object) -> dict[str, Any]:
    """Class and plain settings of a component, as in a configuration; for captions."""
    attributes = {name: value for name, value in vars(component).items() if not name.startswith("_")}
    numbers = {name: value for name, value in attributes.items() if isinstance(value, (bool, int, float, str))}
    nested = {}
    for name, value in attributes.items():
        foreign = isinstance(value, (Tensor, type, Classifier, Images)) or not hasattr(value, "__dict__")
        if not foreign and type(value).__module__.startswith("dovision."):
            nested[name] = component_settings(value)
    home = type(component)
    return {"_target_": f"{home.__module__}.{home.__qualname__}", **numbers, **nested}


@contextmanager
def _silence() -> Iterator[None]:
    """Suppress Lightning's remarks on devices and workers within the block; warnings stay."""
    log = logging.getLogger("pytorch_lightning")
    level = log.level
    log.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            warnings.filterwarnings("ignore", message=".*GPU available but not used.*")
            warnings.filterwarnings("ignore", module=r"pytorch_lightning\.utilities\._pytree")
            yield
    finally:
        log.setLevel(level)
