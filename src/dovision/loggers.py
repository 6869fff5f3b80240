"""Where a run's headline numbers go besides its tables: a CSV file always, a dashboard if one is asked for."""

from __future__ import annotations

import csv
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from dovision import checks
from dovision.contracts import Box
from dovision.effects import Interval
from dovision.results.exhibit import Exhibit
from dovision.results.exhibits import GALLERY, run_exhibits
from dovision.results.files import replacing
from dovision.results.layers import LEVELS, Layered, layered
from dovision.results.pictures import load_image
from dovision.results.reading import Run
from dovision.results.tables import EFFECTS, read_samples, row_groups

log = logging.getLogger(__name__)
METRICS_FILE = "metrics.csv"
PATIENCE = 60.0  # seconds that a dashboard may take for one answer
TABLE_ROWS = 1000  # of samples.parquet that are sent to a dashboard


class CSVLogger:
    """metrics.csv in the run directory: a row per arm and metric, with its interval."""

    def start(self, folder: Path, group: str, name: str, config: Mapping[str, Any]) -> None:
        """Begin a run.

        Args:
            folder: the run directory.
            group: the runs that belong together.
            name: the run among them.
            config: plain values.
        """

    def report(self, run: Run) -> None:
        """Send the headline numbers of a completed run."""
        with replacing(run.folder / METRICS_FILE) as partial, partial.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["arm", "metric", *Interval._fields])
            for arm, metric, interval in _metrics(run):
                rows.writerow([arm, metric, *interval.values()])

    def send(self, folder: Path) -> None:
        """Send the figures and tables of a written report, by their names; nothing to do for a CSV file."""

    def finish(self, failed: bool) -> None:
        """End the run; called in any case."""


class WandbLogger(CSVLogger):
    """The same, and a W&B run per job.

    It holds the headline numbers, every figure with the numbers behind it (with detectors ROC and precision-recall
    among them), kept images with effect maps and boxes as layers, effects as histogram, samples, and as artifacts the
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
            shown = run_exhibits(run)
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
        for name, picture, numbers in _reported(folder):
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

    def _send(self, run: Run, shown: Sequence[Exhibit]) -> None:
        import wandb

        self.run.summary.update({f"{arm}/{metric}": interval for arm, metric, interval in _metrics(run)})
        for item in shown:
            self.run.log({item.name: wandb.Image(item.figure, caption=item.caption)})
            table = wandb.Table(dataframe=item.data.head(TABLE_ROWS), allow_mixed_types=True)
            self.run.log({f"tables/{item.name}": table})
            if item.name == GALLERY:
                self.run.log({"effect_maps": [_image(one) for one in layered(run.folder, item.data)]})
        self.run.log({"effects": wandb.Histogram(np_histogram=_histogram(run.folder))})
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


class TensorboardLogger(CSVLogger):
    """metrics.csv, and event files for TensorBoard: headline numbers against epsilon, figures, effects as histogram.

    Args:
        folder: of the event files, in the run directory.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.writer: Any = None

    def start(self, folder: Path, group: str, name: str, config: Mapping[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(folder / self.folder)
        self.writer.add_text("run", f"{group}: {name}")

    def report(self, run: Run) -> None:
        super().report(run)
        for arm, metric, interval in _metrics(run):
            self.writer.add_scalar(f"{metric}/{arm}", interval["estimate"])
        for item in run_exhibits(run):
            self.writer.add_figure(item.name, item.figure)
        counts, edges = _histogram(run.folder)
        middle = (edges[1:] + edges[:-1]) / 2
        self.writer.add_histogram_raw(
            "effects", -1.0, 1.0, int(counts.sum()), middle @ counts, middle**2 @ counts, edges[1:], counts
        )

    def send(self, folder: Path) -> None:
        for name, picture, _ in _reported(folder):
            self.writer.add_image(f"figures/{name}", load_image(picture)[..., :3], dataformats="HWC")

    def finish(self, failed: bool) -> None:
        if self.writer is not None:
            self.writer.close()


def _image(layers: Layered) -> Any:
    """A picture for W&B, with its effect map as mask and its parts as boxes."""
    import wandb

    parts = list(dict.fromkeys(layers.boxes["part"]))
    boxes = [
        {
            "position": {"minX": left, "maxX": right, "minY": top, "maxY": bottom},
            "domain": "pixel",
            "class_id": parts.index(part),
            "box_caption": part,
        }
        for part, top, left, bottom, right in layers.boxes[["part", *Box._fields]].itertuples(index=False)
    ]
    drawn = {"parts": {"box_data": boxes, "class_labels": dict(enumerate(parts))}}
    masks = {"effect": {"mask_data": layers.levels, "class_labels": LEVELS}}
    return wandb.Image(layers.picture, caption=layers.caption, masks=masks, boxes=drawn if boxes else None)


def _reported(folder: Path) -> Iterator[tuple[str, Path, Path]]:
    """(name, picture, numbers) of every figure of a report."""
    for picture in sorted((folder / "figures").rglob("*.png")):
        yield str(picture.relative_to(folder / "figures").with_suffix("")), picture, picture.with_suffix(".csv")


def _metrics(run: Run) -> Iterator[tuple[str, str, dict[str, float]]]:
    """(arm, metric, interval) of every number in a run's summary."""
    for arm, found in run.summary["arms"].items():
        for metric, interval in found.items():
            if isinstance(interval, dict):
                yield arm, metric, interval


def _histogram(folder: Path) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Counts and edges of the effects of all arms, in 64 bins over [-1, 1]."""
    edges = np.linspace(-1, 1, 65)
    counts = np.zeros(64, dtype=np.int64)
    for table in row_groups(folder / EFFECTS, ["effect"]):
        counts += np.histogram(table["effect"].to_numpy(), edges)[0]
    return counts, edges
