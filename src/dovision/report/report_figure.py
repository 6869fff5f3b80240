"""Figures and tables with captions and numbers, the components that draw them of runs, and shared sentences."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dovision import checks
from dovision.config.component import make_each, read_group
from dovision.functional.intervals import NOT_MEASURED, level_of_selected
from dovision.io import paths
from dovision.report.style import FORMS, save_figure
from dovision.results.display_names import component_text
from dovision.results.finding import level_text
from dovision.results.run_record import MODEL, Run
from dovision.results.tables import SAMPLES, read_groups

log = logging.getLogger(__name__)
_ONE = re.compile(r"\bn = 1 ((?:\w+ )?)(\w+)s\b")  # a count of one, with a plural
_SETUP = {"dataset": "data", "model": "network", "intervention": "intervention", "attack": "attack"}


class Caption(str):
    """Caption of a figure in files; `short` is the page's version, at most two sentences.

    Args:
        whole: with settings, and how intervals were made.
        short: what is shown, of how many images, and what the whiskers or brackets are.
    """

    short: str

    def __new__(cls, whole: str, short: str) -> Caption:
        caption = super().__new__(cls, whole)
        caption.short = short
        return caption


@dataclass(frozen=True)
class ReportFigure:
    """Figure with its caption and the numbers behind it."""

    name: str
    title: str
    caption: str
    figure: Figure | None  # None of a table
    data: pd.DataFrame
    table: pd.DataFrame | None = None  # text, of one or several lines a cell; its index names the group of each row
    mixture: str = ""  # in what its runs differ that they should share; see `differences.mixed`

    @classmethod
    def of_table(cls, name: str, title: str, caption: str, data: pd.DataFrame, table: pd.DataFrame) -> ReportFigure:
        """Table, which has no picture."""
        return cls(name, title, caption, None, data, table)


@dataclass
class FigureComponent:
    """Component that draws figures of completed runs for the page, files and dashboards.

    A subclass overrides `of_run`, `of_sweep` or both; runs that do not hold what it needs have no figure.
    """

    order: float  # its place among all components; those of the package leave gaps

    def __post_init__(self) -> None:
        checks.number("order", self.order)

    def of_run(self, run: Run) -> Iterable[ReportFigure]:
        """Figures of one run."""
        return ()

    def of_sweep(self, runs: Sequence[Run]) -> Iterable[ReportFigure]:
        """Figures that compare runs."""
        return ()


class Catalogue:
    """Figure components in order; `failed` lists errors of a user's components.

    Raises:
        ValueError: a yaml describes something else, or a component refuses its arguments.
    """

    def __init__(self) -> None:
        expected = "a FigureComponent of dovision.report.report_figure"
        group = make_each(read_group("figure")).items()
        made = [checks.instance(f"figure.{name}", component, FigureComponent, expected) for name, component in group]
        self.components = sorted(made, key=lambda component: component.order)
        self.failed: list[str] = []

    def of_run(self, run: Run) -> list[ReportFigure]:
        """Figures of one completed run; errors of a user's components are skipped."""
        return self._drawn(lambda component: component.of_run(run))

    def of_sweep(self, runs: Sequence[Run]) -> list[ReportFigure]:
        """Figures that compare completed runs; errors of a user's components are skipped."""
        return self._drawn(lambda component: component.of_sweep(runs))

    def _drawn(self, draw: Callable[[FigureComponent], Iterable[ReportFigure]]) -> list[ReportFigure]:
        drawn: dict[str, tuple[float, ReportFigure]] = {}  # by name, with its component's place
        for component in sorted(self.components, key=_is_foreign):  # of which none takes a name of the package's
            try:
                figures = list(draw(component))
                names = Counter([*drawn, *(figure.name for figure in figures)])
                if twice := [name for name, count in names.items() if count > 1]:
                    raise ValueError(f"the name of a figure must be no other one's, got {twice[0]!r}. Choose another.")
                drawn |= {figure.name: (component.order, figure) for figure in figures}
            except Exception as error:  # whatever foreign code raises
                if not _is_foreign(component):
                    raise
                name = f"{type(component).__module__}.{type(component).__qualname__}"
                message = f"left out the figure {name}: {type(error).__name__}: {error}"
                if message not in self.failed:
                    log.error(message)
                    self.failed.append(message)
        return [figure for _, figure in sorted(drawn.values(), key=lambda placed: placed[0])]


def _is_foreign(component: FigureComponent) -> bool:
    return not type(component).__module__.startswith("dovision.")


def save_report_figure(report_figure: ReportFigure, folder: Path, forms: Collection[str] = tuple(FORMS)) -> str:
    """Write a figure in these forms and the CSV of its numbers, of a table the CSV alone; return the SVG."""
    name, figure = report_figure.name, report_figure.figure
    paths.file_name("the name of a figure", name)
    save_figure(figure, report_figure.data, folder, name, forms)
    return (folder / f"{name}.svg").read_text(encoding="utf-8") if figure and "svg" in forms else ""


def missing_intervals(frame: pd.DataFrame) -> str:
    """Sentence on withheld intervals of a table and the reasons; empty if none.

    Args:
        frame: with columns that end in "reason".
    """
    columns = [name for name in frame if name == "reason" or name.endswith("_reason")]
    reasons = pd.concat([frame[name] for name in columns]) if columns else pd.Series(dtype=object)
    counts = reasons[~reasons.fillna("").isin(["", NOT_MEASURED])].value_counts()
    if counts.empty:
        return ""
    listed = "; ".join(f"{reason} ({count})" for reason, count in counts.items())
    return f"No interval is given where none would hold: {listed}."


