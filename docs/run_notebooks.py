"""Run the notebooks of the site, all or those named, and store what they print and draw: `make gallery`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).parent


def run(path: Path) -> None:
    """Run a notebook in its folder, and write it back with its outputs, without times of its cells and warnings."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(path.parent)}}).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # the times of its start and end
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    notebook.metadata = {"kernelspec": notebook.metadata.get("kernelspec"), "language_info": {"name": "python"}}
    nbformat.write(notebook, path)


def main() -> None:
    """Run those that are named, or all."""
    for path in map(Path, sys.argv[1:] or sorted([HERE / "quickstart.ipynb", *HERE.glob("gallery/*.ipynb")])):
        begin = time.monotonic()
        run(path)
        print(f"{path}: {time.monotonic() - begin:.0f} s, {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
