"""The command dovision-prepare: make, once, what a dataset reads faster than its files; resumed after a stop."""

from __future__ import annotations

import logging

from omegaconf import DictConfig

from dovision.cli.hydra_main import hydra_main
from dovision.config.instantiate import instantiate
from dovision.interfaces import Images

log = logging.getLogger(__name__)


def prepare_dataset(config: DictConfig) -> None:
    """Prepare the dataset, and say what is known of it."""
    images: Images = instantiate(config.dataset)
    images.prepare()
    log.info("prepared: %s", dict(images.facts))


main = hydra_main("prepare", prepare_dataset)

if __name__ == "__main__":
    main()
