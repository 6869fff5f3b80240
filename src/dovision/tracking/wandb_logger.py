"""Lightning's W&B logger, with figures, effect maps and boxes over the saved pictures, tables and weights."""

from __future__ import annotations

import importlib
import os
import re
import secrets
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytorch_lightning as pl
from pytorch_lightning.loggers.logger import DummyLogger

from dovision import checks
from dovision.report.figures.gallery import GALLERY
from dovision.report.image_overlay import unit_values
from dovision.report.report_figure import ReportFigure
from dovision.runtime.process_state import is_rank_zero
from dovision.store.map_tables import read_box_table
from dovision.store.run_record import Run
from dovision.store.tables import has_rows, largest_effect, read_samples
from dovision.store.thumbnails import Picture, load_thumbnail, thumbnail_path
from dovision.store.unit_masks import read_masks, read_object_masks
from dovision.tracking.open_run import OpenRun
from dovision.tracking.patience import Service, patient
from dovision.tracking.payload import TABLE_ROWS, Headlines, effect_histogram, figure_files
from dovision.types import Box, Mask

STEP = "trainer/global_step"  # the axis of all curves, as Lightning names it
FLUSH_INTERVAL = 0.1  # seconds after which W&B writes what was logged to its file; its own 15 are lost in a kill
LEVELS = {
    0: "no unit",
    1: "evidence for the class",
    2: "some evidence for it",
    3: "hardly any",
    4: "some evidence against it",
    5: "evidence against the class",
}
_LOCAL_WRITE = {"init_timeout": 86_400.0, "finish_timeout": 0.0, "x_service_wait": 86_400.0}  # seconds; 0: no limit
_FOREIGN = re.compile(r"[^a-zA-Z0-9_.-]")  # in the name of an artifact
EDGES = (-0.6, -0.2, 0.2, 0.6)  # between the levels 1 to 5, in shares of the largest effect of the job's pictures


def _check_installed() -> None:
    """Raise ImportError with a remedy if wandb is missing from the environment."""
    try:
        importlib.import_module("wandb")
    except ImportError as error:
        raise ImportError(
            f"logger=wandb needs wandb ({error}). Install it (pip install wandb), or choose another logger, such as "
            "logger=csv."
        ) from error


