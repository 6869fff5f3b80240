"""One page about a sweep: HTML, inline SVG and one script; it fetches nothing, and reads without script."""

from __future__ import annotations

import base64
import hashlib
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from dovision.analysis.headline_text import HEADLINE_METRICS, METRIC_HEADS
from dovision.analysis.mixed_origins import QUESTIONS, mixed
from dovision.analysis.reported import REPORTED, comparison
from dovision.analysis.summary import QUALITY
from dovision.functional.intervals import BOTH_INTERVALS
from dovision.report.explorer import explorer
from dovision.report.figures.results import MEANING, result_texts, results_frame
from dovision.report.inline_assets import SizeBudget, lighter
from dovision.report.report_figure import ReportFigure, missing_intervals, setup_sentence
from dovision.report.style import CSV, inline_svg
from dovision.store import config_diff
from dovision.store.run_record import COPY, FOREIGN, UNREADABLE, Run
from dovision.store.schemas import DIGESTS
from dovision.store.spreadsheet import guarded

_NOT_LISTED = ("state", "overrides", "exception", "reason", "checkpoint_files", REPORTED, DIGESTS, QUESTIONS)  # facts
_ELSEWHERE = ("output_root", "note", "reported")  # settings
_COLUMN = 7  # inches; a wider figure takes the whole width
_TEMPLATES = Path(__file__).with_name("templates")
_FEW = 4  # jobs that are named in a note
_SETTINGS = 6  # that get a column of their own in the table of jobs
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
    """The figures of one run."""

    label: str
    folder: str  # beside the page
    shown: Sequence[Shown]


def render_page(
    title: str, runs: Sequence[Run], overview: Sequence[Shown], details: Sequence[Details], notes: Sequence[str] = ()
) -> str:
    """The page.

    Args:
        title: of the page, such as the sweep's folder name.
        runs: all runs, whatever their state.
        overview: figures that compare runs.
        details: the figures of completed runs, which the page has as long as they fit.
        notes: remarks on the whole.
    """
    completed = [run for run in runs if run.state == "completed"]
    results = results_frame(completed)
    figures, numbers = SizeBudget(FIGURES), SizeBudget(NUMBERS)
    carried = [*overview, *(shown for one in details for shown in one.shown if figures.take(shown.svg))]
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
        runs=runs,
        counts=Counter(run.state for run in runs),
        useless=[run for run in runs if run.state in (UNREADABLE, FOREIGN, COPY)],
        mixed=mixed({run.label: run.facts for run in completed}),
        setup=setup_sentence(completed),
        **_settings(runs),
        results=results.to_dict("records"),
        texts=result_texts(results) if completed else {},
        headlines={name: METRIC_HEADS[name] for name in HEADLINE_METRICS},
        quality={name: METRIC_HEADS[name] for name in QUALITY},
        meaning=MEANING,
        reported={run.label: run.facts[REPORTED] for run in completed if run.facts.get(REPORTED)},
        comparison=comparison,
        results_link=_link(results),
        interval=BOTH_INTERVALS,
        notes=[note for note in (*notes, *_notes(completed), missing_intervals(results)) if note],
        overview=overview,
        explorer=explorer(completed, SizeBudget(PICTURES)),
        details=details,
        carried=[shown.name for shown in carried],
        linked=[shown.name for shown in carried if numbers.take(shown.csv)],
        **_recipe(runs),
    )


def rerun_command(run: Run) -> str:
    """The command that makes the run again."""
    return shlex.join(["dovision-evaluate", *run.overrides])


def _link(data: pd.DataFrame) -> str:
    return f"data:text/csv;base64,{base64.b64encode(guarded(data).to_csv(**CSV).encode()).decode()}"


def _settings(runs: Sequence[Run]) -> dict[str, Any]:
    """Settings of each run by dotted names; those that all share; those in which they differ, and who has what.

    First come the settings that were set on the command line.
    """
    settings = {run.label: _flat(run.config, _ELSEWHERE) for run in runs}
    records = [settings[run.label] for run in runs if run.config]
    shared, differing = config_diff.split(records)
    swept = {override.partition("=")[0].lstrip("+~") for run in runs for override in run.overrides}
    differing.sort(key=lambda name: name not in swept)
    differences = {name: config_diff.counted(records, name) for name in differing}
    return {"settings": settings, "shared": shared, "differences": differences, "columns": differing[:_SETTINGS]}


def _notes(runs: Sequence[Run]) -> list[str]:
    """Notes on headline numbers, one for all jobs that it holds for."""
    jobs: dict[str, list[str]] = {}
    for run in runs:
        own = [run.config["note"]] if run.config.get("note") else []
        own += [f"Tag: {tag}" for tag in run.facts.get("tags", ())]
        for note in [*own, *(note for found in run.summary["conditions"].values() for note in found["notes"])]:
            jobs.setdefault(str(note), []).append(run.label)
    return [note if len(runs) == 1 else f"{note} ({_named(labels)})" for note, labels in jobs.items()]


def _named(labels: Sequence[str]) -> str:
    more = [f"and {len(labels) - _FEW} more jobs"] if len(labels) > _FEW else []
    return "; ".join([*labels[:_FEW], *more])


def _recipe(runs: Sequence[Run]) -> dict[str, Any]:
    """Instructions to make the runs again: their common facts, and for each its command and its own facts."""
    known = [run for run in runs if not run.problem]
    facts = {run.label: _flat(run.facts, _NOT_LISTED) for run in known}
    common, _ = config_diff.split(list(facts.values()))
    own = {label: {name: fact for name, fact in one.items() if name not in common} for label, one in facts.items()}
    return {"common": common, "own": own, "commands": {run.label: rerun_command(run) for run in known}}


def _flat(record: Mapping[str, Any], left_out: Sequence[str]) -> dict[str, str]:
    return config_diff.flattened({name: value for name, value in record.items() if name not in left_out})
