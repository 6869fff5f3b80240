"""Write docs/results.md and the results of README.md from the numbers recorded in docs/results/:

python docs/results_tables.py                                write both
python docs/results_tables.py maps NAME COMMIT RUN [RUN..]   record the scores of maps of runs, before that
python docs/results_tables.py speed NAME TABLE               record the table of a benchmark, before that

The text lies in docs/results/*.md.j2. It names numbers and never holds them; a number is written as in the findings of
a run, and a sentence that claims a lead cannot be made of an interval that does not show one.
"""

from __future__ import annotations

import json
import re
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from dovision.analysis import explanation_metrics, map_summary
from dovision.findings.finding import direction
from dovision.findings.map_findings import RIVALS
from dovision.findings.number_text import interval_text, number_text
from dovision.store.run_record import read_run
from dovision.store.schemas import SUMMARY

ROOT = Path(__file__).resolve().parents[1]
WIDTH = 150  # of a line of README
COMMAND = "python docs/results_tables.py"
METRICS = ("true_effects", "pooled_true_effects", "pooled_true_effects_given_area", "energy", "pointing")
BLOCK = re.compile(r"(<!-- results, made by `python docs/results_tables.py` -->\n).*?(<!-- end -->)", re.DOTALL)
Row = Mapping[str, Any] | Sequence[float] | float


def text(number: Row, form: str = ".2f") -> str:
    """A number, or one with its interval, as findings write it.

    Args:
        number: a recorded row, of which what is small has more places; or what an earlier text printed, as a number or
            as estimate, low and high.
        form: how each is written, such as "+.2f".
    """
    if isinstance(number, Mapping):
        return interval_text({**number, "reason": "none"}, form)
    if isinstance(number, Sequence):
        estimate, low, high = (number_text(each, form) for each in number)
        return f"{estimate} [{low}, {high}]"
    return number_text(number, form)


def several(numbers: Sequence[Row], form: str = ".2f", by: str = "\N{NO-BREAK SPACE}/\N{NO-BREAK SPACE}") -> str:
    """Numbers side by side, one a training; those that are recorded without their intervals."""
    return by.join(text(each["estimate"] if isinstance(each, Mapping) else each, form) for each in numbers)


def listed(numbers: Sequence[Row], form: str = "+.2f", way: int | Sequence[int] | None = None) -> str:
    """Numbers with their intervals in a sentence.

    Args:
        numbers: with intervals.
        form: how each is written.
        way: 1 or -1 where the sentence says that all lie above or below zero, 0 where that none is shown to; one a
            number where it says so of each.

    Raises:
        ValueError: an interval shows something else.
    """
    ways = [direction(_named(number)) for number in numbers]
    claimed = [way] * len(ways) if isinstance(way, int) else way
    if claimed is not None and list(claimed) != ways:
        raise ValueError(f"a sentence claims {way} of intervals on the sides {ways} of zero. Mend the sentence.")
    *first, last = [text(number, form) for number in numbers]
    return f"{', '.join(first)} and {last}" if first else last


def _named(number: Row) -> dict[str, Any]:
    numbers = [number["estimate"], number["low"], number["high"]] if isinstance(number, Mapping) else number
    return dict(zip(("mean", "low", "high"), numbers, strict=True))


class Maps:
    """Recorded scores of maps: called with what names rows, gives these in the order of the trainings.

    Args:
        recorded: from `scores_of_runs`.
    """

    def __init__(self, recorded: Mapping[str, Any]) -> None:
        self.origin, self.rows = recorded["origin"], recorded["rows"]

    def __call__(self, explainer: str, metric: str, minus: str = "") -> list[dict[str, Any]]:
        """Rows of an explainer and a metric, or of its difference to another explainer.

        Raises:
            ValueError: there are none.
        """
        key = {"explainer": explainer, "metric": metric, "minus": minus}
        found = [row for row in self.rows if all(row[name] == value for name, value in key.items())]
        if not found:
            raise ValueError(f"no number is recorded of {key}. Record it, or mend the text.")
        return sorted(found, key=lambda row: row["seed"])


class Speed:
    """Recorded rows of a benchmark: called with a network and a peer, gives a column of the row.

    Args:
        recorded: the table.json of a benchmark.
    """

    def __init__(self, recorded: Mapping[str, Any]) -> None:
        self.origin, self.rows = recorded["origin"], recorded["rows"]

    def __call__(self, network: str, peer: str = "channels_last loop", column: str = "ratio") -> float:
        (row,) = [row for row in self.rows if row["what"].split(",")[0] == network and row["peer"] == peer]
        return float(row[column])

    def largest(self, column: str) -> float:
        """The largest number of a column."""
        return max(row[column] for row in self.rows)


