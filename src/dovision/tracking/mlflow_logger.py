"""Lightning's MLflow logger, with the names and tags of a job, and figures."""

from __future__ import annotations

import os
import re
from argparse import Namespace
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pandas as pd
import pytorch_lightning as pl
from lightning_fabric.utilities.logger import _convert_params, _flatten_dict
from pytorch_lightning.loggers.logger import DummyLogger

from dovision import checks
from dovision.io.locking import Lock
from dovision.report.report_figure import ReportFigure
from dovision.runtime.process_state import is_rank_zero
from dovision.store.run_record import Run
from dovision.tracking.open_run import OpenRun
from dovision.tracking.patience import Service, patient
from dovision.tracking.payload import Headlines

_OF_CONDITION = re.compile(r"\beps=")
_FOREIGN = re.compile(r"[^a-zA-Z0-9_/. -]")
# Of MLflow, unless they are set: 3.17 refuses a store of files without the first.
ENVIRONMENT = {"MLFLOW_ALLOW_FILE_STORE": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}


def mlflow_name(name: str) -> str:
    """Name of a metric for MLflow, which only allows the signs _, -, ., / and space.

    "accuracy/eps=0.1" is "accuracy/eps 0.1". Any other sign, as in the name of a class, becomes _, and a hash of the
    whole name follows, so that no two metrics share one.
    """
    spaced = _OF_CONDITION.sub("eps ", name)
    if _FOREIGN.search(spaced) is None:
        return spaced
    return f"{_FOREIGN.sub('_', spaced)}-{sha256(name.encode()).hexdigest()[:6]}"


class MLFlowLogger(pl.loggers.MLFlowLogger):
    """MLflow run with curves, numbers, parameters, and figures as artifacts.

    A job that was stopped goes on in the same run. Metrics have the names of `mlflow_name`.

    Args:
        save_dir: the run directory.
        name: of the run.
        group: name of the experiment.
        job_type: train, evaluate or report; a tag.
        tags: more tags.
        tracking_uri: of a folder (file:PATH) or of a server.
        patience: seconds that a server, and no folder, may take for an answer; then the job goes on without it.
        experiment_name: of the experiment, in place of the group; None: the group.
    """

    def __init__(
        self,
        save_dir: str,
        name: str,
        group: str,
        job_type: str,
        tags: str | Sequence[str],
        tracking_uri: str,
        patience: float,
        experiment_name: str | None = None,
    ) -> None:
        for variable, value in ENVIRONMENT.items():
            os.environ.setdefault(variable, value)
        checks.import_extra("mlflow", "mlflow")
        is_local = urlsplit(tracking_uri).scheme in ("", "file", "sqlite")
        checks.positive("patience", patience)
        self.service = Service("MLflow", None if is_local else patience)
        self._open_run = OpenRun(save_dir, "mlflow")
        self._headlines = Headlines()
        marks = {"job_type": job_type, **dict.fromkeys([tags] if isinstance(tags, str) else tags, "true")}
        super().__init__(experiment_name or group, name, tracking_uri, marks)

    after_save_checkpoint = patient(pl.loggers.MLFlowLogger.after_save_checkpoint)
    finalize = patient(pl.loggers.MLFlowLogger.finalize)

    @property
    def experiment(self) -> Any:
        """MLflow's client; concurrent jobs take turns, so that one experiment is created."""
        if self.service.down:
            return DummyLogger().experiment
        with ExitStack() as stack:
            if not self._initialized and self.save_dir is not None:
                folder = Path(self.save_dir)
                folder.mkdir(parents=True, exist_ok=True)
                stack.enter_context(Lock(folder / ".lock"))
            if not self._initialized:
                self._run_id = self._continued()
            client = super().experiment
            if self._run_id is not None:
                self._open_run.write(self._run_id)
            return client

    def _continued(self) -> str | None:
        """Id of the run left by an earlier start, set to running; None if the store lacks it."""
        from mlflow.exceptions import MlflowException
        from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode

        run_id = self._open_run.read()
        if run_id is None or not is_rank_zero():
            return None
        try:
            self._mlflow_client.update_run(run_id, status="RUNNING")
        except MlflowException as error:
            if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
                raise
            return None
        return run_id

    @patient
    def log_hyperparams(self, params: dict[str, Any] | Namespace) -> None:
        """Log nested values as immutable parameters; a continued run gets only the missing ones."""
        logged = self.experiment.get_run(self.run_id).data.params
        given = _flatten_dict(_convert_params(params))
        super().log_hyperparams({name: value for name, value in given.items() if name not in logged})

    @patient
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log the first 40 numbers under legal names; `log_run` sends the others as a table."""
        sent = self._headlines.of(metrics)
        super().log_metrics({mlflow_name(name): value for name, value in sent.items()}, step)

    def finish(self, failed: bool) -> None:
        """Let the next start begin a new run, unless this one failed; log what the server lacks."""
        self.service.end(None, "The tables of the run have all numbers.")
        if not failed:
            self._open_run.close()

    @patient
    def log_run(self, run: Run, figures: Sequence[ReportFigure]) -> None:
        """Send what a completed run shows."""
        if rest := self._headlines.rest:
            table = pd.DataFrame({"number": [*rest], "value": [*rest.values()]})
            self.experiment.log_text(self.run_id, table.to_csv(index=False), "numbers.csv")
        for item in figures:
            self.experiment.log_figure(self.run_id, item.figure, f"figures/{item.name}.png")

    @patient
    def log_report(self, folder: Path) -> None:
        """Send a written report: its page, and its figures with the numbers behind them."""
        self.experiment.log_artifact(self.run_id, str(folder / "index.html"))
        self.experiment.log_artifacts(self.run_id, str(folder / "figures"), "figures")
