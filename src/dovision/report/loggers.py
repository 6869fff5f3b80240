"""Make the loggers of a job, of which that of CSV continues its file; log its configuration, and close them."""

from __future__ import annotations

import csv
import inspect
import pkgutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import pytorch_lightning as pl
from lightning_fabric.loggers.logger import rank_zero_experiment
from pytorch_lightning.loggers import Logger
from pytorch_lightning.loggers.csv_logs import ExperimentWriter
from pytorch_lightning.utilities import rank_zero_only

from dovision import checks
from dovision.config.component import Component
from dovision.config.errors import named
from dovision.io import files, paths
from dovision.io.text_files import write_text, yaml_text
from dovision.report.report_figure import Catalogue
from dovision.report.uploader import SHOWING
from dovision.report.wandb_logger import WandbLogger


def make_loggers(
    components: Mapping[str, Component],
    folder: Path,
    *,
    name: str,
    group: str,
    job_type: str,
    suffix: str = "",
    tags: Sequence[str] = (),
    config: Mapping[str, Any] | None = None,
) -> list[Logger]:
    """Make Lightning's loggers of a job, shared by its trainers.

    Args:
        components: the configured loggers; a class gets those of the arguments below that it takes by their names, and
            that its component does not set; null is not set, but for classes of others.
        folder: where their files go; the argument `save_dir`.
        name: of the run in a dashboard.
        group: the runs that belong together, such as those of a sweep.
        job_type: train or evaluate.
        suffix: what follows a name that a component sets itself, as all jobs of a sweep have that.
        tags: of the run.
        config: nested plain values, sent as hyperparameters.

    Raises:
        ValueError: a logger refuses its arguments, or needs a package that is not installed; or a figure is none.
    """
    arguments = {"save_dir": str(folder), "name": name, "group": group, "job_type": job_type, "tags": list(tags)}
    loggers = [_made(component, arguments, suffix) for component in components.values()]
    if any(isinstance(logger, SHOWING) for logger in loggers):
        Catalogue()  # refuses a wrong figure before the job, not after it
    if config is not None:
        for logger in loggers:
            logger.log_hyperparams(dict(config))
    return loggers


def check_logger(component: Component) -> None:
    """Make a logger of `conf/logger` as a job would, without leaving anything behind.

    Raises:
        ValueError: it refuses its arguments, or needs a package that is not installed.
    """
    target = pkgutil.resolve_name(component["_target_"])
    if target in (CSVLogger, *SHOWING):  # others may begin a run as soon as they are made
        with TemporaryDirectory() as folder:
            arguments = {"save_dir": folder, "name": "name", "group": "group", "job_type": "evaluate", "tags": []}
            _made(component, arguments)


def _made(component: Component, arguments: Mapping[str, Any], suffix: str = "") -> Logger:
    taken = inspect.signature(pkgutil.resolve_name(component["_target_"])).parameters
    unset = {key for key in arguments if key not in component}
    if str(component["_target_"]).startswith("dovision."):  # to others, null or a name may be that of a folder
        unset |= {key for key in arguments if component.get(key) is None}
        component = component.replaced(name=f"{component['name']}{suffix}") if component.get("name") else component
    given = {key: value for key, value in arguments.items() if key in taken and key in unset}
    make = component.replaced(_partial_=True).make()
    try:  # with the facts as they are: Hydra would read ${oc.env:NAME} in a name or a tag
        made = make(**given)
    except Exception as error:
        raise ValueError(named(component.where, str(error))) from error
    return checks.instance(component.where, made, Logger, "a logger of Lightning")


@contextmanager
def closing_loggers(loggers: Sequence[Logger]) -> Iterator[None]:
    """Context that ends the loggers' runs; as failed after an exception."""
    failed = True
    try:
        yield
        failed = False
    finally:
        with ExitStack() as stack:  # one that raises keeps no other from its end
            for logger in loggers:
                stack.callback(_end, logger, failed)


def _end(logger: Logger, failed: bool) -> None:
    logger.finalize("failed" if failed else "success")
    if isinstance(logger, WandbLogger):
        logger.finish(failed)


class CSVLogger(pl.loggers.CSVLogger):
    """Logger of curves and numbers in metrics.csv, a row per step, and of the configuration in hparams.yaml.

    A job that was stopped goes on in the same file: what it logs of a step takes the place of what was there.

    Args:
        save_dir: the run directory.
        folder: of both files, in the run directory.
    """

    def __init__(self, save_dir: str, folder: str) -> None:
        super().__init__(save_dir, name=None, version=paths.safe_relative_path("logger.csv.folder", folder))

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """Lightning's writer of both files."""
        if self._experiment is None:
            self._experiment = ContinuedRows(self.log_dir)
        return self._experiment

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Flush, and merge the rows of a step, keeping the last value of each metric."""
        super().finalize(status)
        path = Path(self.log_dir) / ExperimentWriter.NAME_METRICS_FILE
        if path.is_file():
            rows = pd.read_csv(path, dtype=str)  # numbers as they are written
            write_text(path, rows.groupby(rows["step"].astype(float).to_numpy()).last().to_csv(index=False))


class ContinuedRows(ExperimentWriter):
    """Lightning's writer, except that it keeps existing rows."""

    def log_hparams(self, params: dict[str, Any]) -> None:
        """Write the configuration in C, ten times as fast as Lightning does."""
        self.hparams.update(params)
        write_text(Path(self.log_dir) / self.NAME_HPARAMS_FILE, yaml_text(self.hparams))

    def save(self) -> None:
        """Write the rows so far; where that fails, new columns are new again at the next attempt."""
        keys = [*self.metrics_keys]
        try:
            super().save()
        except OSError:
            self.metrics_keys = keys
            raise

    def _check_log_dir_exists(self) -> None:
        """Keep complete rows of an earlier job; Lightning calls this when it creates the folder."""
        path = Path(self.metrics_file_path)
        if path.is_file():
            text = files.read_text(path)
            text = text[: text.rfind("\n") + 1]  # a kill may have left a part of a row
            self.metrics_keys = next(csv.reader(text.splitlines()), [])
            write_text(path, text)
            if not text:
                path.unlink()
