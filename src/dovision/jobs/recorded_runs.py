"""Settings, images and networks of a run, as it has recorded them, and what dovision-view opens of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dovision import checks
from dovision.config import settings as settings_of
from dovision.config.component_names import check_stored, configuration_folder
from dovision.config.settings import EvaluateSettings
from dovision.identity.dependencies import AUTOENCODER, CHECKPOINTS, CLASSIFIER
from dovision.interfaces import Images
from dovision.io.files import sha256
from dovision.io.text_files import read_yaml
from dovision.results.run_record import CONFIG, Run, read_run
from dovision.training.model_cache import FittedModel, check_fits, read_model
from dovision.view.opened_network import OpenedNetwork

# settings of a run that nothing here reads, and that may refer to the environment
_UNREAD: Mapping[str, Any] = {"tags": [], "note": None, "logger": {}, "output_root": "outputs"}
_UNREAD = {**_UNREAD, "callbacks": {}, "explainer": {}}


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
    run = recorded_run(folder)
    settings = recorded_settings(run, trusted, f"dovision-view run={folder} trust_checkpoint=true")
    fitted = recorded_networks(run, settings, [CLASSIFIER, AUTOENCODER])
    settings = settings.model_copy(update={"checkpoint": fitted[CLASSIFIER].path})
    images = recorded_images(settings, fitted)
    return OpenedNetwork(folder.name, settings, images, split or settings.evaluation.split, fitted)


def recorded_images(settings: EvaluateSettings, fitted: Mapping[str, FittedModel]) -> Images:
    """Dataset of a run, nothing of which is downloaded, with the classes of its classifier; errors as of `of_run`."""
    dataset = settings.dataset
    source = dataset.get("source", {})
    images: Images = dataset.make(source={"download": False}) if "download" in source else dataset.make()
    images.take_classes(fitted[CLASSIFIER].classifier.task)
    check_fits(fitted[CLASSIFIER], images.task, images.shape)
    return images


def recorded_run(folder: Path) -> Run:
    """Read a run whose networks were fitted; errors as of `of_run`."""
    if not (folder / "run.json").is_file():
        raise FileNotFoundError(f"run must be a folder that dovision-evaluate wrote, got {folder}, without run.json.")
    run = read_run(folder)
    if not run.config or CLASSIFIER not in run.record.get("checkpoint_files", {}):
        raise ValueError(f"run must be one whose networks were fitted, got {folder}, which is {run.state}.")
    return run


def recorded_settings(run: Run, trusted: bool, trusted_by: str, whole: bool = False) -> EvaluateSettings:
    """Settings of a run, read without trusting them; errors as of `of_run`.

    Args:
        run: as recorded.
        trusted: let them name any function that can be imported.
        trusted_by: the command that says so.
        whole: read what measures rows as well; else today's defaults stand in for it, whose keys may be others.
    """
    unread = _UNREAD if not whole else {name: _UNREAD[name] for name in _UNREAD if name != "explainer"}
    config = {name: value for name, value in {**run.config, **unread}.items() if name in EvaluateSettings.model_fields}
    if not trusted:
        check_stored(config, str(run.folder / CONFIG), trusted_by)
    evaluation: Any = checks.instance(
        f"evaluation in {run.folder / CONFIG}", config.get("evaluation"), dict, "a section"
    )
    if not whole:
        defaults = read_yaml(configuration_folder() / "evaluate.yaml")
        config |= {name: defaults[name] for name in ("explanation", "detector", "detection")}
        config["evaluation"] = {**defaults["evaluation"], "split": evaluation.get("split")}
    settings: EvaluateSettings = settings_of.read("evaluate", config)
    return settings.model_copy(update={"trust_checkpoint": trusted})


def recorded_networks(run: Run, settings: EvaluateSettings, names: Iterable[str]) -> dict[str, FittedModel]:
    """Networks of a run among these names; errors as of `of_run`.

    A checkpoint that is not where the run has recorded it is looked for in a folder `checkpoints` above the run, as a
    copied output root has one.
    """
    fitted = {}
    for name, file in run.record["checkpoint_files"].items():
        if name in names:
            recorded, path = run.record.get(CHECKPOINTS, {}).get(name, "none"), Path(file)
            beside = [above / CHECKPOINTS / Path(*path.parts[-2:]) for above in run.folder.absolute().parents]
            whole = (copy for copy in (path, *beside) if copy.is_file() and sha256(copy).startswith(recorded))
            path = next(whole, path)
            if not path.is_file():
                raise FileNotFoundError(
                    f"the weights of the {name.replace('_', ' ')} ({recorded}) must be in {path}, or in a folder "
                    f"{CHECKPOINTS} above the run, got neither. Copy that folder of the output root beside the folder "
                    "of the run, or fit them again by the run's command."
                )
            fitted[name] = read_model(path, settings)
            if not recorded or not fitted[name].weights.startswith(recorded):
                raise ValueError(
                    f"the weights in {path} must be those that the run has measured ({recorded}), got "
                    f"{fitted[name].weights[: len(recorded)]}. Measure it again, or put the file back."
                )
    return fitted
