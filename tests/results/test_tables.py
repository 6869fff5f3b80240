"""Tables are complete, equal for equal rows, and refused when damaged."""

import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from dovision.measurement.condition import Condition, effect_rows, probability_margin, sample_rows, task_entropy
from dovision.propagation import Outcome
from dovision.results import tables
from dovision.results.tables import TableWriter, effects_schema, read_effects, read_samples, row_groups, write_table
from dovision.types import Batch, Box, Task

TASK = Task("multiclass", ("cat", "dog"))


def rows(samples, condition="clean"):
    """Two units of two classes for each sample; every number follows from the sample."""
    control = torch.stack([torch.tensor([0.0, float(s % 3)]) for s in samples])
    treated = control.unsqueeze(1) + torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    boxes = [[Box(0, 0, 2, 2), None]] * len(samples)
    outcome = Outcome(("left", "right"), control, treated)
    return effect_rows(condition, torch.tensor(list(samples)), outcome, boxes, TASK)


def write(path, batches):
    write_table(path, effects_schema(), batches)
    return path


def test_an_error_while_writing_leaves_nothing(tmp_path):
    with pytest.raises(pa.ArrowInvalid), TableWriter(tmp_path / "effects.parquet", effects_schema()) as table:
        table.write(pa.RecordBatch.from_pydict({"other": [1]}))
    assert list(tmp_path.iterdir()) == []


def test_the_bytes_do_not_depend_on_how_the_rows_were_cut(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "ROW_GROUP", 50)
    whole = write(tmp_path / "a.parquet", [rows(range(40))])
    cut = write(tmp_path / "b.parquet", [rows(range(7)), rows(range(7, 8)), rows(range(8, 40))])
    assert whole.read_bytes() == cut.read_bytes()
    assert [pq.ParquetFile(whole).metadata.row_group(i).num_rows for i in range(4)] == [50, 50, 50, 10]


def test_only_the_rows_of_the_samples_that_are_asked_for_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "ROW_GROUP", 16)
    write(tmp_path / "effects.parquet", [rows(range(40))])
    frame = read_effects(tmp_path, [3, 17])
    assert frame["sample"].tolist() == [3] * 4 + [17] * 4
    assert len(list(row_groups(tmp_path / "effects.parquet", samples=[3, 17]))) == 2
    assert read_effects(tmp_path, [99]).empty


