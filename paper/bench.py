"""The figure of the benchmark: how many times less time the engine takes than its peers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dovision.io import files
from dovision.report.report_figure import ReportFigure
from dovision.report.style import INK, canvas, points, series, shortened, styled


def bench_figure(folder: Path) -> ReportFigure:
    """The ratios of the table that `make bench` has left in a folder.

    Raises:
        FileNotFoundError: there is no table.csv.
        ValueError: it is not the benchmark's.
    """
    path = folder / "table.csv"
    if not path.is_file():
        raise FileNotFoundError(f"{path} must be the table of the benchmark, got no such file. Run make bench.")
    frame = pd.read_csv(files.require_regular_file(path, files.TEXT))
    missing = {"what", "images", "peer", "ratio", "seconds"} - set(frame.columns)
    if missing:
        raise ValueError(f"{path} must have a column {min(missing)}, got {', '.join(frame.columns)}. Run make bench.")
    frame = frame.dropna(subset=["ratio", "seconds"])  # not memory, nor the share of an evaluation's own time
    table = folder / "table.md"
    machine = files.read_text(table).partition("\n")[0] if table.is_file() else ""
    caption = (
        "Time of the peer, at its best chunk, over that of dovision on the same images and units, both measured in one "
        f"run, alternating; the median of several rounds; above 1, dovision takes less. {machine}"
    )
    return ReportFigure("bench_ratios", "Speed against the peers", caption.strip(), ratio_dots(frame), frame)


@styled
def ratio_dots(frame: pd.DataFrame) -> Figure:
    """A row per (what, images), a mark per peer, on a logarithmic axis.

    Args:
        frame: columns what, images, peer, ratio.
    """
    names = frame["what"] + ", " + frame["images"].map(lambda count: "1 image" if count == 1 else f"{count} images")
    rows, peers = list(dict.fromkeys(names)), list(dict.fromkeys(frame["peer"]))
    figure = canvas(6.0, 0.8 + 0.17 * len(rows))
    axes = figure.subplots()
    for number, peer in enumerate(peers):
        of_peer = frame["peer"] == peer
        positions = [rows.index(name) for name in names[of_peer]]
        style = series(number) | points(number) | {"linestyle": "none"}
        for whiskers in ("elinewidth", "capsize"):
            style.pop(whiskers)
        axes.plot(frame.loc[of_peer, "ratio"], positions, label=peer, **style)
    axes.axvline(1, color=INK, linewidth=0.8)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_yticks(np.arange(len(rows)), [shortened(row, 64) for row in rows])
    axes.invert_yaxis()
    axes.grid(axis="x")
    axes.set_xlabel("time of the peer / time of dovision")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure
