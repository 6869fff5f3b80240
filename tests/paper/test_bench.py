"""The figure of the benchmark is that of its table, or an error that says how to get one."""

import pytest

from paper.bench import bench_figure

TABLE = """what,images,peer,ratio,seconds
"grid, vgg16, 14 x 14",1,captum FeatureAblation,7.5,1.0
"grid, vgg16, 14 x 14",1,plain loop,9.0,1.0
"share of forward passes",8,wall time,0.9,
"memory, vgg16",10,none,,
"""


def test_each_ratio_has_a_mark_and_the_machine_is_told(tmp_path):
    (tmp_path / "table.csv").write_text(TABLE)
    (tmp_path / "table.md").write_text("some processor, 2 cores\n\nwhat | images\n")
    report_figure = bench_figure(tmp_path)
    assert [line.get_xdata().tolist() for line in report_figure.figure.axes[0].lines[:2]] == [[7.5], [9.0]]
    assert len(report_figure.data) == 2
    assert report_figure.caption.endswith("some processor, 2 cores")


def test_without_a_table_the_command_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"table\.csv must be the table of the benchmark.*make bench"):
        bench_figure(tmp_path)


def test_another_table_is_refused(tmp_path):
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"must have a column images, got a, b\. Run make bench"):
        bench_figure(tmp_path)
