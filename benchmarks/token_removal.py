"""Print the time of leaving out tokens over that of painting cells over, at 25, 50 and 75% kept of 14 x 14 cells.

python benchmarks/token_removal.py                     ViT-tiny, DeiT-small and ViT-B/16 of timm, random weights
python benchmarks/token_removal.py vit_tiny_patch16_224

Both ways remove the same random cells of one image at 224 pixels, in turn, --edits of them a round; each figure is the
median of the ratios of --rounds rounds.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import timm
import torch
from torch import Tensor

from dovision.evaluation.token_removal import TokenRemoval
from dovision.functional.agreement import painted
from dovision.interfaces import Classifier
from dovision.types import Task
from peers import SIZE, batch_of

MODELS = ("vit_tiny_patch16_224", "deit_small_patch16_224", "vit_base_patch16_224")
CELLS = 14
CHUNK = 16  # edits that share a pass


def seconds(run: Callable[[], Tensor]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


@torch.no_grad()
def ratio(classifier: Classifier, kept: float, edits: int, rounds: int) -> float:
    """Median ratio of the seconds of leaving out tokens over those of painting."""
    one, tokens = batch_of(1), TokenRemoval()
    random = np.random.default_rng(0)
    order = np.stack([random.permutation(CELLS * CELLS) for _ in range(edits)])
    removed = (order >= round(kept * CELLS * CELLS)).reshape(edits, CELLS, CELLS)
    grey = torch.full_like(one.image[0], 0.5)

    def paint() -> Tensor:
        return torch.cat([classifier(each) for each in painted(one.image[0], grey, removed).split(CHUNK)])

    def drop() -> Tensor:
        return torch.cat([tokens(classifier, one, removed[at : at + CHUNK]) for at in range(0, edits, CHUNK)])

    drop(), paint()
    return statistics.median(seconds(drop) / seconds(paint) for _ in range(rounds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--edits", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    own = parser.parse_args()
    for name in own.models:
        network = timm.create_model(name, img_size=SIZE, num_classes=1000)
        classes = tuple(map(str, range(1000)))
        classifier = Classifier(network, Task("multiclass", classes), (0.5,), (0.5,)).eval().requires_grad_(False)
        found = [f"{ratio(classifier, kept, own.edits, own.rounds):.2f} at {kept:.0%}" for kept in (0.25, 0.5, 0.75)]
        print(f"{name}: {', '.join(found)} kept", flush=True)


if __name__ == "__main__":
    main()
