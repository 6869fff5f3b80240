"""The command dovision-train: fit the classifier, and the autoencoder if one is asked for."""

from __future__ import annotations

import logging

from dovision import checks
from dovision.cli import session
from dovision.cli.hydra_main import hydra_main
from dovision.config.settings import TrainSettings
from dovision.io.text_files import make_folder
from dovision.runtime.progress import DISPLAY
from dovision.sweeps import reuse
from dovision.tracking.loggers import closing_loggers
from dovision.training import model_cache
from dovision.training.checkpointing import scores_text
from dovision.training.model_cache import AUTOENCODER, CLASSIFIER

log = logging.getLogger(__name__)


def train_networks(settings: TrainSettings) -> float | None:
    """Fit what is not fitted yet, and say where it lies and how good it is.

    Returns:
        The score that `optimized_metric` names; None if that names nothing.

    Raises:
        ValueError: `optimized_metric` names no score of these networks.
    """
    make_folder(settings.output_root, setting="output_root")
    loggers = session.loggers_of(settings, "train")
    with closing_loggers(loggers), DISPLAY.job(["data", CLASSIFIER, *([AUTOENCODER] if settings.autoencoder else [])]):
        images = reuse.open_images(settings)
        DISPLAY.step(CLASSIFIER)
        again = settings.rerun == "all"
        plain = model_cache.classifier(settings, images, again, loggers)
        log.info("classifier %s: %s", plain.path, scores_text(plain.scores))
        scores = dict(plain.scores)
        if settings.autoencoder is not None:
            DISPLAY.step(AUTOENCODER)
            with_autoencoder = model_cache.with_autoencoder(settings, images, plain, again, loggers)
            log.info("autoencoder %s: %s", with_autoencoder.path, scores_text(with_autoencoder.scores))
            scores |= {f"autoencoder/{name}": score for name, score in with_autoencoder.scores.items()}
    if settings.optimized_metric is None:
        return None
    return scores[checks.choice("optimized_metric", settings.optimized_metric, scores)]


main = hydra_main("train", train_networks)

if __name__ == "__main__":
    main()
