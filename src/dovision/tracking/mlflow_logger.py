"""Lightning's MLflow logger, with the names and tags of a job, and figures."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loggers.logger import DummyLogger

from dovision import checks
from dovision.io.locking import Lock
from dovision.report.report_figure import ReportFigure
from dovision.store.run_record import Run
from dovision.tracking.patience import Service, patient

# Of MLflow, unless they are set: 3.17 refuses a store of files without the first.
ENVIRONMENT = {"MLFLOW_ALLOW_FILE_STORE": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}


class MLFlowLogger(pl.loggers.MLFlowLogger):
    """An MLflow run with curves, numbers, the configuration as parameters, and figures as artifacts.

    Args:
        name: of the run.
        group: name of the experiment.
        job_type: train, evaluate or report; a tag.
        tags: more tags.
        tracking_uri: of a folder (file:PATH) or of a server.
        patience: seconds that a server may take for an answer; then the job goes on without it.
    """

    def __init__(
        self, name: str, group: str, job_type: str, tags: Sequence[str], tracking_uri: str, patience: float
    ) -> None:
        for variable, value in ENVIRONMENT.items():
            os.environ.setdefault(variable, value)
        checks.import_extra("mlflow", "mlflow")
        self.service = Service("MLflow", patience)
        super().__init__(group, name, tracking_uri, {"job_type": job_type, **dict.fromkeys(tags, "true")})

    log_hyperparams = patient(pl.loggers.MLFlowLogger.log_hyperparams)
    log_metrics = patient(pl.loggers.MLFlowLogger.log_metrics)
    after_save_checkpoint = patient(pl.loggers.MLFlowLogger.after_save_checkpoint)
    finalize = patient(pl.loggers.MLFlowLogger.finalize)

    @property
    def experiment(self) -> Any:
        """MLflow's client. Jobs that start at the same time take turns, so that they make one experiment."""
        if self.service.down:
            return DummyLogger().experiment
        with ExitStack() as stack:
            if not self._initialized and self.save_dir is not None:
                folder = Path(self.save_dir)
                folder.mkdir(parents=True, exist_ok=True)
                stack.enter_context(Lock(folder / ".lock"))
            return super().experiment

    @patient
    def log_run(self, run: Run, figures: Sequence[ReportFigure]) -> None:
        """Send what a completed run shows."""
        for item in figures:
            self.experiment.log_figure(self.run_id, item.figure, f"figures/{item.name}.png")

    @patient
    def log_report(self, folder: Path) -> None:
        """Send a written report: its page, and its figures with the numbers behind them."""
        self.experiment.log_artifact(self.run_id, str(folder / "index.html"))
        self.experiment.log_artifacts(self.run_id, str(folder / "figures"), "figures")
