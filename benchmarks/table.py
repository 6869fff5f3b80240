"""The table of `make bench`: how many times less time than the peers, each row measured in one run, alternating.

    python benchmarks/table.py                                     every row
    python benchmarks/table.py --rows grid --models vgg16 resnet18 --grids 14 --images 1
    python benchmarks/table.py --rows grid --models vit_tiny_patch16_224 --grids 3 7 14 --images 1 --threads 1
    python benchmarks/table.py --rows grid --models vit_base_patch16_224 --grids 3 7 14 --images 1 --threads 1 \
        --peers "captum FeatureAblation" "plain loop" --cells 16
    python benchmarks/table.py --rows grid --models swin_t efficientnet_b0 deit_small_patch16_224 convnextv2_atto \
        maxvit_tiny_rw_224 --grids 7 14 --images 1 --threads 1 --rounds 3 --peers "plain loop" --cells 48
    python benchmarks/table.py --rows grid --models vit_tiny_patch16_224 swin_t efficientnet_b0 resnet18 --grids 14 \
        --images 1 --threads 1 --rounds 3 --trials 1 --cells 49 --peers "channels_last loop" "plain loop"

Written to outputs/bench/table.md and table.csv, with the machine and the versions.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import captum
import pandas as pd
import torch
import torchvision

import peers
from peers import MODELS, PEERS, Row
from share import share

KINDS = ("grid", "latent", "attack", "share", "memory")


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """The chosen rows, measured one after the other."""
    if "grid" in options.rows:
        for name in options.models:
            for images in options.images:
                yield from peers.grid_rows(
                    name, options.grids, images, options.rounds, options.peers, options.cells, options.trials
                )
    if "latent" in options.rows:
        for layer in ("features.transition1", "features.transition2", "features.transition3"):
            yield from peers.latent_rows(layer, options.rounds)
    if "attack" in options.rows:
        yield from peers.attack_rows(options.rounds)
    if "share" in options.rows:
        yield Row("share of forward passes and attack, densenet121, 14 x 14, pgd-10", 8, "wall time", share(8))
    if "memory" in options.rows:
        for name, cells, images in (("vgg16", 28, 10), *(("resnet18", 7, images) for images in options.memory_images)):
            yield memory_row(name, cells, images)


def memory_row(name: str, cells: int, images: int) -> Row:
    """Peak memory of a fresh process that measures a grid on this many images."""
    peak = [sys.executable, str(Path(__file__).with_name("peak.py")), name, str(cells), str(images)]
    done = subprocess.run(peak, capture_output=True, text=True, check=True)
    return Row(f"memory, {name}, {cells} x {cells}", images, "2 GiB", peak_gib=float(done.stdout) / 2**20)


def machine(threads: int) -> str:
    """One line that names what the figures were measured on."""
    names = [line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    processor = names[0] if names else platform.processor()
    versions = f"torch {torch.__version__}, torchvision {torchvision.__version__}, captum {captum.__version__}"
    cores = f"{os.cpu_count()} cores, {threads} threads, float32"
    return f"{processor}, {cores}; {versions}, Python {platform.python_version()}"


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def save(measured: list[Row], folder: Path, threads: int) -> str:
    """Write the rows and return them as text."""
    table = pd.DataFrame(measured)
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / "table.csv", index=False)
    lines = [machine(threads), "", " | ".join(table.columns), " | ".join(["---"] * len(table.columns))]
    lines += [
        " | ".join("" if pd.isna(cell) else _shown(cell) for cell in row) for row in table.itertuples(index=False)
    ]
    text = "\n".join(lines) + "\n"
    (folder / "table.md").write_text(text)
    return text


def _shown(cell: object) -> str:
    return f"{cell:.3g}" if isinstance(cell, float) else str(cell)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--models", nargs="+", default=MODELS, help="of torchvision, or of timm")
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=PEERS, help="of the grid rows")
    parser.add_argument("--grids", nargs="+", type=int, default=[7, 14, 28], help="cells a side")
    parser.add_argument("--cells", type=int, default=28 * 28, help="painted at most, of each grid, evenly spaced")
    parser.add_argument("--images", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--memory-images", nargs="+", type=int, default=[10, 1000], help="of resnet18 on 7 x 7 cells")
    parser.add_argument("--rounds", type=int, default=5, help="alternating runs, of which the median counts")
    parser.add_argument("--trials", type=int, default=3, help="rounds in which the peers' chunks are chosen")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, default=Path("outputs/bench"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    measured: list[Row] = []
    for row in rows(options):
        measured.append(row)
        print(row, flush=True)
        text = save(measured, options.out, options.threads)  # after each row, so that an interrupted run is not lost
    print(text)


if __name__ == "__main__":
    main()
