"""The one callback under `trainer.test`: it owns batches, rows, counters, resuming, devices and logged numbers."""

from __future__ import annotations

import logging
import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor, nn

from dovision import checks
from dovision.api import checked_logits, class_count, wrap
from dovision.functional.logit_checks import independent, measurable
from dovision.interfaces import Classifier
from dovision.io.progress import DISPLAY
from dovision.measurement.condition import Condition
from dovision.measurement.device_batches import DeviceBatches
from dovision.module_state import outside_inference_mode
from dovision.propagation import Propagation
from dovision.propagation.weights_stamp import weights_read_once
from dovision.results.resumable_writer import NO_RESUME, Merge, ResumableWriter, Resume
from dovision.results.tables import ROW_GROUP, RunTable
from dovision.types import Batch, Task

log = logging.getLogger(__name__)


class ClassifierUnderTest(pl.LightningModule):
    """Classifier whose test only runs callbacks; None: they have theirs, which stays where it is at the end.

    What they log goes to the loggers as it is, since Lightning takes over a millisecond for each number.
    """

    def __init__(self, classifier: Classifier | None) -> None:
        super().__init__()
        self.classifier = classifier
        self.numbers: dict[str, float] = {}  # of the callbacks, by the names under which they are logged

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Leave the batch to the callbacks."""

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Move the images; labels and numbers are read on the CPU."""
        move = super().transfer_batch_to_device
        if isinstance(batch, Batch):
            return batch._replace(image=move(batch.image, device, dataloader_idx))
        return move(batch, device, dataloader_idx)

    def on_test_epoch_end(self) -> None:
        """Log the numbers of all callbacks in one row, and set trainer.callback_metrics."""
        self.trainer.callback_metrics.update({name: torch.tensor(value) for name, value in self.numbers.items()})
        for logger in self.loggers if self.numbers else ():
            logger.log_metrics({**self.numbers, "epoch": self.current_epoch}, step=0)
            logger.save()


