"""dovision-report: figures, tables and one page, from run directories alone."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from dovision.commands import command
from dovision.results import exhibits, page
from dovision.results.exhibit import Exhibit, save
from dovision.results.files import make_folder, write_text
from dovision.results.reading import read_sweep


def report(sweep: Path, output: Path | None = None) -> Path:
    """Draw all figures of a sweep and write its page.

    Args:
        sweep: a folder with run directories below it, or one run directory.
        output: where to write; <sweep>/report if None.

    Returns:
        The page's path. The figures lie beside it, in figures/, as SVG, PNG and CSV.

    Raises:
        FileNotFoundError: there is no such folder, or no run in it.
        ValueError: a file of a run is damaged; the error names it.
    """
    runs = read_sweep(sweep)
    completed = [run for run in runs if run.state == "completed"]
    output = output or sweep / "report"

    make_folder(output, setting="output")
    overview: list[page.Shown] = []
    details: dict[str, list[page.Shown]] = {}
    if completed:
        save(exhibits.results_exhibit(completed), output / "figures")
        overview = _draw(exhibits.sweep_exhibits(completed), output / "figures", "")
    for number, run in enumerate(completed):
        folder = output / "figures" / run.folder.relative_to(sweep)
        details[run.label] = _draw(exhibits.run_exhibits(run), folder, f"run{number}-")
    write_text(output / "index.html", page.render(sweep.resolve().name, runs, overview, details))
    return output / "index.html"


def _draw(shown: list[Exhibit], folder: Path, prefix: str) -> list[page.Shown]:
    return [page.Shown.of(exhibit, save(exhibit, folder), prefix) for exhibit in shown]


def tell(config: DictConfig) -> None:
    """Draw the report that the configuration asks for, and print where it is."""
    print(report(Path(config.sweep), None if config.output is None else Path(config.output)))


main = command("report", tell)

if __name__ == "__main__":
    main()
