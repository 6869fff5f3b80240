"""Runs in Weights & Biases."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Thread
from typing import Any

import pandas as pd

from dovision import checks
from dovision.report.catalogue import run_figures
from dovision.report.figures.gallery import GALLERY
from dovision.report.report_figure import ReportFigure
from dovision.store.run_record import Run
from dovision.store.tables import read_samples
from dovision.tracking.csv_logger import CSVLogger
from dovision.tracking.payload import effect_histogram, figure_files, metrics
from dovision.tracking.wandb_masks import LEVELS, Layered, layered
from dovision.types import Box

log = logging.getLogger(__name__)
PATIENCE = 60.0  # seconds that W&B may take for one answer
TABLE_ROWS = 1000  # of a table that are sent


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
        self.run = self._patiently(lambda: self._begin(folder, group, name, config))

    def report(self, run: Run) -> None:
        super().report(run)
        if self.run is not None:
            shown = run_figures(run)
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
