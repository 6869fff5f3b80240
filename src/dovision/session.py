"""A run from its start to its end: directory, log, seed, trainer, test images and state."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import hydra
import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from omegaconf import DictConfig, OmegaConf
from torch.utils.data import DataLoader, Dataset, Subset

from dovision import checks, identity
from dovision.configuration import recorded
from dovision.contracts import Batch, Images
from dovision.errors import explain
from dovision.isolation import isolated
from dovision.loggers.csv_logger import CSVLogger
from dovision.provenance import peak_memory, provenance
from dovision.results.reading import read_sweep
from dovision.results.run_directory import BeingWritten, RunDirectory
from dovision.stopping import Stop, Stopped

log = logging.getLogger(__name__)


class JobFailed(Exception):
    """A job is not completed, has said so, and has left the reason in its run directory."""


class ImagesLost(Exception):
    """Some images were not measured, so that the run is partial."""


def make(node: DictConfig) -> Any:
    """The part that a node of the configuration describes, made from plain arguments.

    Raises:
        ValueError: the part refuses its arguments; the error begins with the node's name.
    """
    try:
        return hydra.utils.instantiate(node, _convert_="all")
    except InstantiationException as error:
        raise ValueError(explain(error)) from error.__cause__


def lends_a_hand() -> bool:
    """Whether this is the process of a second device, which records nothing."""
    return os.environ.get("LOCAL_RANK", "0") != "0"  # set by Lightning for the processes that it starts


@contextmanager
def running(run: RunDirectory, config: DictConfig) -> Iterator[Stop]:
    """Record a run from `running` to its end, with its log, wall time and peak memory.

    Yields the callback that lets a test end at a signal. The configured logger is told of the start, of a completed
    run, and of the end in any case. The process of a second device only lends a hand, and records nothing.

    Raises:
        JobFailed: the body failed, has called `sys.exit`, or has lost images; the reason is in the log and in run.json.
        Stopped: a signal has ended it.
        BeingWritten: another process is at work on this run.
    """
    if lends_a_hand():
        logging.getLogger().setLevel(logging.WARNING)
        yield Stop()
        return
    with closing(run):
        logger: CSVLogger = make(config.logger)
        settings, overrides = recorded(config), recorded(HydraConfig.get().overrides.task)
        facts = {**provenance(), "seed": config.seed, "started": datetime.now(timezone.utc).isoformat()}
        facts |= {"work": identity.work_hash(config), "questions": identity.questions(config)}
        run.start(settings, overrides, facts, afresh=config.rerun == "all" or run.state == "completed")
        logger_knows = settings["name"], " ".join(overrides) or run.path.name, settings
        with (
            log_file(run.path / "run.log"),
            _logged(logger, run, *logger_knows),
            _recorded(run),
            isolated(config.seed, config.threads),
            Stop() as stop,
        ):
            log.info("run %s", run.path)
            yield stop


@contextmanager
def _recorded(run: RunDirectory) -> Iterator[None]:
    """Record the end of a run, whatever ends it."""
    started = time.monotonic()

    def spent() -> dict[str, Any]:
        return {"wall_seconds": round(time.monotonic() - started, 3), "peak_memory_mb": peak_memory()}

    try:
        yield
        run.complete(spent())
        log.info("completed in %.0f s: %s", time.monotonic() - started, run.path)
    except BeingWritten:
        raise
    except ImagesLost as lost:
        log.error("partial: %s; the same command goes on from here: %s", lost, run.path)
        run.leave_partial(str(lost), spent())
        raise JobFailed(str(run.path)) from lost
    except (Exception, SystemExit) as error:
        log.error("failed: %s", explain(error))
        run.fail(error, spent())
        log.error("the traceback is in %s", run.path / "run.json")
        raise JobFailed(str(run.path)) from error
    except BaseException as stopped:
        reason = str(stopped) if isinstance(stopped, Stopped) else f"stopped by {type(stopped).__name__}"
        log.warning("%s; the same command goes on from here: %s", reason, run.path)
        with suppress(OSError):  # what cannot be recorded is seen from the lock, which nobody holds any more
            run.interrupt(reason, spent())
        raise


@contextmanager
def _logged(logger: CSVLogger, run: RunDirectory, group: str, name: str, settings: Mapping[str, Any]) -> Iterator[None]:
    """Tell the logger of a run's start and end, and of its numbers if it is completed."""
    try:
        logger.start(run.path, group, name, settings)
        yield
        logger.report(read_sweep(run.path)[0])
    finally:
        logger.finish(failed=run.state != "completed")


@contextmanager
def log_file(path: Path) -> Iterator[None]:
    """Keep a copy of the log in a file."""
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("[%(asctime)s] %(message)s"))
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()


def first_samples(config: DictConfig, key: str, images: Images, split: str, boxed: bool = False) -> list[int]:
    """The first samples of a split in its order, as many as the configuration's `key` says; null: all.

    Args:
        config: of the job.
        key: where the configuration says how many.
        images: the dataset.
        split: train, val or test.
        boxed: only those with a box that speaks for a class.
    """
    limit = OmegaConf.select(config, key)
    if boxed:
        boxes = images.boxes(split)
        samples = sorted(set(boxes["sample"][boxes["label"].notna()].tolist()))
    else:
        samples = list(range(len(images.order(split))))
    return samples if limit is None else samples[: checks.positive_int(key, limit)]


def test_samples(config: DictConfig, images: Images) -> list[int]:
    """The test images that are evaluated: the first `evaluation.images`, or the first of which a box is known.

    Raises:
        ValueError: `evaluation.boxed` asks for boxes where none is known.
    """
    samples = first_samples(config, "evaluation.images", images, "test", config.evaluation.boxed)
    if not samples:
        raise ValueError(
            "evaluation.boxed needs test images with a box that speaks for a class, got none in this dataset. "
            "Choose another dataset, or evaluation.boxed=false."
        )
    return samples


def test_loader(config: DictConfig, images: Images, samples: Sequence[int], trainer: pl.Trainer) -> DataLoader[Batch]:
    """This device's share of these test images, in their order: whole batches, the same as on one device.

    Raises:
        ValueError: there are fewer batches than devices.
    """
    size, devices = config.evaluation.batch_size, trainer.world_size
    batches = -(-len(samples) // size)
    if batches < devices:
        raise ValueError(
            f"trainer.devices must be at most the number of batches, {batches} of {size} images, got {devices}. "
            "Set it, or evaluation.batch_size, to less."
        )
    first, end = (size * (batches * rank // devices) for rank in (trainer.global_rank, trainer.global_rank + 1))
    share: Dataset[Batch] = Subset(images.split("test"), samples[first:end])
    return DataLoader(
        share,
        batch_size=size,
        num_workers=config.num_workers,
        pin_memory=torch.cuda.is_available(),  # so that copies to the device overlap with its work
    )