@pytest.mark.parametrize("damage", ["empty", "truncated", "flipped", "text"])
def test_a_damaged_table_is_named_with_the_remedy(tmp_path, damage):
    path = write(tmp_path / "effects.parquet", [rows(range(500))])
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        content[200] ^= 0xFF
    new = {"empty": b"", "truncated": content[: len(content) // 2], "flipped": content, "text": b"PAR1 no"}[damage]
    path.write_bytes(new)
    with pytest.raises(ValueError, match=rf"{path} must be a parquet table, got a damaged file.*Delete the folder"):
        list(row_groups(path))


@pytest.mark.parametrize("metadata", [None, {"dovision_format": "0"}])
def test_a_table_of_another_format_is_refused_with_the_remedy(tmp_path, metadata):
    schema = effects_schema().with_metadata(metadata)
    pq.write_table(pa.Table.from_batches([rows([0])]).cast(schema), tmp_path / "effects.parquet")
    with pytest.raises(ValueError, match=r"must be of table format 5, got (none|0)\. Run the evaluation again"):
        read_effects(tmp_path, [0])


def test_a_table_without_rows_is_refused(tmp_path):
    write_table(tmp_path / "samples.parquet", tables.samples_schema(TASK), [])
    with pytest.raises(ValueError, match=r"samples\.parquet must have rows, got none"):
        read_samples(tmp_path)


LABELS = Task("multilabel", ("nodule", "mass"))


def logit(*probability):
    return torch.tensor(probability).logit()


def odds(*probability):
    """Logits of a two-class softmax with these probabilities of the first class."""
    return torch.stack([logit(*probability), torch.zeros(len(probability))], dim=-1)


def one(task=TASK, label=(0, 1), control=None, treated=None):
    """Rows of two clean images and a unit that acts on both."""
    control = odds(0.75, 0.75) if control is None else control
    outcome = Outcome(("unit",), control, odds(0.5, 0.75).unsqueeze(1) if treated is None else treated)
    images = Batch(torch.full((2, 1, 2, 2), 0.5), torch.as_tensor(label), torch.tensor([10, 11]), torch.tensor([5, 5]))
    clean = Condition("clean", 0.0, images, control, task.correct(task.probability(control), images.label))
    done = torch.ones(2, outcome.treated.shape[1]) > 0
    return sample_rows(clean, clean, outcome, done, ["a.png", "b.png"], task).to_pydict()


def test_a_clean_condition_has_hand_worked_numbers_and_no_success():
    rows = one()
    assert (rows["sample"], rows["group"], rows["name"]) == ([10, 11], [5, 5], ["a.png", "b.png"])
    assert (rows["condition"], rows["eps"]) == (["clean"] * 2, [0.0] * 2)
    assert (rows["label"], rows["prediction"], rows["correct"]) == ([0, 1], [0, 0], [True, False])
    assert rows["probability"] == pytest.approx([0.75] * 2)
    assert [list(map(float, each)) for each in rows["probabilities"]] == [pytest.approx([0.75, 0.25])] * 2
    assert rows["logits"] == odds(0.75, 0.75).tolist()
    assert rows["margin"] == pytest.approx([0.5] * 2)
    assert rows["entropy"] == pytest.approx([-0.75 * math.log(0.75) - 0.25 * math.log(0.25)] * 2)
    assert rows["success"] == rows["success_8bit"] == [None] * 2
    assert rows["linf"] == rows["l2"] == [0.0] * 2
    # first image: effects -1/4 and +1/4, expected effect = .75 * -.25 + .25 * .25 = -1/8; second: none
    assert rows["mean_abs_expected_effect"] == pytest.approx([0.125, 0.0])


def test_several_labels_are_right_only_together():
    label = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    control = torch.stack([logit(0.9, 0.2), logit(0.9, 0.2)])
    treated = torch.stack([logit(0.4, 0.2), logit(0.9, 0.7)]).unsqueeze(1)
    rows = one(LABELS, label, control, treated)
    assert rows["label"] == [[1, 0], [1, 1]]
    assert rows["prediction"] == [[1, 0], [1, 0]]
    assert rows["correct"] == [True, False]
    assert rows["margin"] == pytest.approx([0.6] * 2)
    # |expected effect| a label: .9 * .5 and 0; 0 and .2 * .5; the mean over two labels
    assert rows["mean_abs_expected_effect"] == pytest.approx([0.225, 0.05])


def test_a_label_that_is_not_known_is_minus_one_and_cannot_be_said_wrongly():
    logits = torch.stack([logit(0.9, 0.2), logit(0.9, 0.2)])
    rows = one(LABELS, [[1.0, torch.nan], [torch.nan, 1.0]], logits, logits.unsqueeze(1))
    assert rows["label"] == [[1, -1], [-1, 1]]
    assert rows["correct"] == [True, False]


def test_entropy_and_margin_are_those_of_the_answer():
    probability = torch.tensor([[1.0, 0.0], [0.5, 0.5]])
    for task, bits in ((TASK, 1), (LABELS, 2)):
        assert task_entropy(probability, task).tolist() == pytest.approx([0.0, bits * math.log(2)])
    assert probability_margin(torch.tensor([[0.2, 0.7, 0.1]]), TASK).tolist() == pytest.approx([0.5])
    assert probability_margin(torch.tensor([[0.2, 0.55]]), LABELS).tolist() == pytest.approx([0.1])


def test_mean_abs_expected_effect_does_not_let_units_cancel():
    control, treated = odds(0.5, 0.8), torch.stack([odds(0.75, 0.9), odds(0.75, 0.7)], dim=1)
    treated[0, 1] = treated[0, 1].flip(-1)
    # effects +-1/4 of both classes at equal weights: expected effect = 0 for each unit of a balanced control;
    # and .8 * .1 - .2 * .1 = .06, and -.06
    means = one(control=control, treated=treated)["mean_abs_expected_effect"]
    assert means == pytest.approx([0.0, 0.06], abs=1e-6)


def effects(task=TASK, control=None, treated=None, regions=None, images=slice(None)):
    control = odds(0.75, 0.5) if control is None else control
    treated = torch.stack([odds(0.5, 0.5), odds(0.75, 0.25)], dim=1) if treated is None else treated
    outcome = Outcome(("u0", "u1"), control[images], treated[images])
    where = (regions or [[None, Box(0, 1, 2, 3)], [None, None]])[images]
    return effect_rows("clean", torch.tensor([3, 4])[images], outcome, where, task).to_pydict()


def test_the_expected_effect_of_a_unit_is_one_number_for_all_classes_but_one_per_label():
    assert effects()["expected_effect"] == pytest.approx([-0.125, -0.125, 0, 0, 0, 0, 0, 0], abs=1e-6)
    control = torch.stack([logit(0.8, 0.5), logit(0.8, 0.5)])
    treated = torch.stack([logit(0.3, 0.5), logit(0.8, 0.9)]).expand(2, 2, 2)
    assert effects(LABELS, control, treated)["expected_effect"] == pytest.approx([-0.4, 0, 0, 0.2] * 2, abs=1e-6)


def test_logits_that_do_not_fit_the_units_are_refused():
    with pytest.raises(ValueError, match=r"treated must have shape \(B, U, K\) = \(2, 2, 2\), got \(2, 1, 2\)"):
        effects(treated=odds(0.5, 0.5).unsqueeze(1))
