"""dovision-figures: this project's figures from finished sweeps, and a lock that shows which of them has changed."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from omegaconf import DictConfig

from dovision.commands import command
from dovision.results.exhibit import save
from dovision.results.figure_sources import Source
from dovision.results.files import make_folder, read_json, write_json
from dovision.results.lock import changes, lock
from dovision.session import make


def draw(sources: Mapping[str, Source], outputs: Path, folder: Path) -> dict[str, str]:
    """Draw each figure into a folder, as SVG, PDF, PNG, LaTeX and CSV.

    Returns:
        By name, why a figure could not be drawn, for those whose runs are not there.

    Raises:
        ValueError: a run is damaged, or its report has no such figure.
    """
    missing = {}
    for name, source in sources.items():
        try:
            save(replace(source.draw(outputs), name=name), folder)
        except FileNotFoundError as error:
            missing[name] = str(error)
    return missing


def tell(config: DictConfig) -> None:
    """Draw the figures and lock them, or compare them with the lock.

    Raises:
        ValueError: in a comparison, some figure has changed; the error says which and why.
    """
    sources: dict[str, Source] = make(config.figure)
    locked = Path(config.lock)
    if config.check:
        compare(sources, Path(config.outputs), locked)
        return
    folder = Path(config.output)
    make_folder(folder, setting="output")
    missing = draw(sources, Path(config.outputs), folder)
    drawn = [name for name in sources if name not in missing]
    before = read_json(locked) if locked.is_file() else None
    new = lock(folder, drawn)
    for name, why in (changes(before, new) if before else {}).items():
        print(f"changed: {name} ({why})")
    for name, why in missing.items():
        print(f"not drawn: {name}: {why}")
    write_json(locked, new)
    print(folder)


def compare(sources: Mapping[str, Source], outputs: Path, locked: Path) -> None:
    """Draw the figures aside and compare them with the lock.

    Raises:
        FileNotFoundError: there is no lock.
        ValueError: some figure has changed; the error says which and why.
    """
    if not locked.is_file():
        raise FileNotFoundError(
            f"lock must be the file of a lock, got {locked}, which does not exist. Run make figures."
        )
    with tempfile.TemporaryDirectory() as folder:
        missing = draw(sources, outputs, Path(folder))
        new = lock(Path(folder), [name for name in sources if name not in missing])
    told = {name: missing.get(name, why) for name, why in changes(read_json(locked), new).items()}
    if told:
        listed = "; ".join(f"{name} ({why})" for name, why in told.items())
        raise ValueError(f"{len(told)} of the locked figures differ: {listed}. Look at them, then make figures.")
    print(f"{len(new['figures'])} figures are as they were locked")


main = command("figures", tell)

if __name__ == "__main__":
    main()
