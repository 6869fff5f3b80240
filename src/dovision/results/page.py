"""One self-contained page about a sweep: HTML and inline SVG, no script, nothing fetched."""

from __future__ import annotations

import base64
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from dovision.results.drawing import CSV, inline_svg
from dovision.results.exhibit import Exhibit, settings
from dovision.results.exhibits import HEADS, cells, results_frame
from dovision.results.reading import Run
from dovision.results.summary import INTERVAL

TOLD = ("state", "overrides", "exception")  # of run.json, elsewhere on the page
COLUMN = 7  # inches; a wider figure takes the whole width
LARGEST_LINK = 60_000  # characters of CSV that a page carries with it


@dataclass(frozen=True)
class Shown:
    """An exhibit as it stands on the page."""

    name: str  # without a second on the page
    title: str
    caption: str
    svg: Markup
    data_link: str  # a data: address of the CSV; empty if that would be too large
    wide: bool  # takes the page's whole width

    @classmethod
    def of(cls, exhibit: Exhibit, svg: str, prefix: str = "") -> Shown:
        """From an exhibit and its saved SVG, in which matplotlib has escaped all text."""
        name = prefix + exhibit.name
        drawn = Markup(inline_svg(svg, name))
        wide = exhibit.figure.get_figwidth() > COLUMN
        return cls(name, exhibit.title, exhibit.caption, drawn, _link(exhibit.data), wide)


def render(title: str, runs: Sequence[Run], overview: Sequence[Shown], details: Mapping[str, Sequence[Shown]]) -> str:
    """The page.

    Args:
        title: of the page, such as the sweep's folder name.
        runs: all runs, whatever their state.
        overview: figures that compare runs.
        details: the figures of each completed run, by its label.
    """
    completed = [run for run in runs if run.state == "completed"]
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("dovision.results"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2").render(
        title=title,
        runs=runs,
        counts=_counts(runs),
        heads=["arm", "images", *HEADS.values()],
        results=_results(completed),
        results_link=_link(results_frame(completed)),
        settings=settings(completed),
        interval=INTERVAL,
        overview=overview,
        details=details,
        facts={run.label: _facts({k: v for k, v in run.facts.items() if k not in TOLD}) for run in runs},
        commands={run.label: command(run) for run in runs},
    )


def command(run: Run) -> str:
    """The command that makes the run again."""
    return shlex.join(["dovision-evaluate", *run.overrides])


def _link(data: pd.DataFrame) -> str:
    csv = data.to_csv(**CSV)
    return f"data:text/csv;base64,{base64.b64encode(csv.encode()).decode()}" if len(csv) <= LARGEST_LINK else ""


def _counts(runs: Sequence[Run]) -> str:
    states = pd.Series([run.state for run in runs]).value_counts(sort=False)
    return ", ".join(f"{count} {state}" for state, count in states.items())


def _results(runs: Sequence[Run]) -> list[tuple[str, list[list[str]], list[str]]]:
    """Per run its label, the cells of its arms, and what has to be said about them."""
    return [
        (
            run.label,
            [cells(row) for _, row in results_frame([run]).iterrows()],
            [note for found in run.summary["arms"].values() for note in found["notes"]],
        )
        for run in runs
    ]


def _facts(facts: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """What run.json tells of the circumstances; nested facts by dotted names, without what is empty."""
    told: dict[str, str] = {}
    for name, value in facts.items():
        if isinstance(value, Mapping):
            told |= _facts(value, f"{prefix}{name}.")
        elif value not in ("", [], None):
            told[prefix + name] = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return told
