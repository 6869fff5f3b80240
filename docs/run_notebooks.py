"""Run the notebooks of the site, all or those named, and store what they print and draw: `make gallery`."""

from __future__ import annotations

import base64
import io
import re
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from PIL import Image

HERE = Path(__file__).parent
MOST_BYTES = 300_000  # of a picture
CLOCK = re.compile(r"^\[\d\d:\d\d:\d\d\] ", re.MULTILINE)  # before each line of a log
TAKEN = re.compile(r"(\bcompleted) in [\d.]+ s\b")
OF_A_MACHINE = re.compile(
    r"\b\d?\d:\d\d:\d\d\b|\bin [\d.]+ s\b|(?<![\w.:/])/(?:home|root|tmp|usr|var|work|Users)/[^\s<\"']*|\b0x[0-9a-f]{6,}"
)


def run(path: Path) -> None:
    """Run a notebook in its folder, and write it back with its outputs; one of the gallery with a picture beside it."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(path.parent)}}).execute()
    store(path, notebook)


def store(path: Path, notebook: Any) -> None:
    """Write what was run, without times, what libraries warn of, and colours of a terminal."""
    first = None
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # the times of its start and end
        if "outputs" in cell:
            cell.outputs = [each for each in cell.outputs if each.get("name") != "stderr"]
            for printed in (each for each in cell.outputs if "text" in each):
                plain = re.sub(r"\x1b\[[0-9;]*m", "", printed["text"])
                printed["text"] = TAKEN.sub(r"\1", CLOCK.sub("", plain))
        for data in (each.data for each in cell.get("outputs", []) if "image/png" in each.get("data", {})):
            data["image/png"] = base64.b64encode(within_size(base64.b64decode(data["image/png"]))).decode()
            first = first or data["image/png"]
    if left := of_a_machine(notebook):
        raise ValueError(f"{path.name} must print nothing of this machine or this hour, got {left}. Leave it out.")
    notebook.metadata = {"kernelspec": notebook.metadata.get("kernelspec"), "language_info": {"name": "python"}}
    nbformat.write(notebook, path)
    if first and path.parent.name == "gallery":
        path.with_suffix(".png").write_bytes(base64.b64decode(first))


def of_a_machine(notebook: Any) -> list[str]:
    """Clock times, durations, places on the disk and addresses in memory that outputs show."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    shown = [output.get("text", "") for output in outputs]
    shown += [data for output in outputs for kind, data in output.get("data", {}).items() if kind.startswith("text/")]
    return [found for text in shown for found in OF_A_MACHINE.findall(re.sub(r'"data:[^"]*"', "", text))]


def within_size(png: bytes) -> bytes:
    """The same picture in all its colours, with fewer pixels where it takes more than MOST_BYTES."""
    held = io.BytesIO()
    with Image.open(io.BytesIO(png)) as picture:
        whole = picture.convert("RGB")
    whole.save(held, "png", optimize=True)
    if len(held.getvalue()) <= MOST_BYTES:
        return held.getvalue()
    whole.resize([round(0.8 * side) for side in whole.size], Image.Resampling.LANCZOS).save(held := io.BytesIO(), "png")
    return within_size(held.getvalue())


def main() -> None:
    """Run those that are named, or all."""
    for path in map(Path, sys.argv[1:] or sorted([HERE / "quickstart.ipynb", *HERE.glob("gallery/*.ipynb")])):
        begin = time.monotonic()
        run(path)
        print(f"{path}: {time.monotonic() - begin:.0f} s, {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