class WandbLogger(pl.loggers.WandbLogger):
    """W&B run with curves, numbers, configuration, and all figures of a completed run.

    At most 40 numbers are scalars, the others a table. Sent are every figure with the numbers behind it, saved images
    with effect maps and boxes as layers, effects as histogram, samples, and as artifacts the tables and the weights.
    Trouble with W&B is a warning, and the job goes on without it: the tables do not need it. A job that was stopped
    goes on in the same run, also offline, where `wandb sync` puts the pieces together. Runs that others have begun in
    this process are left alone.

    Args:
        save_dir: the run directory.
        name: of the run.
        group: the runs that belong together.
        job_type: train, evaluate or report.
        tags: of the run.
        project: of W&B.
        mode: offline (files in the run directory, no key, no network), online or disabled.
        entity: user or team; None is the default one.
        artifacts: whether tables and weights are sent. Offline they are not copied, but sent from where they lie.
        patience: seconds that W&B may take for an answer online; then the job goes on without it.
    """

    def __init__(
        self,
        save_dir: str,
        name: str,
        group: str,
        job_type: str,
        tags: str | Sequence[str],
        project: str,
        mode: str,
        entity: str | None,
        artifacts: bool,
        patience: float,
    ) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # for which the end of a process would wait
        _check_installed()
        checks.positive("patience", patience)
        self.service = Service("W&B", patience if mode == "online" else None)
        self.artifacts = checks.switch("logger.wandb.artifacts", artifacts)
        self._open_run = OpenRun(save_dir, "wandb")
        self._headlines = Headlines()
        super().__init__(
            name=name,
            save_dir=save_dir,
            id=self._open_run.read() or secrets.token_hex(8),
            project=project,
            mode=checks.choice("logger.wandb.mode", mode, ("offline", "online", "disabled")),
            entity=entity,
            group=group,
            job_type=job_type,
            tags=[tags] if isinstance(tags, str) else list(tags),
            reinit="create_new",
            settings={
                **{"silent": True, "console": "off"},
                **({"init_timeout": patience, "finish_timeout": patience} if mode == "online" else _LOCAL_WRITE),
            },
        )
        self._wandb_init.pop("anonymous", None)  # which Lightning sets, and of which W&B warns

    log_hyperparams = patient(pl.loggers.WandbLogger.log_hyperparams)
    after_save_checkpoint = patient(pl.loggers.WandbLogger.after_save_checkpoint)
    finalize = patient(pl.loggers.WandbLogger.finalize)

    @patient
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log the first 40 scalars by name, and whatever is no scalar; `log_run` sends the others as a table."""
        super().log_metrics(self._headlines.of(metrics), step)

    @property
    def experiment(self) -> Any:
        """The W&B run, begun or continued on first use."""
        import wandb

        if self.service.down or not is_rank_zero():
            return DummyLogger().experiment
        if self._experiment is None:  # Lightning's own property would take any run of this process
            if "x_transaction_log_flush_interval" in wandb.Settings.model_fields:  # from 0.31 on
                self._wandb_init["settings"]["x_transaction_log_flush_interval"] = FLUSH_INTERVAL
            begun = wandb.init(**self._wandb_init)
            if self.service.down:  # it has come too late: a run that stays open would be given to the user's wandb.init
                begun.finish(exit_code=1)
                return DummyLogger().experiment
            self._experiment = begun
            self._experiment.define_metric(STEP)
            self._experiment.define_metric("*", step_metric=STEP, step_sync=True)
            if self._wandb_init["mode"] != "disabled":
                self._open_run.write(self._wandb_init["id"])
        return self._experiment

    def finish(self, failed: bool) -> None:
        """End the run, as failed or finished."""
        run = self._experiment
        if run is None:
            self.service.end(None, "W&B has stored nothing here.")
        else:
            remedy = f"Send what is stored here: wandb sync {shlex.quote(run.settings.sync_dir)}"
            self.service.end(lambda: run.finish(exit_code=int(failed)), remedy)
        if not failed:
            self._open_run.close()

    @patient
    def log_run(self, run: Run, figures: Sequence[ReportFigure]) -> None:
        """Send what a completed run shows."""
        import wandb

        shown: dict[str, Any] = {}
        if has_rows(run.folder):
            shown["effects"] = wandb.Histogram(np_histogram=effect_histogram(run.folder))
        shown["samples"] = wandb.Table(dataframe=read_samples(run.folder).head(TABLE_ROWS))
        if rest := self._headlines.rest:
            shown["numbers"] = wandb.Table(columns=["number", "value"], data=[[*item] for item in rest.items()])
        for item in figures:
            shown[f"figures/{item.name}"] = wandb.Image(item.figure, caption=item.caption)
            shown[f"tables/{item.name}"] = wandb.Table(dataframe=item.data.head(TABLE_ROWS), allow_mixed_types=True)
            if item.name == GALLERY:
                shown["effect_maps"] = [_image(one) for one in layered(run.folder, item.data)]
        self.log_metrics(shown, step=0)
        if self.artifacts:
            self._log_files(f"tables-{self.version}", "tables", sorted(run.folder.glob("*.parquet")))
            for name, path in run.record["checkpoint_files"].items():
                self._log_files(f"{name}-{run.record['checkpoints'][name]}", "model", [path])

    @patient
    def log_report(self, folder: Path) -> None:
        """Send a written report: its page, and its figures with the numbers behind them."""
        import wandb

        for name, picture, numbers in figure_files(folder):
            table = wandb.Table(dataframe=pd.read_csv(numbers).head(TABLE_ROWS))
            self.log_metrics({f"figures/{name}": wandb.Image(str(picture)), f"tables/{name}": table}, step=0)
        report = wandb.Artifact(_FOREIGN.sub("_", f"report-{self.experiment.group}"), type="report")
        report.add_file(str(folder / "index.html"))
        report.add_dir(str(folder / "figures"), name="figures")
        self.experiment.log_artifact(report)

    def _log_files(self, name: str, artifact_type: str, files: Sequence[str | Path]) -> None:
        """Log files as an artifact without copying them."""
        import wandb

        artifact = wandb.Artifact(name, type=artifact_type)
        for file in files:
            artifact.add_file(str(file), policy="immutable")
        self.experiment.log_artifact(artifact)


class Layered(NamedTuple):
    """Picture with overlays."""

    caption: str
    picture: Picture
    levels: npt.NDArray[np.uint8]  # (H, W), keys of LEVELS
    boxes: pd.DataFrame  # of the known objects: object, top, left, bottom, right (pixels)
    masks: Mapping[str, Mask]  # of the known objects, by name


def layered(folder: Path, effects: pd.DataFrame) -> Iterator[Layered]:
    """Saved pictures of a run with their effect maps; none where units have no position.

    Args:
        folder: the run directory.
        effects: a row per (sample, condition, unit): predicted, label, effect, top, left, bottom, right (pixels, or
            nan).
    """
    boxes, masks, largest = read_box_table(folder), read_masks(folder), largest_effect(effects)
    objects = read_object_masks(folder, set(effects["sample"]))
    for (sample, condition), units in effects.dropna(subset=["top"]).groupby(["sample", "condition"], sort=False):
        picture, first = load_thumbnail(thumbnail_path(folder, sample, condition)), units.iloc[0]
        caption = f"sample {sample}, {condition}: predicted: {first['predicted']}, true: {first['label']}"
        share = unit_values(units.assign(share=units["effect"] / largest), "share", picture.shape, np.nan, masks)
        levels = np.where(np.isnan(share), 0, 1 + np.digitize(share, EDGES)).astype(np.uint8)
        yield Layered(caption, picture, levels, boxes[boxes["sample"] == sample], objects.get(sample, {}))


def _image(layers: Layered) -> Any:
    """Picture for W&B with its effect map as mask, and objects as boxes or masks."""
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
    for name, mask in layers.masks.items():  # each a layer, since they may overlap, of a name that is no other layer's
        masks[f"object {name}"] = {"mask_data": mask.astype(np.uint8), "class_labels": {1: name}}
    return wandb.Image(layers.picture, caption=layers.caption, masks=masks, boxes=drawn if boxes else None)
