"""Draw this project's figures from finished sweeps, and lock them, so that a change of any is noticed.

python -m paper                      all whose sweeps are there
python -m paper framework shortcut   some of them
python -m paper --check              draw nothing, and report which figure differs from its lock, and why
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from dovision import checks
from dovision.config.errors import error_text
from dovision.io.text_files import make_folder
from dovision.report.report_figure import save_report_figure
from paper.latex import save_latex
from paper.lock import Locked, changes, lock, read_lock, write_lock
from paper.sources import FIGURES, Source

LOCK = Path(__file__).with_name("figures.lock")


def draw(sources: Mapping[str, Source], outputs: Path, folder: Path) -> dict[str, str]:
    """Draw each figure into a folder, as SVG, PDF, PNG, LaTeX and CSV, and print which mix runs of several origins.

    Returns:
        By the name of each figure that could not be drawn, the reason.

    Raises:
        ValueError: a run is damaged, or its report has no such figure.
    """
    missing = {}
    for name, source in sources.items():
        try:
            report_figure = replace(source(outputs), name=name)
        except FileNotFoundError as error:
            missing[name] = str(error)
            continue
        save_report_figure(report_figure, folder)
        save_latex(report_figure, folder)
        if report_figure.mixture:
            print(f"mixed: {name}: {report_figure.mixture}")
    return missing


def draw_and_lock(sources: Mapping[str, Source], outputs: Path, folder: Path, path: Path) -> dict[str, str]:
    """Draw the figures and lock them; figures of the lock that are not drawn keep their entries.

    Returns:
        By the name of each figure that could not be drawn, the reason.
    """
    locked = read_lock(path)
    make_folder(folder, setting="--output")
    missing = draw(sources, outputs, folder)
    drawn = lock(folder, [name for name in sources if name not in missing])
    for name, why in (changes(locked, drawn) if locked else {}).items():
        print(f"changed: {name} ({why})")
    if drawn:
        write_lock(path, {**locked, **drawn})
        print(folder)
    return missing


def compare(sources: Mapping[str, Source], outputs: Path, locked: Locked) -> None:
    """Draw the figures aside and compare them with the lock.

    Raises:
        ValueError: the lock holds no figure, some figure has changed, or none could be drawn; the error says which and
            why.
    """
    if not locked:
        raise ValueError("the lock must hold figures, got none. Run make figures.")
    with tempfile.TemporaryDirectory() as folder:
        missing = draw(sources, outputs, Path(folder))
        drawn = lock(Path(folder), [name for name in sources if name not in missing])
    if not drawn:
        reasons = "; ".join(f"{name}: {why}" for name, why in missing.items())
        raise ValueError(f"a comparison needs a figure that can be drawn, got none ({reasons}). Run make figures.")
    changed = changes(locked, drawn)
    if changed or missing:
        problems = {"of the locked figures differ": changed, "could not be drawn": missing}
        listed = [
            f"{len(of_problem)} {what}: {_listed(of_problem)}." for what, of_problem in problems.items() if of_problem
        ]
        raise ValueError(" ".join([*listed, *(["Look at them, then make figures."] if changed else [])]))
    print(f"{len(drawn)} figures are as they were locked")


def _listed(reasons: Mapping[str, str]) -> str:
    return "; ".join(f"{name} ({why.removesuffix('.')})" for name, why in reasons.items())


def chosen(names: Iterable[str]) -> dict[str, Source]:
    """The figures of these names; all, if none is named."""
    return {checks.choice("a figure", name, list(FIGURES)): FIGURES[name] for name in names} or dict(FIGURES)


def main(words: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser("python -m paper", description="Draw this project's figures from finished sweeps.")
    parser.add_argument("figure", nargs="*", help=f"which, of {', '.join(FIGURES)}; none: all")
    parser.add_argument("--check", action="store_true", help="draw nothing, and report which differ from the lock")
    parser.add_argument("--outputs", type=Path, default=Path("outputs"), help="the folder of all sweeps")
    parser.add_argument("--output", type=Path, help="where the figures go; OUTPUTS/figures if not given")
    parser.add_argument("--lock", type=Path, default=LOCK, help="hashes of every figure, to be kept with the figures")
    arguments = parser.parse_args(words)
    try:
        sources = chosen(arguments.figure)
        if arguments.check:
            compare(sources, arguments.outputs, read_lock(arguments.lock))
        else:
            missing = draw_and_lock(
                sources, arguments.outputs, arguments.output or arguments.outputs / "figures", arguments.lock
            )
            for name, why in missing.items():
                print(f"not drawn: {name}: {why}", file=sys.stderr if arguments.figure else sys.stdout)
            return int(bool(arguments.figure and missing))
    except (ValueError, OSError) as error:
        print(f"paper: {error_text(error)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
