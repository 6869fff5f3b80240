"""A figure of one's own, a .py and a .yaml in a folder given to the command, is on the page, in files and in W&B."""

import html
import shutil

import pytest

from dovision.jobs.hydra_main import report
from dovision.results.run_record import read_sweep

CODE = """
from matplotlib.figure import Figure

from dovision.report.report_figure import FigureComponent, ReportFigure


class Pulse(FigureComponent):
    def of_run(self, run):
        return [self.drawn("pulse", [run])]

    def of_sweep(self, runs):
        return [self.drawn("pulses", runs)] if runs else []

    def drawn(self, name, runs):
        frame = __import__("pandas").DataFrame({"images": [len(runs)]})
        figure = Figure()
        figure.subplots().plot(frame["images"])
        return ReportFigure(name, f"The {name}", "Beats. n = 1.", figure, frame)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder for --config-dir."""
    (tmp_path / "own_parts").mkdir()
    (tmp_path / "own_parts" / "pulse.py").write_text(CODE)
    (tmp_path / "conf" / "figure").mkdir(parents=True)
    (tmp_path / "conf" / "figure" / "pulse.yaml").write_text("_target_: own_parts.pulse.Pulse\norder: 5\n")
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path / "conf"


@pytest.mark.usefixtures("svg_only")
def test_a_report_has_it_on_the_page_at_its_place_and_in_files(folder, fitted, tmp_path, run_command):
    shutil.copytree(fitted / "evaluate", tmp_path / "digits")
    assert run_command(report, "--config-dir", str(folder), f"sweep={tmp_path / 'digits'}") == 0
    (run,) = read_sweep(tmp_path / "digits")
    files = tmp_path / "digits" / "report" / "figures"
    assert (files / "pulses.svg").is_file()
    assert (files / "pulses.csv").read_text() == "images\n1\n"
    assert (files / run.folder.name / "pulse.csv").is_file()
    page = (tmp_path / "digits" / "report" / "index.html").read_text()
    titles = [f'id="run0-{name}-title"' for name in ("classes", "overlay", "pulse")]
    assert sorted(titles, key=page.index) == titles
    assert 'id="pulses-title"' in page


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("_target_: dovision.interventions.fills.Mean\n", "figure.pulse must be a FigureComponent"),
        ("_target_: own_parts.pulse.Pulse\norder: abc\n", "figure.pulse: order must be"),
    ],
)
def test_a_yaml_that_is_no_figure_is_refused_in_a_sentence(
    yaml, message, folder, fitted, run_command, capsys, tmp_path
):
    (folder / "figure" / "pulse.yaml").write_text(yaml)
    sweep, output = fitted / "evaluate", tmp_path / "out"
    assert run_command(report, "--config-dir", str(folder), f"sweep={sweep}", f"output={output}") == 1
    assert message in capsys.readouterr().err


@pytest.mark.usefixtures("svg_only")
@pytest.mark.parametrize(
    ("module", "right", "wrong", "error"),
    [
        ("own_broken", "return [self", "return [][1], [self", "IndexError: list index out of range"),
        ("own_taking", '"pulse"', '"overlay"', "ValueError: the name of a figure must be no other one's, got"),
    ],
)
def test_one_that_raises_or_takes_a_name_is_left_out_and_named(
    module, right, wrong, error, folder, fitted, run_command, capsys, tmp_path
):
    (tmp_path / f"{module}.py").write_text(CODE.replace(right, wrong))
    (folder / "figure" / "pulse.yaml").write_text(f"_target_: {module}.Pulse\norder: 5\n")
    output = tmp_path / "out"
    assert run_command(report, "--config-dir", str(folder), f"sweep={fitted / 'evaluate'}", f"output={output}") == 1
    left_out = f"left out the figure {module}.Pulse: {error}"
    errors = capsys.readouterr().err
    assert left_out in errors
    assert "Traceback" not in errors
    text = (output / "index.html").read_text()
    assert left_out in html.unescape(text)
    assert "run0-overlay" in text
