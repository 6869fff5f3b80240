"""Lightning's W&B logger, for a run per job that no other run of the process is mixed up with."""

from __future__ import annotations

import logging
import os
import secrets
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from lightning_fabric.loggers.logger import rank_zero_experiment
from pytorch_lightning.loggers.logger import DummyLogger
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor

from dovision import checks
from dovision.io import files
from dovision.io.text_files import write_text

log = logging.getLogger(__name__)
STEP = "trainer/global_step"  # the axis of all curves, as Lightning names it
FLUSH_INTERVAL = 0.1  # seconds after which W&B writes what was logged to its file; its own 15 are lost in a kill
MOST_SCALARS = 40  # of a run that are sent one by one
_OF_UNITS = "average_effect/"  # numbers of a unit and class, as many as there are of both
_LOCAL_WRITE = {"init_timeout": 86_400.0, "finish_timeout": 0.0, "x_service_wait": 86_400.0}  # seconds; 0: no limit


class WandbLogger(pl.loggers.WandbLogger):
    """W&B run with curves, numbers and configuration.

    A job that was stopped goes on in the same run, also offline, where `wandb sync` puts the pieces together: the id of
    the run lies in a file of the run directory until the job is completed. Runs that others have begun in this process
    are left alone. After the first failure of W&B the job continues without it. Of the numbers the first 40 are
    scalars, and `rest` has the others.

    Args:
        save_dir: the run directory.
        name: of the run.
        group: the runs that belong together.
        job_type: train or evaluate.
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
        checks.positive("patience", patience)
        os.environ.setdefault("WANDB_LOGIN_TIMEOUT", f"{patience:g}")  # for a key that is to be typed
        self.artifacts = checks.instance("logger.wandb.artifacts", artifacts, bool, "true or false")
        self.down = False
        self.rest: dict[str, float] = {}
        self._scalars: set[str] = set()
        self._id_file = Path(save_dir, "wandb", "run_id.txt")
        earlier_id = files.read_text(self._id_file).strip() if self._id_file.is_file() else ""
        super().__init__(
            name=name,
            save_dir=save_dir,
            id=earlier_id or secrets.token_hex(8),
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

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The W&B run, begun or continued on first use."""
        import wandb

        if self._experiment is None and not self.down:  # Lightning's own property would take any run of this process
            if "x_transaction_log_flush_interval" in wandb.Settings.model_fields:  # from 0.31 on
                self._wandb_init["settings"]["x_transaction_log_flush_interval"] = FLUSH_INTERVAL
            self._experiment = wandb.init(**self._wandb_init)
            self._experiment.define_metric(STEP)
            self._experiment.define_metric("*", step_metric=STEP, step_sync=True)
            if self._wandb_init["mode"] != "disabled":
                self._id_file.parent.mkdir(parents=True, exist_ok=True)
                write_text(self._id_file, f"{self._wandb_init['id']}\n")
        return DummyLogger().experiment if self.down else self._experiment

    def ask(self, call: Callable[..., Any], *args: Any, again: bool = False) -> None:
        """Call W&B and warn of its first failure; after a failure only `again` calls it."""
        if self.down and not again:
            return
        try:
            call(*args)
        except Exception as error:  # whatever its client raises
            if not self.down:
                log.warning("W&B failed; the job continues without it: %s", error)
            self.down = True

    def log_hyperparams(self, params: Any) -> None:
        """Log the configuration."""
        self.ask(super().log_hyperparams, params)

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log the first 40 numbers, by name, and other values; keep further numbers for one table."""
        sent = {}
        for name, value in metrics.items():
            is_number = isinstance(value, (int, float, Tensor))
            is_scalar = len(self._scalars) < MOST_SCALARS and not name.startswith(_OF_UNITS)
            if is_number and not is_scalar and name not in self._scalars:
                self.rest[name] = float(value)
                continue
            self._scalars |= {name} if is_number else set()
            sent[name] = value
        self.ask(super().log_metrics, sent, step)

    @rank_zero_only
    def finish(self, failed: bool) -> None:
        """End the run, as failed or completed, and say what W&B lacks; the next start of a failed job continues it."""
        if self._experiment is not None:
            # the user's wandb.init would return an open run
            self.ask(self._experiment.finish, int(failed), again=True)
        if self.down:
            remedy = "W&B has stored nothing here."
            if self._experiment is not None:
                remedy = f"Send what is stored here: wandb sync {shlex.quote(self._experiment.settings.sync_dir)}"
            log.warning("W&B lacks a part of this job. %s", remedy)
        if not failed:
            self._id_file.unlink(missing_ok=True)
