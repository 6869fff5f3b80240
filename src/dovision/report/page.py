"""Page about a sweep: HTML, inline SVG and one script; it fetches nothing, and reads without script."""

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

from dovision.config.row_choices import ALL_ROWS
from dovision.identity.differences import mixed
from dovision.report.cards import Card, card
from dovision.report.explorer import explorer
from dovision.report.image_overlay import page_variables
from dovision.report.inline_assets import SizeBudget, lighter
from dovision.report.report_figure import Caption, ReportFigure, setup_sentence
from dovision.report.style import CSV, inline_svg
from dovision.results.display_names import ROWS_NOTE, metric_head
from dovision.results.factors import factor_heads, flattened, level_texts, natural, split
from dovision.results.finding import NOTHING, finding
from dovision.results.run_files import RUN
from dovision.results.run_findings import by_question, run_findings
from dovision.results.run_record import COPY, FOREIGN, MODEL, UNREADABLE, Run, factors_of
from dovision.results.schemas import DIGESTS
from dovision.results.sentences import LIMITS
from dovision.results.sweep_findings import pivots, sweep_findings
from dovision.results.sweep_summary import slow_jobs
from dovision.results.tables import read_row_choice

_NOT_LISTED = (
    "state",
    "overrides",
    "exception",
    "reason",
    "checkpoint_files",
    DIGESTS,
    MODEL,
)
_ELSEWHERE = ("output_root", "note")  # settings, those above are facts
_OF_HYDRA = ("._partial_", "._convert_", "._recursive_")
_WORDS = {"True": "yes", "False": "no"}
_COLUMN = 5.5  # inches; a wider figure takes the whole width
_TEMPLATES = Path(__file__).with_name("templates")
_FIRST_HEAD = "name"  # of a table whose first column has none
_DRAWN = 100  # rows of a table that the page has; its CSV has all
_FEW = 4  # jobs that are named in a note
FIGURES, PICTURES, NUMBERS = 1_800_000, 1_200_000, 300_000  # bytes of the figures of runs, the explorer, and CSV links


@dataclass(frozen=True)
class Shown:
    """Figure as displayed on the page."""

    name: str  # without a second on the page
    title: str
    caption: str
    svg: Markup  # empty of a table
    csv: str  # a data: address of its numbers
    wide: bool  # takes the page's whole width
    method: str = ""  # what the caption leaves to the box of its job
    heads: Sequence[str] = ()  # of a table
    rows: Sequence[Sequence[str]] = ()  # of a table
    left_out: int = 0  # rows of a table that the page does not have

    @property
    def size(self) -> str:
        """Text that counts towards the page's size."""
        return self.svg or "".join(cell for row in self.rows for cell in row).replace("\n", "")

    @classmethod
    def of(cls, report_figure: ReportFigure, svg: str, prefix: str = "") -> Shown:
        """Build from a figure and its saved SVG, whose text matplotlib has escaped."""
        name = prefix + report_figure.name
        caption, csv = report_figure.caption, report_figure.data.to_csv(**CSV)
        link = f"data:text/csv;base64,{base64.b64encode(csv.encode()).decode()}"
        short = caption.short if isinstance(caption, Caption) else caption
        method = caption if caption != short else ""
        if (figure := report_figure.figure) is not None:
            drawn = Markup(lighter(inline_svg(svg, name)))
            return cls(name, report_figure.title, short, drawn, link, figure.get_figwidth() > _COLUMN, method)
        table = pd.DataFrame(report_figure.table)
        rows = list(table.iloc[:_DRAWN].itertuples(name=None))
        heads = [str(table.index.name or _FIRST_HEAD), *(str(head).replace("\n", " ") for head in table.columns)]
        left_out = len(table) - len(rows)
        return cls(name, report_figure.title, short, Markup(), link, True, method, heads, rows, left_out)


@dataclass(frozen=True)
class Details:
    """Figures of one run."""

    label: str
    folder: str  # beside the page
    shown: Sequence[Shown]


def style_sheet() -> str:
    """CSS of the page: light and dark colours, effects, outlines, type, tables."""
    return page_variables() + template("page.css")