def caption(
    text: str, runs: Sequence[Run], counted: str = "", intervals: str = "", frame: pd.DataFrame | None = None
) -> Caption:
    """Build the caption of a figure.

    Args:
        text: what it shows.
        runs: whose settings are described.
        counted: how many images or objects it shows; behind the groups of its intervals, where these are fewer.
        intervals: what its whiskers or brackets are.
        frame: its numbers, for a remark on intervals that are withheld.
    """
    missing = "" if frame is None else missing_intervals(frame)
    counted = _ONE.sub(r"n = 1 \1\2", counted)
    lows = [] if frame is None else [name for name in frame if name == "low" or str(name).endswith("_low")]
    if frame is not None and lows and frame[lows].isna().all(axis=None):  # all are withheld
        intervals = ""
    if "over groups" in intervals and re.match("n = (?!.*groups)", counted) and (groups := _groups(runs, frame)):
        counted = f"n = {groups} groups, {counted[4:]}"
    (first, *_), (count, *_) = _sentences(text) or [""], _sentences(counted) or [""]
    shown_as = intervals.partition(":")[0]
    level = re.search(r"each is of ([\d.]+%)", intervals)  # see `selected`
    drawn = intervals if shown_as == "Whiskers" else ""
    if "95% intervals" in intervals.partition(";")[0]:
        drawn = f"{shown_as}: {level[1] if level else '95%'} intervals"
    ends = [count.rstrip("."), f"{drawn[:1].lower()}{drawn[1:]}".rstrip(".")]
    short = f"{'; '.join(filter(None, ends))}."
    whole = " ".join(filter(None, [text, setup_sentence(runs), counted, intervals, missing]))
    return Caption(whole, " ".join(filter(None, [first, short.lstrip(".")])))


def _groups(runs: Sequence[Run], frame: pd.DataFrame | None) -> str:
    """Number of groups that intervals are over, if they are fewer than what is counted."""
    columns = set() if frame is None else {*frame}
    counted = [name for name in ("images", "maps", "objects") if name in columns]
    if frame is not None and "clusters" in columns and counted:
        return span(frame["clusters"]) if (frame["clusters"] < frame[counted[0]]).any() else ""
    if columns & {"detector", "groups", "known_groups"}:  # not of samples.parquet, or counted before
        return ""
    of_runs = [read_groups(run.folder) for run in runs if (run.folder / SAMPLES).is_file()]
    fewer = any(groups.nunique() < len(groups) for groups in of_runs)
    return span(pd.Series([groups.nunique() for groups in of_runs])) if fewer else ""


def _sentences(text: str) -> list[str]:
    return re.split(r"(?<=[.]) (?=[A-Z])", text) if text else []


def selected(shown: int, total: int) -> str:
    """Remark on the level of intervals of the `shown` largest of `total` numbers."""
    if shown >= total:
        return ""
    level = level_text(level_of_selected(shown, total))
    return f"; as the {shown:,} largest of {total:,} are shown, each is of {level} (Benjamini and Yekutieli)"


def setup_sentence(runs: Sequence[Run]) -> str:
    """Sentence on data, model, intervention, attack and seeds; empty without runs."""
    clauses = []
    for key, head in _SETUP.items():
        settings = list(dict.fromkeys(_setting(key, run) for run in runs if run.config.get(key)))
        more = [f"{len(settings) - 3} more"] if len(settings) > 3 else []
        clauses += [f"{head}: {', or '.join(settings[:3] + more)}"] if settings else []
    seeds = sorted({run.seed for run in runs})
    if seeds:
        clauses.append(f"seed {seeds[0]}" if len(seeds) == 1 else f"{len(seeds)} seeds ({', '.join(map(str, seeds))})")
    text = "; ".join(clauses)
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def images(counts: pd.Series) -> str:
    """Sentence with the number of images behind a figure."""
    return f"n = {span(counts)} images in {'each' if counts.nunique() == 1 else 'an'} condition."


def whiskers(seeds: pd.Series[int]) -> str:
    """Sentence on what whiskers show for mean effect sizes over seeds; empty where no point has any.

    Args:
        seeds: how many each point has.
    """
    if seeds.max() == 1:
        return ""
    several = f"standard deviation over {span(seeds[seeds > 1])} seeds"
    return f"Whiskers: {several}." if seeds.min() > 1 else f"Whiskers: {several}, none of one seed."


def span(counts: pd.Series) -> str:
    """Smallest and largest of some counts; one number if equal."""
    low, high = counts.min(), counts.max()
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def sample_size(rows: pd.DataFrame, images: str, noun: str) -> str:
    """Format counts of images, such as "n = 12 groups, 20 to 30 successful attacks."; groups where they are fewer.

    `images` is the column of the images' count; that of their groups is "groups", or begins with it: "known_groups".
    """
    groups = rows["groups" if images == "images" else f"{images}_groups"]
    return f"n = {f'{span(groups)} groups, ' if (groups < rows[images]).any() else ''}{span(rows[images])} {noun}."


def label_names(label: Any, classes: Sequence[str]) -> str:
    """Name of a class number, or names of the labels in a list of zeros and ones; "" if unknown."""
    if np.max(label) < 0:
        return ""
    if np.ndim(label) == 0:
        return classes[int(label)]
    return ", ".join(name for name, is_set in zip(classes, label, strict=True) if is_set == 1) or "none"


def _setting(key: str, run: Run) -> str:
    """Describe interventions and attacks with numbers, data and models by name, with a checkpoint's file."""
    component, file = run.config[key], run.config.get("checkpoint") if key == MODEL else None
    if isinstance(source := component.get("source"), Mapping):  # the class of a dataset of PyTorch
        component = source
    if key in ("intervention", "attack"):
        return component_text(component)
    named = component_text({name: component[name] for name in ("_target_", "name") if name in component})
    return f"{named}, weights of {Path(file).name}" if file else named
