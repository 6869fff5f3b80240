"""Command dovision-prepare: make, once, what a dataset reads faster than its files; resumed after a stop."""

from __future__ import annotations

import logging

from dovision.cli.hydra_main import hydra_main
from dovision.config.settings import PrepareSettings
from dovision.interfaces import Images

log = logging.getLogger(__name__)


def prepare_dataset(settings: PrepareSettings) -> None:
    """Prepare the dataset, and print a summary of it.

    Raises:
        ValueError: there is nothing to prepare; and as of the dataset's `prepare`.
    """
    images: Images = settings.dataset.make()
    if type(images).prepare is Images.prepare:
        raise ValueError(
            f"dataset must be one of files, which are decoded once, but {type(images).__name__} has nothing to "
            "prepare. Evaluate it as it is."
        )
    images.prepare()
    log.info("prepared: %s", ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in images.recorded.items()))


main = hydra_main("prepare", prepare_dataset)

if __name__ == "__main__":
    main()