def template(name: str) -> str:
    """Text of a file of the page, such as numbers.js, whose functions format the page's numbers."""
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def render_page(
    title: str,
    runs: Sequence[Run],
    numbers: pd.DataFrame,
    overview: Sequence[Shown],
    details: Sequence[Details],
    notes: Sequence[str] = (),
) -> str:
    """Render the page.

    Args:
        title: of the page, such as the sweep's folder name.
        runs: all runs, whatever their state.
        numbers: of completed runs by their factors, from `by_factors`; empty of a single run.
        overview: figures that compare runs.
        details: the figures of completed runs, which the page has as long as they fit.
        notes: remarks on the whole.
    """
    completed = [run for run in runs if run.state == "completed"]
    figures, links = SizeBudget(FIGURES), SizeBudget(NUMBERS)
    carried = [*overview, *(shown for one in details for shown in one.shown if figures.take(shown.size))]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    explored = explorer(completed, SizeBudget(PICTURES))
    scripts = ["page.js", *(["numbers.js", "explorer.js"] if explored["entries"] else [])]
    style = Markup(style_sheet())
    script = Markup("".join(map(template, scripts)))
    settings = _settings(runs)
    return environment.get_template("page.html.j2").render(
        title=title,
        style=style,
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        runs=runs,
        counts=Counter(run.state for run in runs),
        useless=[run for run in runs if run.state in (UNREADABLE, FOREIGN, COPY)],
        mixed=mixed({run.label: run.record for run in completed}),
        setup=setup_sentence(completed),
        cards=_cards(runs, numbers),
        pivots=pivots(numbers),
        metric_head=metric_head,
        **settings,
        job_numbers={run.label: number for number, run in enumerate(runs)},
        slow=slow_jobs(runs),
        notes=[*notes, *_notes(completed)],
        overview=overview,
        explorer=explored if explored["entries"] else None,
        objects_known=any(entry["objects"] for entry in explored["entries"]),
        details=details,
        carried=[shown.name for shown in carried],
        linked=[shown.name for shown in carried if links.take(shown.csv)],
        **_recipe(runs),
    )


def rerun_command(run: Run) -> str:
    """Command that repeats the run."""
    return shlex.join(["dovision-evaluate", *run.overrides])


def _cards(runs: Sequence[Run], numbers: pd.DataFrame) -> dict[str, list[Card]]:
    """Cards by question: of a sweep by factor, or of a single run; and of what is not completed."""
    completed = [run for run in runs if run.state == "completed"]
    run = None if (result := sweep_findings(numbers)) else next(iter(completed), None)
    result = result if run is None else run_findings(run)
    if len(runs) > 1 and (failed := [run for run in runs if run.state != "completed"]):
        hits = f"{len(failed):,} of {len(runs):,}"
        one = finding(LIMITS, "limit", "not completed", "", NOTHING, hits=hits)
        result = [*result, one._replace(detail=[(run.label, run.state) for run in failed])]
    return {question: [card(one, run) for one in of] for question, of in by_question(result).items()}


def _settings(runs: Sequence[Run]) -> dict[str, Any]:
    """Settings common to all runs, by dotted names; factors that vary, by display names, with their levels."""
    configured = [run for run in runs if run.config]
    shared, _ = split([_flat(run.config, _ELSEWHERE) for run in configured])
    factors = factors_of(configured)
    heads = factor_heads(list(factors))
    levels = factors.apply(level_texts).rename(columns=heads).to_dict("records")
    counts = {head: Counter(level.get(head) or "-" for level in levels) for head in heads.values()}
    differences = {head: {one: count[one] for one in sorted(count, key=natural)} for head, count in counts.items()}
    levels_of_jobs = {run.label: level for run, level in zip(configured, levels, strict=True)}
    return {"shared": shared, "differences": differences, "levels": levels_of_jobs}


def _notes(runs: Sequence[Run]) -> list[str]:
    """Notes on headline numbers, each with the jobs that it applies to."""
    jobs: dict[str, list[str]] = {}
    for run in runs:
        notes = [run.config["note"]] if run.config.get("note") else []
        notes += [f"Tag: {tag}" for tag in run.record.get("tags", ())]
        notes += [ROWS_NOTE[rows]] if (rows := read_row_choice(run.folder)) != ALL_ROWS else []
        for note in [*notes, *(note for numbers in run.summary["conditions"].values() for note in numbers["notes"])]:
            jobs.setdefault(str(note), []).append(run.label)
    if len(runs) == 1:
        return list(jobs)
    more = {note: [f"and {len(labels) - _FEW} more jobs"] * (len(labels) > _FEW) for note, labels in jobs.items()}
    return [f"{note} ({'; '.join([*labels[:_FEW], *more[note]])})" for note, labels in jobs.items()]


def _recipe(runs: Sequence[Run]) -> dict[str, Any]:
    """Instructions to repeat the runs: common entries of their records, then each run's command and own entries."""
    readable = [run for run in runs if not run.problem]
    records = {run.label: _flat(run.record, _NOT_LISTED) for run in readable}
    common, _ = split(list(records.values()))
    others = {label: {name: fact for name, fact in one.items() if name not in common} for label, one in records.items()}
    commands = {run.label: rerun_command(run) for run in readable}
    for run in (run for run in readable if run.state == "completed" and (run.folder / RUN).is_file()):
        # a share of its rows can be measured again
        commands[run.label] += f"\ndovision-verify run=…/{run.folder.name}"
    return {"common": common, "own": others, "commands": commands}


def _flat(record: Mapping[str, Any], left_out: Sequence[str]) -> dict[str, str]:
    """Flatten settings or records to dotted names, without keys of Hydra."""
    flat = flattened({name: value for name, value in record.items() if name not in left_out})
    return {name: _WORDS.get(value, value) for name, value in flat.items() if not name.endswith(_OF_HYDRA)}
