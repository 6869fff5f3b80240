"""The table of `make bench`: how many times less time than the peers, each row measured in one run, alternating.

    python benchmarks/table.py --quick                    three networks and autoencoders inside, some six minutes
    python benchmarks/table.py                            every row, hours; the same command again goes on
    python benchmarks/table.py --rows grid --models vgg16 resnet18 --grids 14 --images 1 --threads 1 2
    python benchmarks/table.py --rows grid --models swin_t deit_small_patch16_224 --grids 14 --images 1 --threads 1 \
        --cells 49 --peers "channels_last loop" "ONNX Runtime"
    python benchmarks/table.py --runtimes                 26 networks against every runtime, an hour; goes on, too
    python benchmarks/table.py --quick --gate benchmarks/ratios.json     exit code 1 if a ratio fell by 15%; the table
                                                                         must be of this machine

Written to outputs/bench/table.json, table.md and table.csv, with the machine, the versions and a digest of the code;
rows of other code are put aside. The headline peer is the loop that a user who knows torch would write: channels_last,
inference mode, in its best chunk. Times are of the processor with one thread, and of the wall with more.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import peers
from peers import LOOPS, MODELS, PEERS, Row
from recorded import Table, code_digest, read, slower
from share import share

KINDS = ("grid", "inside", "latent", "attack", "share", "memory")
QUICK = {
    "rows": ["grid", "inside"],
    "models": ["resnet18", "efficientnet_b0", "vit_tiny_patch16_224"],
    "peers": LOOPS,
    "grids": [14],
    "cells": 49,
    "images": [1],
    "threads": [1],
    "rounds": 3,
    "trials": 1,
}
SEVERAL = (  # 21 that the pages on speed name, then five more
    *("efficientnet_b0", "ghostnet_100", "levit_128s", "resnet18", "squeezenet1_1", "shufflenet_v2_x1_0"),
    *("vit_tiny_patch16_224", "efficientnet_lite0", "mobilenet_v3_large", "regnety_002", "nf_resnet26", "fastvit_t8"),
    *("mobileone_s0", "convnextv2_atto", "repvgg_a0", "resnet50", "densenet121", "swin_t", "convnext_tiny"),
    *("resnest14d", "vgg16"),
    *("mobilenetv4_conv_small", "repghostnet_100", "mnasnet_100", "pvt_v2_b0", "edgenext_xx_small"),
)
OF_RUNTIMES = {
    **QUICK,
    "rows": ["grid"],
    "models": SEVERAL,
    "peers": ("channels_last loop", "captum FeatureAblation", *peers.RUNTIMES),
    "cells": 24,
    "rounds": 2,
    "chunks": [8],
}


def rows(options: argparse.Namespace, table: Table) -> Iterator[Row]:
    """The chosen rows that the table does not have, measured one after the other."""
    if "grid" in options.rows:
        for threads, name, images in itertools.product(options.threads, options.models, options.images):
            missing = [grid for grid in options.grids if not _has_grid(table, options, name, grid, images, threads)]
            if missing:
                torch.set_num_threads(threads)
                found = (options.rounds, options.peers, options.cells, options.trials, options.chunks)
                yield from peers.grid_rows(name, missing, images, *found)
    torch.set_num_threads(1)
    for name in peers.INSIDE if "inside" in options.rows else ():
        if not table.has(what=f"{name}, latents, TopkSae after {peers.INSIDE[name][1]}"):
            yield from peers.inside_rows(name)
    torch.set_num_threads(options.threads[-1])
    if "latent" in options.rows:
        for layer in ("features.transition1", "features.transition2", "features.transition3"):
            if not table.has(what=f"densenet121, 16 channels after {layer}"):
                yield from peers.latent_rows(layer, options.rounds)
    if "attack" in options.rows and not table.has(what=peers.ATTACK):
        yield from peers.attack_rows(options.rounds)
    if "share" in options.rows and not table.has(peer="wall time"):
        what = "share of forward passes and attack, densenet121, 14 x 14, pgd-10"
        yield Row(what, 8, torch.get_num_threads(), "wall time", share(8))
    if "memory" in options.rows:
        for name, cells, images in (("vgg16", 28, 10), *(("resnet18", 7, images) for images in options.memory_images)):
            if not table.has(what=_memory(name, cells), images=images):
                yield memory_row(name, cells, images)


def _has_grid(table: Table, options: argparse.Namespace, name: str, grid: int, images: int, threads: int) -> bool:
    what = peers.grid_name(name, grid, options.cells)
    return all(table.has(what=what, images=images, threads=threads, peer=peer) for peer in options.peers)


def _memory(name: str, cells: int) -> str:
    return f"memory, {name}, {cells} x {cells}"


def memory_row(name: str, cells: int, images: int) -> Row:
    """Peak memory of a fresh process that measures a grid on this many images."""
    threads = torch.get_num_threads()
    peak = [sys.executable, str(Path(__file__).with_name("peak.py")), name, *map(str, (cells, images, threads))]
    done = subprocess.run(peak, capture_output=True, text=True, check=True)
    return Row(_memory(name, cells), images, threads, "none", peak_gib=float(done.stdout) / 2**20)


def origin() -> dict[str, str]:
    """What the figures were measured on."""
    names = [line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    packages = ("torch", "torchvision", "timm", "captum", "foolbox", "onnxruntime", "openvino")
    versions = [f"{package} {found}" for package in packages if (found := _version(package))]
    return {
        "machine": f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores, float32",
        "versions": ", ".join([*versions, f"Python {platform.python_version()}"]),
        "code": code_digest(Path(__file__).resolve().parent.parent),
    }


def earlier_rows(gate: Path, machine: str) -> list[dict[str, Any]]:
    """The rows of an earlier table of this machine; exits for one of another, whose ratios are others."""
    earlier = read(gate)
    if earlier["origin"].get("machine") != machine:
        sys.exit(
            f"--gate must be a table of this machine ({machine}), got one of {earlier['origin'].get('machine')}. "
            "Make one from the earlier version: check it out, run the same command without --gate, keep its table.json."
        )
    rows: list[dict[str, Any]] = earlier["rows"]
    return rows


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


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
    parser.add_argument("--chunks", nargs="+", type=int, default=peers.CHUNKS, help="tried for each peer")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--out", type=Path, default=Path("outputs/bench"))
    parser.add_argument("--quick", action="store_true", help="three networks, 49 cells of 14 x 14, against the loops")
    parser.add_argument("--runtimes", action="store_true", help="26 networks, 24 cells, against every runtime")
    parser.add_argument("--gate", type=Path, help="an earlier table.json: fail where a ratio has fallen by 15%%")
    options = parser.parse_args()
    for preset, settings in (("quick", QUICK), ("runtimes", OF_RUNTIMES)):
        if getattr(options, preset):
            given = [name for name in settings if getattr(options, name) != parser.get_default(name)]
            if given:
                parser.error(f"--{preset} sets --{', --'.join(given)} itself. Leave out --{preset}, or these options.")
            vars(options).update(settings)
    here = origin()
    earlier = earlier_rows(options.gate, here["machine"]) if options.gate else []
    table = Table(options.out, here)
    for row in rows(options, table):
        table.add(row._asdict())
        print(row, flush=True)
    print(table.markdown())
    if worse := slower(table.rows, earlier):
        sys.exit("slower than before:\n" + "\n".join(worse))


if __name__ == "__main__":
    main()