def recorded() -> dict[str, Any]:
    """What the text can name: each file of docs/results/ by its name."""
    files = {path.stem: json.loads(path.read_text()) for path in sorted((ROOT / "docs/results").glob("*.json"))}
    kinds = {"maps": Maps, "speed": Speed}
    return {name: kinds[found["kind"]](found) if found["kind"] in kinds else found for name, found in files.items()}


def pages() -> dict[Path, str]:
    """Content of each page, by its path."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ROOT / "docs/results"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    names = {"text": text, "several": several, "listed": listed, **recorded()}
    made = {name: environment.get_template(f"{name}.md.j2").render(names) for name in ("results", "readme")}
    readme = (ROOT / "README.md").read_text()
    return {
        ROOT / "docs/results.md": made["results"],
        ROOT / "README.md": BLOCK.sub(lambda found: found[1] + filled(made["readme"]) + found[2], readme),
    }


def filled(items: str) -> str:
    """A list in Markdown, filled to the width of a line."""
    width = {"width": WIDTH, "subsequent_indent": "  ", "break_long_words": False, "break_on_hyphens": False}
    return "".join(f"{textwrap.fill(' '.join(item.split()), **width)}\n" for item in re.split(r"\n(?=- )", items))


def scores_of_runs(commit: str, folders: Sequence[Path]) -> dict[str, Any]:
    """Scores of the maps of runs of several seeds, and what they are of.

    Args:
        commit: of the code that drew the maps.
        folders: of completed runs.

    Returns:
        origin, and a row a seed, explainer and metric, and, of differences, explainer that it is compared with:
        estimate, low, high.
    """
    runs = [read_run(folder) for folder in folders]
    facts = [run.facts for run in runs]
    origin = {
        "commit": commit,
        "overrides": [[word for word in of["overrides"] if "root=" not in word] for of in facts],
        "started": [of["started"][:10] for of in facts],
        "device": f"{facts[0]['device']}, {facts[0]['threads']} thread",
        "versions": facts[0]["versions"],
        "images": facts[0]["images"],
        "digests": [of["digests"][SUMMARY]["sha256"][:12] for of in facts],
    }
    rows = [row for run in runs for row in scores(run.folder, run.facts)]
    return {"kind": "maps", "origin": origin, "rows": rows}


def scores(folder: Path, facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of a run: passes, scores, their differences from each rival, and agreement where maps agree and differ."""
    frame, parts = explanation_metrics.agreements(folder), explanation_metrics.estimates(folder)
    controls = explanation_metrics.control_estimates(folder)
    seed, rows = facts["seed"], []
    for name, passes in facts["passes_per_map"].items():
        rows.append(_recorded(seed, name, "passes", "", [passes, None, None]))
    for rival in [name for name in RIVALS if (frame["explainer"] == name).any()]:
        table = map_summary.scores(frame, parts, controls, rival)
        for row in table[(table["cases"] == "all") & table["metric"].isin(METRICS) & table["mean"].notna()].to_dict(
            "records"
        ):
            name, metric = row["explainer"], row["metric"]
            if rival == RIVALS[0]:
                rows.append(_recorded(seed, name, metric, "", [row["mean"], row["low"], row["high"]]))
            if name != rival:
                ends = [row[f"difference{end}"] for end in ("", "_low", "_high")]
                rows.append(_recorded(seed, name, metric, rival, ends))
    for row in map_summary.reliability(parts).to_dict("records"):
        rows.append(_recorded(seed, row["explainer"], row["half"], "", [row["mean"], row["low"], row["high"]]))
    return rows


def _recorded(seed: int, explainer: str, metric: str, minus: str, numbers: Sequence[float | None]) -> dict[str, Any]:
    known = [None if number is None or number != number else round(number, 6) for number in numbers]
    names = {"seed": seed, "explainer": explainer, "metric": metric, "minus": minus}
    return names | dict(zip(("estimate", "low", "high"), known, strict=True))


def write_record(name: str, found: Mapping[str, Any]) -> None:
    """Write a file of docs/results/, a row a line."""
    head = json.dumps({key: value for key, value in found.items() if key != "rows"}, indent=1)
    rows = ",\n".join(f"  {json.dumps(row)}" for row in found["rows"])
    (ROOT / "docs/results" / f"{name}.json").write_text(f'{head[:-2]},\n "rows": [\n{rows}\n ]\n}}\n')


if __name__ == "__main__":
    try:
        match sys.argv[1:]:
            case ["maps", name, commit, folder, *more]:
                write_record(name, scores_of_runs(commit, list(map(Path, (folder, *more)))))
            case ["speed", name, table]:
                write_record(name, {"kind": "speed", **json.loads(Path(table).read_text())})
            case []:
                pass
            case other:
                sys.exit(f"{__doc__}\ngot {' '.join(other)}")
    except OSError as error:
        sys.exit(
            f"nothing was recorded: {error}. Give the folder of a completed run, or the table.json of a benchmark."
        )
    for path, content in pages().items():
        path.write_text(content)
