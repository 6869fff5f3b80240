"""The command dovision-figures: figures from finished sweeps, and a lock that shows which of them has changed."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from dovision.cli.hydra_main import hydra_main
from dovision.config.settings import FiguresSettings, make_each
from dovision.io.text_files import make_folder
from dovision.report.figure_sources import FigureSource
from dovision.report.lock import Locked, changes, lock, read_lock, write_lock
from dovision.report.report_figure import save_report_figure

log = logging.getLogger(__name__)


class Remarks(NamedTuple):
    """Remarks on figures, by their names."""

    missing: dict[str, str]  # why it could not be drawn
    mixed: dict[str, str]  # in what its runs differ that they should share

    def print_mixed(self) -> None:
        """A line for each figure whose runs mix origins, for a listing."""
        for name, what in self.mixed.items():
            print(f"mixed: {name}: {what}")


def draw_figures(sources: Mapping[str, FigureSource], outputs: Path, folder: Path) -> Remarks:
    """Draw each figure into a folder, as SVG, PDF, PNG, LaTeX and CSV.

    Raises:
        ValueError: a run is damaged, or its report has no such figure.
    """
    remarks = Remarks({}, {})
    for name, source in sources.items():
        try:
            report_figure = replace(source.draw(outputs), name=name)
        except FileNotFoundError as error:
            remarks.missing[name] = str(error)
            continue
        save_report_figure(report_figure, folder)
        if report_figure.mixture:
            remarks.mixed[name] = report_figure.mixture
    if remarks.mixed:
        log.warning("the runs of these figures mix origins, as their captions say: %s", ", ".join(remarks.mixed))
    return remarks


def draw_and_lock(settings: FiguresSettings) -> None:
    """Draw the figures and lock them, or compare them with the lock.

    Figures of the lock that are not drawn keep their entries: those that were not asked for, or have no runs here.

    Raises:
        ValueError: in a comparison, some figure has changed, or none could be compared; the error says which and why.
    """
    sources: dict[str, FigureSource] = make_each(settings.figure)
    path = settings.lock
    locked = read_lock(path)
    if settings.check:
        compare(sources, settings.outputs, locked, path)
        return
    folder = settings.output
    make_folder(folder, setting="output")
    remarks = draw_figures(sources, settings.outputs, folder)
    drawn = lock(folder, [name for name in sources if name not in remarks.missing])
    for name, why in (changes(locked, drawn) if locked else {}).items():
        print(f"changed: {name} ({why})")
    remarks.print_mixed()
    for name, why in remarks.missing.items():
        print(f"not drawn: {name}: {why}")
    write_lock(path, {**locked, **drawn})
    print(folder)


def compare(sources: Mapping[str, FigureSource], outputs: Path, locked: Locked, path: Path) -> None:
    """Draw the figures aside and compare them with the lock.

    Raises:
        FileNotFoundError: there is no lock, or no figure in it.
        ValueError: some figure has changed, or none could be drawn; the error says which and why.
    """
    if not locked:
        raise FileNotFoundError(
            f"lock must be a file that holds figures, got {path}, which holds none. Run make figures."
        )
    with tempfile.TemporaryDirectory() as folder:
        remarks = draw_figures(sources, outputs, Path(folder))
        drawn = lock(Path(folder), [name for name in sources if name not in remarks.missing])
    remarks.print_mixed()
    if not drawn:
        reasons = "; ".join(f"{name}: {why}" for name, why in remarks.missing.items()) or "figure=[] names none"
        raise ValueError(f"a comparison needs a figure that can be drawn, got none ({reasons}). Run make figures.")
    found = {**remarks.missing, **changes(locked, drawn)}
    if found:
        listed = "; ".join(f"{name} ({why})" for name, why in found.items())
        raise ValueError(f"{len(found)} of the locked figures differ: {listed}. Look at them, then make figures.")
    print(f"{len(drawn)} figures are as they were locked")


main = hydra_main("figures", draw_and_lock)

if __name__ == "__main__":
    main()
