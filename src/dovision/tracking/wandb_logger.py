"""Runs in Weights & Biases, with effect maps and boxes as layers over the saved pictures."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from dovision import checks
from dovision.functional.geometry import stack
from dovision.report.catalogue import Catalogue
from dovision.report.figures.gallery import GALLERY
from dovision.report.report_figure import ReportFigure
from dovision.store.map_tables import read_box_table
from dovision.store.run_record import Run
from dovision.store.tables import boxes_of, largest_effect, read_samples
from dovision.store.thumbnails import Picture, load_thumbnail, thumbnail_path
from dovision.tracking.csv_logger import CSVLogger, effect_histogram, figure_files, metrics
from dovision.types import Box

log = logging.getLogger(__name__)
PATIENCE = 60.0  # seconds that W&B may take for one answer
TABLE_ROWS = 1000  # of a table that are sent
LEVELS = {
    0: "no unit",
    1: "evidence for the class",
    2: "some evidence for it",
    3: "hardly any",
    4: "some evidence against it",
    5: "evidence against the class",
}
EDGES = (-0.6, -0.2, 0.2, 0.6)  # between the levels 1 to 5, in shares of the largest effect of the job's pictures


class WandbLogger(CSVLogger):
    """The same, and a W&B run per job.

    It holds the headline numbers, every figure with the numbers behind it (with detectors ROC and precision-recall
    among them), saved images with effect maps and boxes as layers, effects as histogram, samples, and as artifacts the
    tables and the weights. Trouble with W&B is a warning, and after a minute the job goes on without it: the tables do
    not need it.

    Args:
        project: of W&B.
        mode: offline (files in the run directory, no key, no network), online or disabled.
        entity: user or team; None is the default one.
        artifacts: whether tables and weights are sent. Offline they are not copied, but sent from where they lie.
    """

    def __init__(self, project: str, mode: str, entity: str | None, artifacts: bool) -> None:
        self.project = project
        self.mode = checks.choice("logger.mode", mode, ("offline", "online", "disabled"))
        self.entity = entity
        self.artifacts = artifacts
        self.run: Any = None

    def start(self, folder: Path, group: str, name: str, config: Mapping[str, Any]) -> None:
        self.catalogue = Catalogue()  # a wrong figure is refused before the job, not after it
        self.run = self._patiently(lambda: self._begin(folder, group, name, config))

    def report(self, run: Run) -> None:
        super().report(run)
        if self.run is not None:
            shown = self.catalogue.of_run(run)
            self._patiently(lambda: self._send(run, shown))
        if self.run is not None and self.artifacts:
            self._patiently(lambda: self._send_artifacts(run))

    def finish(self, failed: bool) -> None:
        if self.run is not None:
            self._patiently(lambda: self.run.finish(exit_code=int(failed)))

    def send(self, folder: Path) -> None:
        import wandb

        if self.run is None:
            raise ConnectionError("W&B took no run, and so no report: see the warning above, or log_to=tensorboard.")
        for name, picture, numbers in figure_files(folder):
            table = pd.read_csv(numbers).head(TABLE_ROWS)
            self.run.log({f"figures/{name}": wandb.Image(str(picture)), f"tables/{name}": wandb.Table(dataframe=table)})
        report = wandb.Artifact(f"report-{self.run.group}", type="report")
        report.add_file(str(folder / "index.html"))
        report.add_dir(str(folder / "figures"), name="figures")
        self.run.log_artifact(report)

    def _begin(self, folder: Path, group: str, name: str, config: Mapping[str, Any]) -> Any:
        import wandb

        return wandb.init(
            project=self.project,
            entity=self.entity,
            mode=self.mode,  # type: ignore[arg-type]
            dir=folder,
            group=group,
            name=name,
            config=dict(config),
            reinit="finish_previous",
            settings=wandb.Settings(silent=True, init_timeout=30, console="off"),
        )

    def _send(self, run: Run, shown: Sequence[ReportFigure]) -> None:
        import wandb

        self.run.summary.update({f"{condition}/{metric}": interval for condition, metric, interval in metrics(run)})
        for item in shown:
            self.run.log({item.name: wandb.Image(item.figure, caption=item.caption)})
            table = wandb.Table(dataframe=item.data.head(TABLE_ROWS), allow_mixed_types=True)
            self.run.log({f"tables/{item.name}": table})
            if item.name == GALLERY:
                self.run.log({"effect_maps": [_image(one) for one in layered(run.folder, item.data)]})
        self.run.log({"effects": wandb.Histogram(np_histogram=effect_histogram(run.folder))})
        self.run.log({"samples": wandb.Table(dataframe=read_samples(run.folder).head(TABLE_ROWS))})

    def _send_artifacts(self, run: Run) -> None:
        import wandb

        tables = wandb.Artifact(f"tables-{self.run.id}", type="tables")
        for path in sorted(run.folder.glob("*.parquet")):
            tables.add_file(str(path), policy="immutable")  # without a copy
        self.run.log_artifact(tables)
        for name, path in run.facts["checkpoint_files"].items():
            weights = wandb.Artifact(f"{name}-{run.facts['checkpoints'][name]}", type="model")
            weights.add_file(path, policy="immutable")
            self.run.log_artifact(weights)

    def _patiently(self, ask: Callable[[], Any]) -> Any:
        """The answer; None, a warning, and no more questions if there is none."""
        answers, errors = [], []

        def attempt() -> None:
            try:
                answers.append(ask())
            except Exception as error:
                errors.append(error)

        thread = Thread(target=attempt, daemon=True)
        thread.start()
        thread.join(PATIENCE)
        if answers:
            return answers[0]
        self.run = None
        trouble = errors[0] if errors else f"no answer within {PATIENCE:.0f} s"
        log.warning("W&B failed, and the job goes on without it: %s", trouble)
        return None


class Layered(NamedTuple):
    """A picture and what lies over it."""

    caption: str
    picture: Picture
    levels: npt.NDArray[np.uint8]  # (H, W), keys of LEVELS
    boxes: pd.DataFrame  # of the known objects: object, top, left, bottom, right (pixels)


def layered(folder: Path, effects: pd.DataFrame) -> Iterator[Layered]:
    """The saved pictures of a run directory with their effect maps; none where units have no place.

    Args:
        folder: the run directory.
        effects: a row per (sample, condition, unit): predicted, label, effect, top, left, bottom, right (pixels, or
            nan).
    """
    boxes, largest = read_box_table(folder), largest_effect(effects)
    for (sample, condition), units in effects.dropna(subset=["top"]).groupby(["sample", "condition"], sort=False):
        picture, facts = load_thumbnail(thumbnail_path(folder, sample, condition)), units.iloc[0]
        caption = f"sample {sample}, {condition}: predicted: {facts['predicted']}, true: {facts['label']}"
        yield Layered(caption, picture, _levels(picture, units, largest), boxes[boxes["sample"] == sample])


def _levels(picture: Picture, units: pd.DataFrame, largest: float) -> npt.NDArray[np.uint8]:
    height, width = picture.shape[:2]
    share = stack(height, width, boxes_of(units), (units["effect"] / largest).tolist(), background=np.nan)
    return np.where(np.isnan(share), 0, 1 + np.digitize(share, EDGES)).astype(np.uint8)


def _image(layers: Layered) -> Any:
    """A picture for W&B, with its effect map as mask and its objects as boxes."""
    import wandb

    objects = list(dict.fromkeys(layers.boxes["object"]))
    boxes = [
        {
            "position": {"minX": left, "maxX": right, "minY": top, "maxY": bottom},
            "domain": "pixel",
            "class_id": objects.index(obj),
            "box_caption": obj,
        }
        for obj, top, left, bottom, right in layers.boxes[["object", *Box._fields]].itertuples(index=False)
    ]
    drawn = {"objects": {"box_data": boxes, "class_labels": dict(enumerate(objects))}}
    masks = {"effect": {"mask_data": layers.levels, "class_labels": LEVELS}}
    return wandb.Image(layers.picture, caption=layers.caption, masks=masks, boxes=drawn if boxes else None)
