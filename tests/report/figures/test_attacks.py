"""Success label by label, against hand counts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dovision.report.figures.results import Attacks, label_success
from dovision.report.report_figure import latex_table
from dovision.results.run_record import Run
from dovision.results.tables import SAMPLES, TableWriter, samples_schema
from dovision.results.to_arrow import CleanImages, mean_effects, sample_columns
from dovision.types import Batch, Task

TASK = Task("multilabel", ("nodule", "opacity"))
LABEL = torch.tensor([[1, 0], [1, 1], [0, torch.nan], [1, 1]])
BEFORE = torch.tensor([[1, 0], [1, 0], [0, 1], [1, 1]])  # the opacity of the second image is missed
AFTER = torch.tensor([[0, 0], [1, 0], [0, 0], [0, 0]])


@pytest.fixture
def folder(tmp_path):
    batch = Batch(torch.zeros(4, 1, 2, 2), LABEL, torch.arange(4), torch.arange(4))
    before = TASK.correct(BEFORE.float(), LABEL)
    with TableWriter(tmp_path / SAMPLES, samples_schema(TASK)) as table:
        for condition, answers in (("clean", BEFORE), ("eps=0.1", AFTER)):
            logits = answers * 8.0 - 4
            attacked = CleanImages(batch.image, before, logits_8bit=logits) if condition != "clean" else None
            rows = sample_columns(
                condition=condition, eps=0.1 if attacked else 0.0, batch=batch, names=list("abcd"), task=TASK,
                logits=logits, means=mean_effects(logits, logits.unsqueeze(1), TASK), clean=attacked,
            )  # fmt: skip
            table.write(rows)
    return tmp_path


@pytest.mark.usefixtures("few_images")
def test_a_label_counts_where_it_is_known_and_was_right(folder):
    frame = label_success(folder).set_index("class")
    assert frame[["known", "right"]].to_numpy().tolist() == [[4, 4], [3, 2]]
    # nodule: beaten on the first and the last of four; opacity: of the first and the last, beaten on the last
    np.testing.assert_allclose(frame["success"], [2 / 4, 1 / 2])
    np.testing.assert_allclose(frame["robust_accuracy"], [2 / 4, 1 / 3])
    assert (frame["success_low"] <= frame["success"]).all()


@pytest.fixture
def report_figure(folder):
    run = Run(folder, "", "completed", {}, {}, {})
    (report_figure,) = Attacks(order=0).of_run(run)
    return report_figure


def test_the_table_has_a_row_for_each_label_and_condition(report_figure):
    table = report_figure.table[["condition", "known", "right when clean"]]
    assert table.T.to_dict("list") == {"nodule": ["epsilon 0.1", "4", "4"], "opacity": ["epsilon 0.1", "3", "2"]}


def test_the_table_is_set_by_latex_and_fits_its_column(report_figure, typeset):
    assert "Overfull" not in typeset(latex_table(report_figure.table, report_figure.caption, report_figure.name))


def test_classes_that_exclude_each_other_and_runs_without_an_attack_have_none(tmp_path, write_run, map_run):
    write_run(tmp_path, images=4, maps=0)
    assert label_success(tmp_path).empty
    assert label_success(map_run).empty
