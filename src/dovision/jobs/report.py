"""The command dovision-report: figures, tables and one page, from run directories alone."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import pandas as pd

from dovision import checks
from dovision.config.settings import ReportSettings
from dovision.io.progress import DISPLAY
from dovision.io.text_files import make_folder, write_text
from dovision.jobs.job import Job
from dovision.report import page
from dovision.report.report_figure import Catalogue, ReportFigure, save_report_figure
from dovision.report.style import FORMS, page_width
from dovision.results.image_ranges import read_runs
from dovision.results.run_record import UNREADABLE, Run
from dovision.results.sweep_findings import by_factors, ends_of_range

FIGURES_FOLDER = "figures"
_DETAILED = 3  # runs of a sweep whose own figures are drawn, unless more are asked for


def write_report(
    sweep: Path,
    runs: Sequence[Run],
    output: Path,
    details: int | None,
    catalogue: Catalogue,
    formats: Sequence[str] | None = None,
) -> Path:
    """Write the report of these runs; runs that are not completed are only listed.

    A user's figure that could not be drawn is named on the page, and in `catalogue.failed`.
    """
    completed = [run for run in runs if run.state == "completed"]
    several = len(completed) > 1
    numbers = by_factors(completed) if several else pd.DataFrame()
    named = ends_of_range(numbers)
    ordered = sorted(completed, key=lambda run: run.label not in named)
    detailed = ordered[: checks.positive_int("details", _DETAILED if details is None else details)]
    forms = formats or (["svg"] if several else [*FORMS])
    make_folder(output, setting="output")
    overview = _draw(catalogue.of_sweep(completed), output / FIGURES_FOLDER, "", forms) if completed else []
    runwise = []
    for number, run in enumerate(DISPLAY.track(detailed, "report", "jobs", len(detailed))):
        folder = Path(FIGURES_FOLDER) / run.folder.relative_to(sweep)
        shown = _draw(catalogue.of_run(run), output / folder, f"run{number}-", forms)
        runwise.append(page.Details(run.label, str(folder), shown))
    notes = [*catalogue.failed]
    if len(detailed) < len(completed):
        some = f"{len(detailed)} of {len(completed)} completed runs, those that the findings name first"
        notes.insert(0, f"Figures run by run: of {some}. The setting 'details' of dovision-report draws more.")
    text = page.render_page(sweep.resolve().name, runs, numbers, overview, runwise, notes)
    write_text(output / "index.html", text)
    return output / "index.html"


def _draw(shown: Iterable[ReportFigure], folder: Path, prefix: str, forms: Collection[str]) -> list[page.Shown]:
    """Save the figures in these forms; return those for the page."""
    saved = [(report_figure, save_report_figure(report_figure, folder, forms)) for report_figure in shown]
    return [page.Shown.of(report_figure, svg, prefix) for report_figure, svg in saved]


def report_of_settings(job: Job) -> None:
    """Draw the report and print its path.

    Raises:
        ValueError: some runs could not be read, or a figure not drawn; the page is written without, and says why.
    """
    settings: ReportSettings = job.settings
    sweep = settings.sweep
    output = settings.output or sweep / "report"
    runs, catalogue = read_runs(sweep), Catalogue()
    with page_width(settings.figure_width):
        print(write_report(sweep, runs, output, settings.details, catalogue, settings.formats), flush=True)
    damaged = [run for run in runs if run.state == UNREADABLE]
    if damaged:
        more = f" The page names {len(damaged) - 1} more." if len(damaged) > 1 else ""
        raise ValueError(f"left out a run that cannot be read: {damaged[0].problem}{more}")
    if catalogue.failed:
        raise ValueError(f"{catalogue.failed[0]}. Mend it, or take its yaml away.")
