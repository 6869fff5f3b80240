"""Lightning's MLflow logger, with the names and tags of a job."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytorch_lightning as pl
from lightning_fabric.loggers.logger import rank_zero_experiment
from lightning_fabric.utilities.logger import _convert_params, _flatten_dict
from pytorch_lightning.loggers.logger import DummyLogger

from dovision import checks
from dovision.io.locking import Lock
from dovision.report.dashboard import Dashboard

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


class MLFlowLogger(Dashboard, pl.loggers.MLFlowLogger):
    """MLflow run with curves, numbers and parameters, of which a metric has the name of `mlflow_name`.

    Args:
        save_dir: the run directory.
        name: of the run.
        group: name of the experiment.
        job_type: train or evaluate; a tag.
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
        self.connect("MLflow", Path(save_dir, "mlflow"), patience, is_local)
        marks = {"job_type": job_type, **dict.fromkeys([tags] if isinstance(tags, str) else tags, "true")}
        super().__init__(experiment_name or group, name, tracking_uri, marks, run_id=self.earlier_id())

    def metric_name(self, name: str) -> str:
        """Name of a metric that MLflow takes."""
        return mlflow_name(name)

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """MLflow's client; concurrent jobs take turns, so that one experiment is created."""
        from mlflow.exceptions import MlflowException

        if self.down:
            return DummyLogger().experiment
        if self._initialized:
            return self._mlflow_client
        with ExitStack() as stack:
            if self.save_dir is not None:
                folder = Path(self.save_dir)
                folder.mkdir(parents=True, exist_ok=True)
                stack.enter_context(Lock(folder / ".lock"))
            if self._run_id is not None:
                try:
                    self._mlflow_client.update_run(self._run_id, status="RUNNING")
                except MlflowException:
                    self._run_id = None  # the store has no such run: begin another
            client = super().experiment
        self.keep_id(str(self._run_id))
        return client

    def log_hyperparams(self, params: Any) -> None:
        """Log nested values as parameters, which MLflow does not change; a continued run gets only the missing ones."""
        self.ask(self._log_missing, params)

    def _log_missing(self, params: Any) -> None:
        logged = self.experiment.get_run(self.run_id).data.params
        given = _flatten_dict(_convert_params(params))
        pl.loggers.MLFlowLogger.log_hyperparams(
            self, {name: value for name, value in given.items() if name not in logged}
        )

    def finalize(self, status: str = "success") -> None:
        """Set the state of the run."""
        self.ask(super().finalize, status)
