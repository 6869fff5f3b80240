"""Loggers for the fit of a network beside the classifier, whose curves have the network's name in front."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from typing import Any

from pytorch_lightning.loggers import Logger


class NamedLogger(Logger):
    """Logger of the job that prefixes a fit's metrics with the network's name; the job closes it."""

    def __init__(self, network: str, logger: Logger) -> None:
        super().__init__()
        self.network = network
        self.logger = logger

    @property
    def name(self) -> str | None:
        """Name of the experiment, as of the job's logger."""
        return self.logger.name

    @property
    def version(self) -> int | str | None:
        """Version of the experiment, as of the job's logger."""
        return self.logger.version

    @property
    def save_dir(self) -> str | None:
        """Folder of the logs, as of the job's logger."""
        return self.logger.save_dir

    @property
    def experiment(self) -> Any:
        """Experiment of the job's logger."""
        return self.logger.experiment  # type: ignore[attr-defined]

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log network/metric of each metric."""
        self.logger.log_metrics({f"{self.network}/{name}": value for name, value in metrics.items()}, step)

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Log the hyperparameters below the network's name."""
        values = vars(params) if isinstance(params, Namespace) else params
        self.logger.log_hyperparams({self.network: values}, *args, **kwargs)

    def save(self) -> None:
        """Flush pending entries."""
        self.logger.save()


def named_loggers(network: str, loggers: Sequence[Logger]) -> list[Logger]:
    """Loggers of a job for a network's fit, prefixing its curves."""
    return [NamedLogger(network, logger) for logger in loggers]
