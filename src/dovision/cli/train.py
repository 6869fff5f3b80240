"""The command dovision-train: fit the classifier, and the autoencoder if one is asked for."""

from __future__ import annotations

import logging
from pathlib import Path

from hydra.core.hydra_config import HydraConfig

from dovision import checks
from dovision.cli import session
from dovision.cli.hydra_main import hydra_main
from dovision.config.settings import TrainSettings
from dovision.identity.plans import AUTOENCODER, CLASSIFIER
from dovision.identity.shared import shared
from dovision.io.text_files import make_folder
from dovision.runtime.progress import DISPLAY
from dovision.tracking.loggers import closing_loggers
from dovision.training.checkpointing import scores_text
from dovision.training.networks import JobNetworks

log = logging.getLogger(__name__)


def train_networks(settings: TrainSettings) -> float | None:
    """Fit missing networks, and print their paths and scores.

    Returns:
        The score that `optimized_metric` names; None if that names nothing.

    Raises:
        ValueError: `optimized_metric` names no score of these networks.
    """
    make_folder(settings.output_root, setting="output_root")
    loggers = session.loggers_of(settings, "train")
    with closing_loggers(loggers), DISPLAY.job(["data", CLASSIFIER, *([AUTOENCODER] if settings.autoencoder else [])]):
        job = shared().job(settings, Path(HydraConfig.get().runtime.output_dir))
        networks = JobNetworks(settings, job, loggers, again=settings.rerun == "all")
        scores: dict[str, float] = {}
        for name in job.plan.network_keys:
            DISPLAY.step(name)
            fitted = networks.fit(name)
            log.info("%s %s: %s", name, fitted.path, scores_text(fitted.scores))
            scores |= {
                score if name == CLASSIFIER else f"{name}/{score}": value for score, value in fitted.scores.items()
            }
    if settings.optimized_metric is None:
        return None
    return scores[checks.choice("optimized_metric", settings.optimized_metric, scores)]


main = hydra_main("train", train_networks)

if __name__ == "__main__":
    main()
