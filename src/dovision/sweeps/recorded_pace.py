"""The pace of a completed run, recorded in run.json, from which a dry run of more images is scaled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from dovision.config import hashing
from dovision.config.settings import EvaluateSettings
from dovision.findings.sweep_summary import facts_of
from dovision.runtime.processor_clock import undisturbed_seconds
from dovision.store.provenance import device_name, processor_name, software
from dovision.store.run_files import RUN
from dovision.sweeps.costs import Pace

PACE = "pace"  # the fact of run.json
_FIXED_END = 0.1  # seconds of a run's end that do not depend on the number of images, about
_LEAST = 0.5  # seconds of batches, after the first one, from which a pace can be had
_OF_SPEED = (
    "threads",
    "num_workers",
    "dataset.root",
    "dataset.store",
    "trainer.accelerator",
    "trainer.devices",
    "detection.workers",
)
_IRRELEVANT = (*(set(hashing.IRRELEVANT_TO_RESULTS) - set(_OF_SPEED)), "evaluation.images", "name")


class RecordedPace(NamedTuple):
    """The pace of a completed run."""

    run: str  # name of its directory
    images: int
    pace: Pace
    machine: str  # on which it ran, as `machine_name` has it


class PaceRecorder(Callback):
    """The time of the batches of a test, and of what follows them; the last of the callbacks.

    Args:
        apart: images, the first ones, that take longer than the others; their excess is the pace's start.
    """

    def __init__(self, apart: int = 0) -> None:
        self._apart = apart
        self._marks: list[tuple[int, float]] = []  # images so far, and the time
        self._fixed = 0.0

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._marks = [(0, undisturbed_seconds())]

    def on_test_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        self._marks.append((self._marks[-1][0] + len(batch.image), undisturbed_seconds()))

    @contextmanager
    def fixed(self) -> Iterator[None]:
        """A block whose time does not depend on the number of images."""
        began = undisturbed_seconds()
        yield
        self._fixed += undisturbed_seconds() - began

    def facts(self, settings: EvaluateSettings) -> dict[str, Any]:
        """The fact of a run that ends now; none of a run that is too short for one."""
        now, (images, ended) = undisturbed_seconds(), self._marks[-1]
        first = next((mark for mark in self._marks[1:] if mark[0] >= self._apart), self._marks[-1])
        if ended - first[1] < _LEAST:
            return {}
        image = (ended - first[1]) / (images - first[0])
        end = now - ended - self._fixed
        start = max(0.0, first[1] - self._marks[0][1] - image * first[0]) + self._fixed + min(end, _FIXED_END)
        threads = torch.get_num_threads()
        numbers = {"start": start, "image": image, "end": max(0.0, end - _FIXED_END) / images}
        return {PACE: {"key": _key(settings, threads), "machine": machine_name(threads), "images": images, **numbers}}


class RecordedPaces:
    """The paces of completed runs, of those that are alike that of most images.

    Args:
        records: run.json of completed runs, by the name of the run's directory.
        threads: of torch, in a job that sets none; None: as many as torch takes.
    """

    def __init__(self, records: Mapping[str, Mapping[str, Any]], threads: int | None = None) -> None:
        self._threads = threads
        self._found: dict[str, RecordedPace] = {}
        for run, record in records.items():
            if (own := record.get(PACE)) and "machine" in own:
                pace = Pace(own["start"], own["image"], end=own["end"])
                best = self._found.get(own["key"])
                if best is None or best.images < own["images"]:
                    self._found[own["key"]] = RecordedPace(run, own["images"], pace, own["machine"])

    def like(self, settings: EvaluateSettings) -> RecordedPace | None:
        """That of a run with the same configuration but for its name, seeds and the number of images.

        It was on a machine of the same name (`machine_name`), and read files of the same folder.
        """
        return self._found.get(_key(settings, settings.threads or self._threads or torch.get_num_threads()))


def completed_records(root: Path) -> dict[str, dict[str, Any]]:
    """The content of run.json of all completed runs under an output root, by the name of the run's directory."""
    found = {path.parent.name: facts_of(path.parent) for path in sorted(root.glob(f"*/*/{RUN}"))}
    return {name: facts for name, facts in found.items() if facts.get("state") == "completed"}


def machine_name(threads: int) -> str:
    """The GPU, if there is one, the model of the processor, and the threads of torch."""
    own = device_name() if processor_name() in device_name() else f"{device_name()}, cpu, {processor_name()}"
    return f"{own}, {threads} thread{'s' * (threads != 1)}"


def _key(settings: EvaluateSettings, threads: int) -> str:
    own = hashing.without_irrelevant(settings.plain(), _IRRELEVANT)
    return hashing.content_hash({**unseeded(own), **software(), "machine": machine_name(threads)})


def unseeded(content: Any) -> Any:
    """Settings without the seeds, which no time depends on."""
    if isinstance(content, Mapping):
        return {key: unseeded(value) for key, value in content.items() if key != "seed"}
    return [unseeded(value) for value in content] if isinstance(content, list) else content