class Evaluation(Callback, ABC):
    """Callback that measures test batches into tables, and logs numbers made from these.

    A subclass says what is measured: `tables` with their schemas, `start` before the first batch, `rows` of a batch,
    and, made from the finished tables, `finish` and `numbers`. Here rows are written in chunks, from which a stopped
    test resumes, and joined to tables once all devices have measured. `counters` are sums over the images so far, which
    are saved with the rows, and of all devices in the end. The tables get their names when the test is over; an
    exception that ends it, a signal's included, leaves none that looks complete.

    The module under test may be anybody's, and return anything from `test_step`. Its batches are of class `Batch`, or
    pairs or mappings of images and labels.

    Args:
        classifier: the one under test, of images in [0, 1]. None: the module's attribute `classifier`, if that is a
            Classifier, or else its network.
        task: multiclass or multilabel, or a Task, which names the classes too.
        mean, std: by which the images of batches were normalised, one number or one a channel, in pixel units. None:
            they lie in [0, 1].
        network: the module's network from images to logits, such as "model.backbone". None: the module itself, or, if
            its forward takes or returns something else, its only child with parameters, or, of several, the one that
            returns as many logits as `task` is given classes.
        folder: of the tables; None: the trainer's `log_dir`.
        resume: finished rows of earlier starts.
    """

    name: ClassVar[str]  # of the chunks and of the progress
    dataloaders = 1  # that the test has
    needs_gradients = True
    row_group = ROW_GROUP
    classifier: Classifier  # from the first batch on
    device: torch.device  # likewise
    writer: ResumableWriter

    def __init__(
        self,
        classifier: Classifier | None = None,
        task: str | Task = "multiclass",
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        network: str | None = None,
        folder: Path | str | None = None,
        resume: Resume = NO_RESUME,
    ) -> None:
        if classifier is not None:
            self.classifier = checks.instance("classifier", classifier, Classifier, "a Classifier, as wrap makes one")
        self._given = classifier
        self._task, self._mean, self._std, self._network = task, mean, std, network
        self._folder, self._resume = None if folder is None else Path(folder), resume
        self.counters: Counter[str] = Counter()
        self.images = 0  # of the dataloaders, on this device
        self.tested = 0  # of these, those that a batch has brought
        self.resumed = 0  # of these, the first ones, whose rows an earlier start has finished
        self._open = ExitStack()

    @property
    def folder(self) -> Path:
        """Folder of the tables, from the start of the test on.

        Raises:
            ValueError: none is given, and without a logger it would be the working directory.
        """
        if self._folder is None:
            raise ValueError(
                "folder must be given without a logger, got None, and files are not written into the working "
                f"directory. Set it: {type(self).__name__}(..., folder='effects')."
            )
        return self._folder

    @abstractmethod
    def tables(self) -> Mapping[RunTable, pa.Schema]:
        """Tables with their schemas; called after `start`."""

    def merges(self) -> Mapping[RunTable, Merge]:
        """By table, what makes it of all chunks where that is more than their rows in order."""
        return {}

    def start(self, batch: Batch) -> None:
        """Prepare before the first batch, of which one image is enough."""

    def resume(self, state: Mapping[str, Any]) -> None:
        """Go on from the `state` of an earlier start, some of whose rows are finished."""

    def state(self) -> dict[str, Any]:
        """State besides the counters on which further rows depend, in plain types."""
        return {}

    def work(self) -> tuple[str, float | None, float]:
        """Unit, total (None: unknown) and start of the count that the display shows; `progress` advances it."""
        return "images", self.images, self.resumed

    @abstractmethod
    def rows(self, batch: Batch, logits: Tensor, dataloader_idx: int) -> Mapping[RunTable, pa.RecordBatch]:
        """Rows of a batch of a dataloader, from logits, (B, K), of the classifier under test.

        All but the images is on the CPU. Images whose rows an earlier start has finished are left out.
        """

    def finish(self) -> None:
        """Write what follows from the tables, on the first device."""

    def numbers(self) -> Mapping[str, float]:
        """Numbers to log by name, from the tables, on every device; nan is left out."""
        return {}

    @property
    def lost(self) -> int:
        """Number of images that this device's dataloaders did not yield, as under a trainer's limit."""
        return self.images - self.tested

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        name = type(self).__name__
        log.warning("%s measures under trainer.test. In a fit give the trainer dv.OnValidation(%s(...)).", name, name)

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.begin(trainer, trainer.test_dataloaders)

    def begin(self, trainer: pl.Trainer, dataloaders: Any) -> None:
        """Set the dataloaders, one or a list, whose batches follow.

        Raises:
            ValueError: there are more or fewer of them than this callback takes; inference mode is on, but gradients
                are needed.
        """
        if self.needs_gradients and torch.is_inference_mode_enabled():
            raise ValueError(
                f"{type(self).__name__} needs gradients, which inference mode rules out. Set inference_mode=False: "
                "pl.Trainer(inference_mode=False)."
            )
        loaders = dataloaders if isinstance(dataloaders, (list, tuple)) else [dataloaders]
        if len(loaders) != self.dataloaders:
            raise ValueError(f"{type(self).__name__} needs dataloaders: {self.dataloaders}, got {len(loaders)}.")
        if self._folder is None and (trainer.loggers or Path(trainer.default_root_dir) != Path.cwd()):
            self._folder = Path(trainer.log_dir or trainer.default_root_dir)
        device = trainer.global_rank, trainer.world_size
        self.batches = [
            DeviceBatches(loader, *device, self._mean, self._std, number) for number, loader in enumerate(loaders)
        ]
        self.images = sum(loader.images or 0 for loader in self.batches)
        self.tested, self.resumed, self._started = 0, 0, False

    @outside_inference_mode()
    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        batches, first = self.batches[dataloader_idx], not self._started
        if first:
            self.classifier = self._given or self._classifier_of(pl_module, batches.images_of(batch)[:1])
        images = batches.take(batch, self.classifier)
        images = images.detached() if images.image.is_inference() else images
        if first:
            alone, _ = checked_logits(self.classifier, images.image[:1])
            self._begin(trainer, pl_module.device, images)
            self._started = True
        if len(images.image):
            task = self.classifier.task
            checks.labels(images.label, len(images.label), len(task.classes), task.multilabel, unknown=True)
            logits = measurable(self.logits(images.image), "logits")
            if first:
                independent(logits[:1], alone, task, 1e-4 if images.image.is_cpu else 1e-2)  # GPUs may round to 10 bits
            if (finished := max(self.resumed - self.tested, 0)) < len(images.image):
                rest = images.rows(slice(finished, None))
                rows = self.rows(rest, logits[finished:], dataloader_idx)
                self.writer.add(len(rest.image), rows, {"counters": dict(self.counters), **self.state()})
        self.tested += len(images.image)

    def _begin(self, trainer: pl.Trainer, device: torch.device, batch: Batch) -> None:
        """Prepare the subclass, and open the writer where an earlier start has stopped."""
        self.device = device
        self._open.enter_context(weights_read_once(self.classifier))
        self.start(batch)
        ranks = trainer.global_rank, trainer.world_size
        writer = ResumableWriter(
            self.folder, self.name, self.tables(), self._resume, ranks, self.merges(), self.row_group
        )
        self.writer = self._open.enter_context(writer)
        self.resumed, state = writer.done, writer.state
        self.counters = Counter(state.get("counters", {}))
        if state:
            self.resume(state)
        self.progress = self._open.enter_context(DISPLAY.stage(self.name, *self.work()))

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._open.close()
        trainer.strategy.barrier()
        if trainer.is_global_zero:
            self.counters = sum((Counter(state["counters"]) for state in self.writer.states()), Counter[str]())
            self.writer.join()
            self.finish()
        trainer.strategy.barrier()
        numbers = {name: float(value) for name, value in self.numbers().items() if not math.isnan(value)}
        if isinstance(pl_module, ClassifierUnderTest):
            pl_module.numbers |= numbers
        else:
            device = pl_module.device if trainer.world_size > 1 else "cpu"  # from which they are gathered
            tensors = {name: torch.tensor(value, dtype=torch.float64, device=device) for name, value in numbers.items()}
            pl_module.log_dict(tensors, sync_dist=True)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._open.__exit__(type(exception), exception, exception.__traceback__)

    def choose_engine(self, propagation: Propagation, all_images: Iterable[Batch]) -> None:
        """Choose the engine by the first of these images that has a unit."""
        for batch in all_images:
            propagation.prepare(batch._replace(image=batch.image.to(self.device)))
            if propagation.engine is not None:
                return

    @torch.no_grad()
    def logits(self, image: Tensor) -> Tensor:
        """Logits, shape (B, K), of images, shape (B, C, H, W), by the classifier under test."""
        return self.classifier(image)

    def condition(self, attack: str, eps: float, batch: Batch, logits: Tensor) -> Condition:
        """Condition of a batch under an attack at an epsilon, from its logits, shape (B, K)."""
        logits = logits.detach().float().cpu()
        return Condition(attack, eps, batch, logits, self.correct(logits, batch))

    def correct(self, logits: Tensor, batch: Batch) -> Tensor:
        """Return whether logits, shape (B, K), predict the batch's labels, by probabilities as tables have them.

        Also where an image has no label; shape (B,) bool, on the CPU.
        """
        logits = logits.detach().float().cpu()
        label = self.aimed(batch, logits).label
        return self.classifier.task.correct(self.classifier.task.probability(logits), label)

    def correct_at_8_bits(self, condition: Condition) -> Tensor:
        """Return `correct` of the condition's images rounded to 8 bits per channel."""
        return self.correct(self.logits(round_to_8_bits(condition.batch.image)), condition.batch)

    def aimed(self, batch: Batch, logits: Tensor) -> Batch:
        """Batch with predictions from logits, shape (B, K), in place of unknown labels."""
        task = self.classifier.task
        label = task.label_or_prediction(batch.label, task.prediction(task.probability(logits)))
        return batch._replace(label=label)

    def _classifier_of(self, module: pl.LightningModule, image: Tensor) -> Classifier:
        """Classifier of the network, which is named, or is the module, or the one of its children that fits."""
        if self._network is None and isinstance(classifier := getattr(module, "classifier", None), Classifier):
            return classifier
        weighted = [name for name, child in module.named_children() if any(True for _ in child.parameters())]
        children: dict[str, nn.Module] = {name: getattr(module, name) for name in weighted}
        stages: list[dict[str, nn.Module]] = [{"": module}, children]
        if self._network is not None:
            every = dict(module.named_modules())
            stages = [{self._network: every[checks.choice("network", self._network, every)]}]
        normalisation, errors = (self._mean or (0.0,), self._std or (1.0,)), []
        for networks in stages:
            counts: dict[str, int] = {}
            for name, network in networks.items():
                try:
                    counts[name] = class_count(network, image, *normalisation)
                except ValueError as error:
                    errors.append(str(error))
            if len(networks) > 1:  # of which one may return features, as logits are, of another number
                classes = (
                    {len(self._task.classes), 1 if self._task.opposite else 0} if isinstance(self._task, Task) else {}
                )
                counts = {name: count for name, count in counts.items() if count in classes}
            if len(counts) == 1:
                ((name, count),) = counts.items()
                log.info("%s measures %s, %d classes.", type(self).__name__, name or type(module).__name__, count)
                if isinstance(self._task, Task):
                    return Classifier(networks[name], self._task, *normalisation)
                return wrap(networks[name], count, *normalisation, self._task)
        raise ValueError(
            f"the network of a {type(module).__name__} must return logits of images of shape {tuple(image.shape[1:])}, "
            f"but {errors[0]}. Name the one that does: network={' or '.join(map(repr, children)) or 'model'}."
        )


def round_to_8_bits(image: Tensor) -> Tensor:
    """Round images to 8 bits per channel, as a file stores them."""
    return (image * 255).round() / 255
