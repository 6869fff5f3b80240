"""Films from the store against films from their files: images a second, their ratio, and memory over many films.

    python benchmarks/reading.py --films 200 --memory 10000

Films are synthetic, 1024 x 1024 pixels, with the smoothness and noise that give a PNG the size of a real one.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader

from dovision.datasets._nih_tables import FINDINGS
from dovision.datasets.chest_xray14 import ChestXray14

DISTINCT = 20  # films drawn; the others are links to them
SIZE = 256  # pixels of the store


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, default=200, help="read for the ratio")
    parser.add_argument("--memory", type=int, default=0, help="read for the memory; 10000 take some minutes")
    parser.add_argument("--workers", type=int, default=0, help="processes that read, and threads that prepare")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        compare(make(Path(folder), arguments.films), arguments.workers)
    if arguments.memory:
        with tempfile.TemporaryDirectory() as folder:
            watch(make(Path(folder), arguments.memory), arguments.workers)


def make(root: Path, count: int) -> Path:
    """A release of `count` films."""
    (root / "images").mkdir()
    random = np.random.default_rng(0)
    names = [f"{number:08d}_000.png" for number in range(count)]
    for number, name in enumerate(names):
        if number < DISTINCT:
            smooth = Image.fromarray(random.integers(30, 220, (8, 8), dtype=np.uint8)).resize(
                (1024, 1024), Image.BICUBIC
            )
            film = np.asarray(smooth) + random.normal(0, 1.0, (1024, 1024))
            Image.fromarray(film.clip(0, 255).astype(np.uint8)).save(root / "images" / name)
        else:
            os.link(root / "images" / names[number % DISTINCT], root / "images" / name)
    size = np.mean([(root / "images" / name).stat().st_size for name in names[:DISTINCT]])
    print(f"{count:,} films, {size / 1000:.0f} kB each")
    header = "Image Index,Finding Labels,Patient ID,Patient Age,Patient Gender,View Position\n"
    rows = "".join(f"{name},No Finding,{number},50,F,PA\n" for number, name in enumerate(names))
    (root / "Data_Entry_2017.csv").write_text(header + rows)
    (root / "BBox_List_2017.csv").write_text("Image Index,Finding Label,Bbox [x,y,w,h],,,\n")
    return root


def films(root: Path, store_size: int | None, workers: int) -> ChestXray14:
    return ChestXray14(
        str(root), "multilabel", FINDINGS, (1, 224, 224), "patients", 0.1, 0.1, 0, store_size, max(1, workers)
    )


def compare(root: Path, workers: int) -> None:
    """Print how fast the train split is read from files, is prepared, and is read from the store."""
    stored = films(root, SIZE, workers)
    count = sum(stored.facts["films"].values())
    prepare = count / seconds(stored.prepare)
    files, store = (rate(films(root, size, workers), workers) for size in (None, SIZE))
    print(f"prepare {prepare:.0f} films/s; a second time in {seconds(stored.prepare):.2f} s")
    print(f"files {files:.0f} films/s, store {store:.0f} films/s: {store / files:.1f}x")


def rate(images: ChestXray14, workers: int) -> float:
    """Films a second in batches of 16, the best of three passes."""
    loader = DataLoader(images.split("train"), batch_size=16, num_workers=workers, persistent_workers=workers > 0)
    list(loader)
    return max(len(loader.dataset) / seconds(lambda: [None for _ in loader]) for _ in range(3))


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def watch(root: Path, workers: int) -> None:
    """Print this process's resident memory while all films are prepared, and read from their files."""
    images = films(root, None, workers)
    split = images.split("train")
    for sample in range(len(split)):
        split[sample]
        if sample in (99, len(split) // 2, len(split) - 1):
            print(f"read {sample + 1:,} files: {resident():.0f} MiB")
    stored = films(root, SIZE, workers)
    print(
        f"prepared all in {seconds(stored.prepare):.0f} s: {resident():.0f} MiB, and at most {peak():.0f} at any time"
    )


def peak() -> float:
    """MiB that were ever resident."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def resident() -> float:
    """MiB that are resident."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    main()
