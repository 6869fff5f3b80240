"""One page about a sweep: HTML, inline SVG and one script; it fetches nothing, and reads without script."""

from __future__ import annotations

import base64
import hashlib
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from dovision.analysis.mixed_origins import QUESTIONS, mixed
from dovision.analysis.reported import REPORTED
from dovision.functional.intervals import BOTH_INTERVALS
from dovision.report import html_tables
from dovision.report.explorer import explorer
from dovision.report.figures.results import MEANING, results_frame
from dovision.report.inline_assets import SizeBudget, lighter
from dovision.report.report_figure import ReportFigure, missing_intervals, setup_sentence
from dovision.report.style import CSV, inline_svg
from dovision.store import config_diff
from dovision.store.run_record import COPY, FOREIGN, UNREADABLE, Run
from dovision.store.schemas import DIGESTS
from dovision.store.spreadsheet import guarded

_NOT_LISTED = {
    "state",
    "overrides",
    "exception",
    "reason",
    "checkpoint_files",
    REPORTED,
    DIGESTS,
    QUESTIONS,
}  # of run.json
_COLUMN = 7  # inches; a wider figure takes the whole width
_TEMPLATES = Path(__file__).with_name("templates")
_FEW = 4  # jobs that are named in a note
FIGURES, PICTURES, NUMBERS = 1_800_000, 600_000, 300_000  # bytes of the figures of runs, the explorer, and CSV links


@dataclass(frozen=True)
class Shown:
    """A figure as it stands on the page."""

    name: str  # without a second on the page
    title: str
    caption: str
    svg: Markup
    csv: str  # a data: address of its numbers
    wide: bool  # takes the page's whole width

    @classmethod
    def of(cls, report_figure: ReportFigure, svg: str, prefix: str = "") -> Shown:
        """From a figure and its saved SVG, in which matplotlib has escaped all text."""
        name = prefix + report_figure.name
        drawn = Markup(lighter(inline_svg(svg, name)))
        wide = report_figure.figure.get_figwidth() > _COLUMN
        return cls(name, report_figure.title, report_figure.caption, drawn, _link(report_figure.data), wide)


@dataclass(frozen=True)
class Details:
    """The figures of one run: those that the page carries, and the names of those that lie beside it only."""

    label: str
    folder: str  # beside the page
    shown: Sequence[Shown]
    left_out: Sequence[str] = ()

    def fitted(self, allowance: SizeBudget) -> Details:
        """With the figures that still fit."""
        fitting = [shown for shown in self.shown if allowance.take(shown.svg)]
        left_out = [shown.title for shown in self.shown if shown not in fitting]
        return Details(self.label, self.folder, fitting, [*self.left_out, *left_out])


def render_page(
    title: str, runs: Sequence[Run], overview: Sequence[Shown], details: Sequence[Details], notes: Sequence[str] = ()
) -> str:
    """The page.

    Args:
        title: of the page, such as the sweep's folder name.
        runs: all runs, whatever their state.
        overview: figures that compare runs.
        details: the figures of completed runs.
        notes: remarks on the whole.
    """
    completed = [run for run in runs if run.state == "completed"]
    results = results_frame(completed)
    figures = SizeBudget(FIGURES)
    details = [one.fitted(figures) for one in details]
    everything = [*overview, *(shown for one in details for shown in one.shown)]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, script = (Markup((_TEMPLATES / name).read_text(encoding="utf-8")) for name in ("page.css", "page.js"))
    return environment.get_template("page.html.j2").render(
        title=title,
        style=style,
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        counts=_counts(runs),
        useless=[run for run in runs if run.state in (UNREADABLE, FOREIGN, COPY)],
        mixed=mixed({run.label: run.facts for run in completed}),
        settings=setup_sentence(completed),
        differences=html_tables.difference_table(runs),
        shared=html_tables.shared(runs),
        headlines=html_tables.headline_table(completed),
        quality=html_tables.quality_table(completed),
        meaning=MEANING,
        reported=html_tables.reported_table(completed),
        results_link=_link(results),
        interval=BOTH_INTERVALS,
        notes=list(filter(None, [*notes, *_notes(completed), missing_intervals(results)])),
        jobs=html_tables.job_table(runs),
        states=list(_counts(runs)),
        overview=overview,
        explorer=explorer(completed, SizeBudget(PICTURES)),
        details=details,
        links=_links(everything, SizeBudget(NUMBERS)),
        recipe=_recipe(runs),
    )


def rerun_command(run: Run) -> str:
    """The command that makes the run again."""
    return shlex.join(["dovision-evaluate", *run.overrides])


def _link(data: pd.DataFrame) -> str:
    return f"data:text/csv;base64,{base64.b64encode(guarded(data).to_csv(**CSV).encode()).decode()}"


def _links(shown: Iterable[Shown], allowance: SizeBudget) -> dict[str, str]:
    """The numbers of each figure by its name, as far as they fit."""
    return {one.name: one.csv for one in shown if allowance.take(one.csv)}


def _counts(runs: Sequence[Run]) -> dict[str, int]:
    states = pd.Series([run.state for run in runs]).value_counts(sort=False)
    return {str(state): int(count) for state, count in states.items()}


def _notes(runs: Sequence[Run]) -> list[str]:
    """Notes on headline numbers, one for all jobs that it holds for."""
    jobs: dict[str, list[str]] = {}
    for run in runs:
        remarks = [str(run.config["note"])] if run.config.get("note") else []
        for remark in (*remarks, *(f"Tag: {tag}" for tag in run.facts.get("tags", ()))):
            jobs.setdefault(remark, []).append(run.label)
        for found in run.summary["conditions"].values():
            for note in found["notes"]:
                jobs.setdefault(note, []).append(run.label)
    return [note if len(runs) == 1 else f"{note} ({_named(labels)})" for note, labels in jobs.items()]


def _named(labels: Sequence[str]) -> str:
    more = [f"and {len(labels) - _FEW} more jobs"] if len(labels) > _FEW else []
    return "; ".join([*labels[:_FEW], *more])


def _recipe(runs: Sequence[Run]) -> dict[str, Any]:
    """Instructions to make the runs again: their common facts, and for each its command and its own facts."""
    facts = {run.label: _facts(run.facts) for run in runs if not run.problem}
    common, _ = config_diff.split(list(facts.values()))
    own = {label: {k: v for k, v in own.items() if k not in common} for label, own in facts.items()}
    commands = {run.label: rerun_command(run) for run in runs if not run.problem}
    return {"common": common, "own": own, "commands": commands}


def _facts(facts: Mapping[str, Any]) -> dict[str, str]:
    return config_diff.flattened({name: value for name, value in facts.items() if name not in _NOT_LISTED})
