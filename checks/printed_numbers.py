"""Recompute printed numbers of README.md and docs/results.md, from stored results and the demo, by pandas and scipy.

python checks/printed_numbers.py            with the demo, run in a temporary folder
python checks/printed_numbers.py --quick    from docs/results/ alone
python checks/printed_numbers.py --run DIR  with a finished run of the demo
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from scipy.stats import binomtest

ROOT = Path(__file__).resolve().parents[1]
README, RESULTS = "README.md", "docs/results.md"
Claim = tuple[str, str, list[str]]  # page, text with {} for numbers, the numbers as printed


def stored(name: str) -> pd.DataFrame:
    """Rows of a file of docs/results/."""
    content = json.loads((ROOT / "docs" / "results" / f"{name}.json").read_text("utf-8"))
    return pd.DataFrame(content["rows"], columns=content["columns"])


def share(successes: float, images: int, places: int = 2) -> list[str]:
    """Share and its Clopper-Pearson interval of 95%."""
    ends = binomtest(round(successes), images).proportion_ci(0.95, "exact")
    return [f"{number:.{places}f}" for number in (round(successes) / images, ends.low, ends.high)]


def of_results() -> Iterator[Claim]:
    """Numbers of speed, of attackers who know the detector, and of accuracies."""
    speed = stored("speed")
    speed = speed[(speed["images"] == 1) & speed["what"].str.endswith("14 x 14, 98 of them")]
    speed = speed.assign(ratio=speed["peer_seconds"] / speed["seconds"], what=speed["what"].str.partition(",")[0])
    loop = speed[speed["peer"] == "channels_last loop"].set_index("what")["ratio"]
    numbers = [f"{loop['resnet50']:.1f}", f"{loop['efficientnet_b0']:.1f}", f"{loop['vit_tiny_patch16_224']:.2f}"]
    text = "98 cells takes {} times less processor time than a plain loop on ResNet-50, {} on EfficientNet-B0 and {} on"
    yield README, text, numbers
    onnx = speed.loc[speed["peer"] == "ONNX Runtime", "ratio"].dropna()
    yield README, "ONNX Runtime is faster on {} of {} networks", [str((onnx < 1).sum()), str(len(onnx))]

    known = stored("mnist_adaptive_squeezing").query("detector == 'feature_squeezing' and family == 'adaptive_l2'")
    of_metric = known.set_index("metric")["estimate"]
    images = int(of_metric["images at 2"])
    evaded = share(of_metric["evasion at 2"] * images, images)
    yield README, "(L2 at 2.0, both {} [{}, {}] of 49)", evaded
    known = stored("mnist_adaptive_norms").query("detector == 'effect_consistency' and family == 'adaptive_l2'")
    rates = known.loc[known["metric"] == "evasion at 2"].sort_values("seed")["estimate"]
    yield README, "on MNIST in L2 at 2.0 on {}, {}, {} of 20 digits", [f"{round(rate * 20) / 20:.2f}" for rate in rates]

    accuracy = stored("cifar10_natural").query("metric == 'accuracy'").sort_values("seed")["estimate"]
    yield RESULTS, "10,000 test images is {}, {}, {},", [share(10_000 * rate, 10_000, 3)[0] for rate in accuracy]
    natural = stored("cifar10_adversarial").query("of == 'clean' and metric == 'accuracy'")["estimate"]
    robust = stored("cifar10_adversarial_pgd").query("of == 'eps=8/255' and metric == 'accuracy'")["estimate"]
    numbers = share(10_000 * natural.iloc[0], 10_000, 3) + share(1_000 * robust.iloc[0], 1_000, 3)
    yield RESULTS, "{} [{}, {}] of the 10,000, and under PGD of 20 steps {} [{}, {}] of 1,000", numbers


def of_demo(run: Path) -> Iterator[Claim]:
    """Mean effects of the cell that covers most of the hospital's tag, and beyond cells that touch no object."""
    effects, boxes = pd.read_parquet(run / "effects.parquet"), pd.read_parquet(run / "boxes.parquet")
    effects = effects[(effects["condition"] == "clean") & (effects["class"] == "disease")]
    pairs = effects.merge(boxes, on="sample", suffixes=("", "_of"))
    height, width = (
        pairs[[end, f"{end}_of"]].min(axis=1) - pairs[[start, f"{start}_of"]].max(axis=1)
        for start, end in (("top", "bottom"), ("left", "right"))
    )
    pairs["covered"] = height.clip(lower=0) * width.clip(lower=0)
    most = pairs.groupby(["sample", "unit"], observed=True)[["covered", "log_odds_effect"]].max()
    free = most[most["covered"] == 0].groupby("sample")["log_odds_effect"].mean()
    of_tag = pairs[pairs["object"].astype(str).str.startswith("tag")]
    over = of_tag.loc[of_tag.groupby("sample")["covered"].idxmax()].set_index("sample")
    beyond = (over["log_odds_effect"] - free).dropna()
    numbers = [f"{-over['log_odds_effect'].mean():.3f}", f"{-beyond.mean():.3f}", f"{over['effect'].mean():.3f}"]
    text = "log-odds of disease by {} [#, #], {} [#, #] beyond cells that touch no object; P(disease) changes by {} ["
    yield README, text, numbers


def main() -> int:
    """Print each number that was recomputed, and return 1 if one is not what is printed."""
    parser = argparse.ArgumentParser(description="Recompute printed numbers.")
    parser.add_argument("--quick", action="store_true", help="without the demo")
    parser.add_argument("--run", type=Path, help="a finished run of the demo")
    args = parser.parse_args()
    claims = [*of_results()]
    with tempfile.TemporaryDirectory() as folder:
        if not args.quick and args.run is None:
            command = [sys.executable, "-m", "dovision.cli.evaluate", "experiment=demo", f"output_root={folder}"]
            subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL)
            args.run = next(Path(folder).glob("*/*/run.json")).parent
        claims += of_demo(args.run) if args.run else []
    wrong = 0
    for page, text, numbers in claims:
        shown = " ".join((ROOT / page).read_text("utf-8").split())
        pattern = re.escape(text).replace(r"\{\}", r"(-?[\d.]+)").replace(r"\#", r"-?[\d.]+")
        match = re.search(pattern, shown)
        printed = [*match.groups()] if match else []
        wrong += printed != numbers
        print(
            f"{'same' if printed == numbers else 'WRONG'}: {page}: {', '.join(numbers)}; printed: {', '.join(printed)}"
        )
    print(f"{sum(len(numbers) for *_, numbers in claims)} numbers")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
