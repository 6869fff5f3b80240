"""Recompute the numbers of the demo's first sentence, which README.md quotes, from the run's tables by pandas.

python checks/printed_numbers.py            runs the demo in a temporary folder
python checks/printed_numbers.py --run DIR  with a finished run of it

Those of the run must be equal, those of README.md, which are of one processor, near them. Those of docs/results.md, and
of them in README.md, are made by docs/results_tables.py.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd

from dovision.findings.run_findings import run_findings
from dovision.store.run_record import read_run

README = Path(__file__).resolve().parents[1] / "README.md"
NEAR = 0.05  # digits that differ by processor
# Numbers are in groups; intervals are not recomputed.
QUOTED = (
    r"log-odds of disease by ([\d.]+) \[[^]]+\], ([\d.]+) \[[^]]+\] beyond cells that touch no object; "
    r"P\(disease\) changes by (-[\d.]+) \["
)


def numbers(run: Path) -> tuple[str, ...]:
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
    means = -over["log_odds_effect"].mean(), -beyond.mean(), over["effect"].mean()
    return tuple(f"{mean:.3f}" for mean in means)


def main() -> int:
    """Print what was recomputed, what the run prints and what README quotes, and return 1 if they differ."""
    parser = argparse.ArgumentParser(description="Recompute the quoted numbers of the demo.")
    parser.add_argument("--quick", action="store_true", help="changes nothing; the other checks have it")
    parser.add_argument("--run", type=Path, help="a finished run of the demo")
    run = parser.parse_args().run
    with tempfile.TemporaryDirectory() as folder:
        if run is None:
            command = [sys.executable, "-m", "dovision.cli.evaluate", "experiment=demo", f"output_root={folder}"]
            subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL)
            run = next(Path(folder).glob("*/*/run.json")).parent
        recomputed = numbers(run)
        printed = _quoted(" ".join(finding.text for finding in run_findings(read_run(run))))
    readme = _quoted(README.read_text("utf-8"))
    for name, found in {"recomputed": recomputed, "printed": printed, "in README": readme}.items():
        print(f"{name}: {', '.join(found) or 'none'}")
    near = len(readme) > 0 and all(abs(float(a) - float(b)) <= NEAR for a, b in zip(readme, recomputed, strict=True))
    return int(printed != recomputed or not near)


def _quoted(text: str) -> tuple[str, ...]:
    """Numbers of the sentence; none if the text lacks it."""
    found = re.search(QUOTED, " ".join(text.split()))
    return found.groups() if found else ()


if __name__ == "__main__":
    sys.exit(main())
