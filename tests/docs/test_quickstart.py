"""docs/quickstart.ipynb runs from its first cell to its last."""

import json
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).resolve().parents[2] / "docs" / "quickstart.ipynb"


@pytest.mark.slow
def test_the_quickstart_runs():
    nbclient = pytest.importorskip("nbclient", reason="nbclient is missing: pip install nbclient ipykernel")
    nbformat = pytest.importorskip("nbformat")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, startup_timeout=300, kernel_name="python3").execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert "the strongest effect on 7: 0." in "".join(output.get("text", "") for output in outputs)
    shown = [output.get("data", {}) for output in outputs]
    assert sum("image/png" in data for data in shown) == 2  # of plot(...)
    pages = [data["text/html"] for data in shown if "text/html" in data]
    assert sum('src="data:image/png' in page for page in pages) == 4  # of results as they are
    assert any("epsilon 0.1 succeeds on" in page for page in pages)


def test_the_quickstart_is_stored_as_one_run_from_its_first_cell_to_its_last():
    cells = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1)), "run make gallery"
