"""Lightning's W&B logger, for a run per job that no other run of the process is mixed up with."""

from __future__ import annotations

import os
import secrets
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from lightning_fabric.loggers.logger import rank_zero_experiment
from pytorch_lightning.loggers.logger import DummyLogger

from dovision import checks
from dovision.report.dashboard import LAST_CALL, Dashboard

STEP = "trainer/global_step"  # the axis of all curves, as Lightning names it
FLUSH_INTERVAL = 0.1  # seconds after which W&B writes what was logged to its file; its own 15 are lost in a kill
_LOCAL_WRITE = {"init_timeout": 86_400.0, "finish_timeout": 0.0, "x_service_wait": 86_400.0}  # seconds; 0: no limit


class WandbLogger(Dashboard, pl.loggers.WandbLogger):
    """W&B run with curves, numbers and configuration.

    A job that was stopped goes on in the same run, also offline, where `wandb sync` puts the pieces together. Runs that
    others have begun in this process are left alone.

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
        self.connect("W&B", Path(save_dir, "wandb"), patience, is_local=mode != "online")
        self.artifacts = checks.switch("logger.wandb.artifacts", artifacts)
        super().__init__(
            name=name,
            save_dir=save_dir,
            id=self.earlier_id() or secrets.token_hex(8),
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
            begun = wandb.init(**self._wandb_init)
            if self.down:  # it has come too late: a run that stays open would be given to the user's wandb.init
                begun.finish(exit_code=1)
                return DummyLogger().experiment
            self._experiment = begun
            self._experiment.define_metric(STEP)
            self._experiment.define_metric("*", step_metric=STEP, step_sync=True)
            if self._wandb_init["mode"] != "disabled":
                self.keep_id(self._wandb_init["id"])
        return DummyLogger().experiment if self.down else self._experiment

    def finish(self, failed: bool) -> None:
        """End the run, as failed or completed, and say what W&B lacks."""
        run = self._experiment
        self.remedy = "W&B has stored nothing here."
        if run is not None:
            self.remedy = f"Send what is stored here: wandb sync {shlex.quote(run.settings.sync_dir)}"
            self.wait(LAST_CALL if self.down else self.patience, lambda: run.finish(exit_code=int(failed)))
        super().finish(failed)
