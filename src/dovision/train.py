"""dovision-train: fit the classifier, and the autoencoder if one is asked for."""

from __future__ import annotations

import logging

from omegaconf import DictConfig

from dovision import stages
from dovision.commands import command
from dovision.contracts import Images
from dovision.session import make

log = logging.getLogger(__name__)


def train(config: DictConfig) -> None:
    """Fit what is not fitted yet, and say where it lies and how good it is."""
    images: Images = make(config.dataset)
    plain = stages.classifier(config, images)
    log.info("classifier %s: %s", plain.path, plain.scores)
    if config.autoencoder is not None:
        inserted = stages.with_autoencoder(config, images, plain)
        log.info("autoencoder %s: %s", inserted.path, inserted.scores)


main = command("train", train)

if __name__ == "__main__":
    main()
