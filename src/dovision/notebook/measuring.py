"""Measurements of a notebook, by the callbacks of the commands, under a Lightning trainer of their own."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor
from torch.utils.data import DataLoader

from dovision import checks
from dovision.analysis.summary import write_summary
from dovision.config.keep import KEEP_ALL
from dovision.evaluation.callback import ClassifierUnderTest, Evaluation
from dovision.evaluation.effects import EffectEvaluation
from dovision.interfaces import Attack, Classifier, Images, Intervention
from dovision.io.text_files import make_folder
from dovision.module_state import evaluating
from dovision.notebook.by_name import named_components
from dovision.notebook.image_data import ImageData
from dovision.store.map_tables import write_boxes
from dovision.store.run_record import Run
from dovision.store.thumbnails import PictureChoice
from dovision.types import Epsilons

THUMBNAILS = 8  # images of which a picture is saved with the tables
PICTURED = (None, 1, 3)  # channels of images that are


class ResultFolder:
    """The folder of a result: one that is named, or a temporary one that goes with the last reference to this object.

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


def checked_classifier(classifier: Classifier) -> Classifier:
    """The classifier, if it is one."""
    return checks.instance("classifier", classifier, Classifier, "a Classifier, as wrap(network, classes) makes one")


def attacks_by_name(attacks: Any, eps: Epsilons | None, seed: int = 0) -> dict[str, Attack]:
    """Attacks by name, with their epsilons given once: here for those given by name, or in the attack.

    Args:
        attacks: as `by_name.named_components` takes them.
        eps: one or several, numbers or fractions such as "8/255"; None: those of the attacks, or of their yaml files.
        seed: of what attacks draw that are given by name.

    Raises:
        ValueError: eps is given, and all attacks have their own; one is no attack.
    """
    several = attacks.values() if isinstance(attacks, Mapping) else attacks
    listed = list(several) if isinstance(several, Iterable) and not isinstance(several, str) else [several]
    if eps is not None and not any(isinstance(each, str) for each in listed):
        got = "without an attack. Name one, such as 'pgd'." if attacks is None else "beside one that has its own."
        raise ValueError(f"eps must be given once, with the name of an attack, got {eps!r} {got}")
    return named_components("attack", attacks, seed, {} if eps is None else {"eps": eps})


def one_attack(attack: Any, eps: Epsilons | None, seed: int = 0) -> Attack:
    """A single attack; arguments and errors as those of `attacks_by_name`."""
    if isinstance(attack, (list, tuple, Mapping)):
        raise ValueError(f"attack must be one, got {len(attack)}. Call it for each, or name several epsilons.")
    (made,) = attacks_by_name(attack, eps, seed).values()
    return made


def bound_intervention(intervention: Intervention, data: ImageData, classifier: Classifier) -> Intervention:
    """The intervention with what it needs to know of the images."""
    if isinstance(data.images, Images):
        intervention.bind(data.images, data.split)
        return intervention
    batch = data.batch(classifier)
    return intervention if batch is None else intervention.for_images(batch)


def effect_callback(
    classifier: Classifier,
    data: ImageData,
    intervention: Intervention,
    attack: Attack,
    folder: Path,
    *,
    keep: str = KEEP_ALL,
    top_k: int = 5,
    store_adversarial: bool = False,
) -> EffectEvaluation:
    """The callback of dovision-evaluate that measures effects, with the pictures of a few images."""
    most = THUMBNAILS if data.channels in PICTURED else 0
    return EffectEvaluation(
        bound_intervention(intervention, data, classifier),
        folder,
        attack,
        classifier,
        keep=keep,
        top_k=top_k,
        names=data.names(),
        pictures=PictureChoice(most, data.classes_of_samples()),
        store_adversarial=store_adversarial,
    )


def measured_run(
    classifier: Classifier, data: ImageData, callbacks: Sequence[Evaluation], folder: Path, config: Mapping[str, Any]
) -> Run:
    """Test with the callbacks, and summarise; the run that a report would read of a command."""
    run_callbacks(classifier, callbacks, data.loader(classifier))
    write_boxes(folder, data.boxes())
    return Run(folder, folder.name, "completed", {}, config, write_summary(folder))


def run_callbacks(
    classifier: Classifier, callbacks: Sequence[Callback], loaders: DataLoader[Any] | list[DataLoader[Any]]
) -> None:
    """`trainer.test` of the classifier with callbacks on its own device, in silence; the classifier stays as it was."""
    device = classifier.mean.device
    one: Any = [device.index] if device.index is not None and device.type == "cuda" else 1
    with _silence(), evaluating(classifier), torch.inference_mode(False):
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
        try:
            trainer.test(ClassifierUnderTest(classifier), loaders, verbose=False)
        finally:
            classifier.to(device)


def component_settings(component: object) -> dict[str, Any]:
    """The class and the plain settings of a component, as a configuration has them, for captions."""
    plain = {name: value for name, value in vars(component).items() if isinstance(value, (bool, int, float, str))}
    nested = {name: component_settings(value) for name, value in vars(component).items() if _is_component(value)}
    kind = type(component)
    settings = {name: value for name, value in {**plain, **nested}.items() if not name.startswith("_")}
    return {"_target_": f"{kind.__module__}.{kind.__qualname__}", **settings}


def _is_component(value: object) -> bool:
    own = not isinstance(value, (Tensor, type)) and type(value).__module__.startswith("dovision.")
    return own and hasattr(value, "__dict__") and not isinstance(value, (Classifier, Images))


@contextmanager
def _silence() -> Iterator[None]:
    """Lightning's remarks on devices and workers left out for a block; its warnings stay."""
    log = logging.getLogger("pytorch_lightning")
    before = log.level
    log.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            warnings.filterwarnings("ignore", message=".*GPU available but not used.*")
            warnings.filterwarnings("ignore", module=r"pytorch_lightning\.utilities\._pytree")
            yield
    finally:
        log.setLevel(before)
