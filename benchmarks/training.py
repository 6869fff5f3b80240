"""A fit as dovision-train does it against a plain PyTorch loop of the same network, batches and data: images a second.

    python benchmarks/training.py --batch-sizes 16 64 --rounds 3

Both pass over the training images in batches drawn by the same generator, then over the validation images, epoch after
epoch; rounds alternate. The fit logs, scores and writes its checkpoints meanwhile; the loop does nothing else. The
ratio of processor time leaves out the waits for a disk, and those for others on a shared machine. An allocator that
keeps what is freed leaves out page faults, a sixth of the time of either: set MALLOC_TRIM_THRESHOLD_=4000000000 and
MALLOC_MMAP_THRESHOLD_=2000000000 in the environment of a Linux with glibc.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import torch
from hydra import compose, initialize_config_dir
from torch.utils.data import DataLoader

from dovision.config import settings
from dovision.config.settings import TrainSettings
from dovision.config.sources import HYDRA_DEFAULTS, configuration_folder
from dovision.interfaces import Classifier, Images
from dovision.training.data_module import VALIDATION_BATCH
from dovision.training.fitting import fit_classifier, laid_out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[16, 64])
    parser.add_argument("--rounds", type=int, default=3, help="alternating runs, of which the median counts")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--overrides", nargs="*", default=[], help="of dovision-train, such as model=small_resnet")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    warnings.filterwarnings("ignore", module=r"(pytorch_lightning|lightning_fabric)\..*")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    for size in options.batch_sizes:
        asked = configured([f"training.classifier.batch_size={size}", *options.overrides], options.epochs)
        print(compared(asked, options.rounds), flush=True)


def configured(overrides: Sequence[str], epochs: int) -> TrainSettings:
    """The settings of dovision-train on digits of 28 x 28 pixels, on the processor."""
    own = ["dataset=digits", "dataset.shape=[1,28,28]", f"training.classifier.epochs={epochs}", "trainer=cpu"]
    with initialize_config_dir(str(configuration_folder()), **HYDRA_DEFAULTS):
        return settings.read("train", compose("train", [*own, *overrides]))


def compared(asked: TrainSettings, rounds: int) -> str:
    """Images a second of the fit and of the loop, and the loop's time by the fit's: medians over the rounds."""
    images: Images = asked.dataset.make()
    seen = len(images.split("train")) * asked.training.classifier.epochs
    pairs = [(seconds(lambda: fitted(asked, images)), seconds(lambda: looped(asked, images))) for _ in range(rounds)]
    fit, loop = (seen / median(wall for wall, _ in times) for times in zip(*pairs, strict=True))
    wall, processor = ([own[clock] / ours[clock] for ours, own in pairs] for clock in (0, 1))
    ratios = f"ratio {_median_of(wall)}, of processor time {_median_of(processor)}"
    return f"batch {asked.training.classifier.batch_size}: fit {fit:.0f} images/s, loop {loop:.0f} images/s, {ratios}"


def _median_of(ratios: Sequence[float]) -> str:
    return f"{median(ratios):.2f} ({', '.join(f'{ratio:.2f}' for ratio in ratios)})"


def fitted(asked: TrainSettings, images: Images) -> None:
    torch.manual_seed(asked.seed)
    with tempfile.TemporaryDirectory() as folder:
        fit_classifier(asked, images, Path(folder) / "fit" / "classifier.ckpt", loggers=())


def looped(asked: TrainSettings, images: Images) -> Classifier:
    """The same fit in plain PyTorch."""
    torch.manual_seed(asked.seed)
    own = asked.training.classifier
    classifier: Classifier = laid_out(asked.model.make())
    optimizer = own.optimizer.make()(classifier.parameters())
    shuffling = torch.Generator().manual_seed(asked.seed)
    train = DataLoader(images.split("train"), own.batch_size, shuffle=True, generator=shuffling)
    val = DataLoader(images.split("val"), VALIDATION_BATCH, generator=torch.Generator())
    for _ in range(own.epochs):
        classifier.train()
        for batch in train:
            optimizer.zero_grad()
            classifier.task.loss(classifier(batch.image), batch.label).mean().backward()
            optimizer.step()
        classifier.eval()
        with torch.no_grad():
            right = sum((classifier(batch.image).argmax(1) == batch.label).sum() for batch in val)
        assert 0 <= right <= len(images.split("val"))
    return classifier


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the clock, and of the processor."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - processor


if __name__ == "__main__":
    main()
