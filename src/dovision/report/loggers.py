"""Make the loggers of a job, log its configuration, and close them."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pytorch_lightning.loggers import CSVLogger, Logger

from dovision import checks
from dovision.config.component import Component
from dovision.config.errors import named
from dovision.report.report_figure import Catalogue
from dovision.report.uploader import SHOWING
from dovision.report.wandb_logger import WandbLogger


def make_loggers(
    components: Mapping[str, Component],
    folder: Path,
    *,
    name: str,
    group: str,
    job_type: str,
    suffix: str = "",
    tags: Sequence[str] = (),
    config: Mapping[str, Any] | None = None,
) -> list[Logger]:
    """Make Lightning's loggers of a job, shared by its trainers.

    Args:
        components: the configured loggers; a class gets those of the arguments below that it takes by their names, and
            that its component does not set; null is not set, but for classes of others.
        folder: where their files go; the argument `save_dir`.
        name: of the run in a dashboard.
        group: the runs that belong together, such as those of a sweep.
        job_type: train or evaluate.
        suffix: what follows a name that a component sets itself, as all jobs of a sweep have that.
        tags: of the run.
        config: nested plain values, sent as hyperparameters.

    Raises:
        ValueError: a logger refuses its arguments, or needs a package that is not installed; or a figure is none.
    """
    arguments = {"save_dir": str(folder), "name": name, "group": group, "job_type": job_type, "tags": list(tags)}
    loggers = [_made(component, arguments, suffix) for component in components.values()]
    if any(isinstance(logger, SHOWING) for logger in loggers):
        Catalogue()  # refuses a wrong figure before the job, not after it
    if config is not None:
        for logger in loggers:
            logger.log_hyperparams(dict(config))
    return loggers


def check_logger(component: Component) -> None:
    """Make a logger of `conf/logger` as a job would, without leaving anything behind.

    Raises:
        ValueError: it refuses its arguments, or needs a package that is not installed.
    """
    target = pkgutil.resolve_name(component["_target_"])
    if target in (CSVLogger, *SHOWING):  # others may begin a run as soon as they are made
        with TemporaryDirectory() as folder:
            arguments = {"save_dir": folder, "name": "name", "group": "group", "job_type": "evaluate", "tags": []}
            _made(component, arguments)


def _made(component: Component, arguments: Mapping[str, Any], suffix: str = "") -> Logger:
    taken = inspect.signature(pkgutil.resolve_name(component["_target_"])).parameters
    unset = {key for key in arguments if key not in component}
    if str(component["_target_"]).startswith("dovision."):  # to others, null or a name may be that of a folder
        unset |= {key for key in arguments if component.get(key) is None}
        component = component.replaced(name=f"{component['name']}{suffix}") if component.get("name") else component
    given = {key: value for key, value in arguments.items() if key in taken and key in unset}
    make = component.replaced(_partial_=True).make()
    try:  # with the facts as they are: Hydra would read ${oc.env:NAME} in a name or a tag
        made = make(**given)
    except Exception as error:
        raise ValueError(named(component.where, str(error))) from error
    return checks.instance(component.where, made, Logger, "a logger of Lightning")


@contextmanager
def closing_loggers(loggers: Sequence[Logger]) -> Iterator[None]:
    """Context that ends the loggers' runs; as failed after an exception."""
    failed = True
    try:
        yield
        failed = False
    finally:
        with ExitStack() as stack:  # one that raises keeps no other from its end
            for logger in loggers:
                stack.callback(_end, logger, failed)


def _end(logger: Logger, failed: bool) -> None:
    logger.finalize("failed" if failed else "success")
    if isinstance(logger, WandbLogger):
        logger.finish(failed)
