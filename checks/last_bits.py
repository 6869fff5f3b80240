"""What do the last bits of an effect depend on? On batch size and chunk, so these are part of a run; on nothing else.

    python checks/last_bits.py --quick      two small networks, under a minute
    python checks/last_bits.py              ResNet-18 and DenseNet-121 as well

For each network the logits of a grid's units on twelve images are measured in batches and chunks of several sizes, and
compared to the bit with those in batches of four and the automatic chunk. Rows must differ neither when all is measured
again, nor when a later start measures only the last batch, nor when two processes share the batches.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

import torch
import torchvision
from torch import Tensor, nn

import dovision as dv
from dovision.interfaces import Classifier
from dovision.models.small_cnn import SmallCNN
from dovision.models.small_resnet import SmallResNet
from dovision.propagation import Propagation
from dovision.types import Batch

IMAGES, CLASSES = 12, 10


def networks(quick: bool) -> Iterator[tuple[str, nn.Module, tuple[int, int, int]]]:
    torch.manual_seed(0)
    yield "small_cnn", SmallCNN(1, CLASSES, (28, 28)), (1, 28, 28)
    yield "small_resnet", SmallResNet(1, 8, CLASSES), (1, 28, 28)
    if not quick:
        yield "resnet18", torchvision.models.resnet18(num_classes=CLASSES), (3, 64, 64)
        yield "densenet121", torchvision.models.densenet121(num_classes=CLASSES), (3, 64, 64)


def measured(classifier: Classifier, images: Tensor, size: int, chunk: int | str, start: int = 0) -> Tensor:
    """Logits after each unit, (B, U, K), of the images from `start` on, by an engine chosen on the first."""
    propagation = Propagation(classifier, dv.PixelGrid(4, 4), chunk)
    numbers = torch.arange(len(images))
    batches = [Batch(images[part], numbers[part] * 0, numbers[part], numbers[part]) for part in numbers.split(size)]
    propagation.prepare(batches[0])
    return torch.cat([propagation(batch).treated for batch in batches if batch.sample[0] >= start])


def changed(one: Tensor, other: Tensor) -> int:
    """Rows, an image and a unit each, that are not the same to the bit."""
    return int((one != other).any(-1).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    torch.set_num_threads(1)
    wrong = 0
    for name, network, shape in networks(parser.parse_args().quick):
        classifier = dv.wrap(network.eval(), CLASSES, mean=[0.5], std=[0.5])
        images = torch.rand(IMAGES, *shape, generator=torch.Generator().manual_seed(0))
        expected = measured(classifier, images, 4, "auto")
        rows = expected.shape[0] * expected.shape[1]
        print(f"{name}: of {rows} rows change")
        for size, chunk in ((1, "auto"), (3, "auto"), (12, "auto"), (4, 1), (4, 3), (4, 7)):
            print(
                f"  in batches of {size}, chunk {chunk}: {changed(measured(classifier, images, size, chunk), expected)}"
            )
        again = changed(measured(classifier, images, 4, "auto"), expected)
        resumed = changed(measured(classifier, images, 4, "auto", start=8), expected[8:])
        shared = changed(measured(classifier, images[8:], 4, "auto"), expected[8:])
        print(f"  measured again: {again}; in a later start: {resumed}; by another process: {shared}", flush=True)
        wrong += again + resumed + shared
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
