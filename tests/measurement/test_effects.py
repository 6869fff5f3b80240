"""A classifier whose effects are known by hand: two classes, the log-odds are the sum of the pixels minus a half."""

import pyarrow.parquet as pq
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

import dovision as dv
from dovision.measurement.callback import ClassifierUnderTest, round_to_8_bits
from dovision.measurement.effects import named_classes
from dovision.propagation import propagation
from dovision.results.average_effect import average_effects
from dovision.results.summary import summarise
from dovision.results.thumbnails import PictureChoice, save_image, thumbnail_path
from made_trainer import quiet_trainer

TASK = dv.Task("multiclass", ("dark", "bright"))
PIXELS = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.9, 0.1, 0.0, 0.0], [0.0, 0.0, 0.0, 0.1]])


class Sum(nn.Module):
    def forward(self, image):
        total = image.sum((1, 2, 3)) - 0.5
        return torch.stack([torch.zeros_like(total), total], 1)


class Darken(dv.Attack):
    def run(self, batch, classifier, eps):
        return (batch.image - eps).clamp(0, 1)


class SomeCells(dv.PixelGrid):
    """All cells of sample 0, the first one of sample 1, and none of sample 2."""

    def region(self, shape, unit, sample):
        return super().region(shape, unit, sample) if unit < (4, 1, 0)[sample] else dv.Box(0, 0, 0, 0)


class Rows(torch.utils.data.Dataset):
    def __len__(self):
        return len(PIXELS)

    def __getitem__(self, index):
        image = PIXELS[index].reshape(1, 2, 2)
        label = (image.sum() > 0.5).long()
        return dv.Batch(image, label, torch.tensor(index), torch.tensor(index // 2))


def evaluate(folder, batch_size=2, eps=(0.25,), chunk="auto", cells=dv.PixelGrid, attack=None, **options):
    choice = PictureChoice(1, dict.fromkeys(range(3), 0))
    classifier = dv.Classifier(Sum(), TASK, [0.0], [1.0])
    resume = dv.Resume(1, options.pop("origin", {}))
    settings = dv.EffectOptions(**{"pictures": choice, "chunk": chunk, "resume": resume, **options})
    attacked = attack or Darken(list(eps))
    evaluation = dv.EffectEvaluation(cells(2, 2, dv.Constant(0.0)), folder, attacked, classifier, options=settings)
    trainer = quiet_trainer(evaluation)
    module = ClassifierUnderTest(classifier)
    trainer.test(module, DataLoader(Rows(), batch_size=batch_size), verbose=False)
    evaluation.logged = module.numbers
    return evaluation


def read(folder, name):
    return pq.read_table(folder / f"{name}.parquet").to_pandas()


def test_effects_are_those_of_the_sigmoid_worked_out_by_hand(tmp_path):
    evaluate(tmp_path)
    effects = read(tmp_path, "effects")
    bright = effects[(effects["class"] == "bright") & (effects["condition"] == "clean") & (effects["sample"] == 0)]
    control = torch.sigmoid(torch.tensor(0.5))
    treated = torch.sigmoid(torch.tensor([0.4, 0.3, 0.2, 0.1]))
    torch.testing.assert_close(torch.tensor(bright["effect"].to_numpy()), treated - control, atol=1e-6, rtol=0)
    log_odds = torch.tensor(bright["log_odds_effect"].to_numpy())
    torch.testing.assert_close(log_odds, torch.tensor([-0.1, -0.2, -0.3, -0.4]), atol=1e-6, rtol=0)
    assert list(bright["unit"]) == ["r0c0", "r0c1", "r1c0", "r1c1"]
    assert bright[["top", "left", "bottom", "right"]].to_numpy().tolist()[2] == [1, 0, 2, 1]


class FirstCell(dv.PixelGrid):
    """Cell number `sample` alone, and none of sample 0."""

    def region(self, shape, unit, sample):
        return super().region(shape, unit, sample) if unit == sample > 0 else dv.Box(0, 0, 0, 0)


@pytest.mark.parametrize("first", [0, 2])
def test_the_engine_is_chosen_by_the_first_image_of_the_split_that_has_a_unit_wherever_a_range_begins(
    tmp_path, monkeypatch, first
):
    tried, plain = [], propagation.choose_engine

    def choose(engines, whole, intervention, context):
        tried.append(context.batch.sample.item())
        return plain(engines, whole, intervention, context)

    monkeypatch.setattr(propagation, "choose_engine", choose)
    monkeypatch.setattr(Rows, "__len__", lambda rows: 3 - first)
    item = Rows.__getitem__
    job = DataLoader([item(None, number) for number in range(3)], batch_size=1)
    monkeypatch.setattr(Rows, "__getitem__", lambda rows, index: item(rows, index + first))
    evaluate(tmp_path, cells=FirstCell, attack=dv.NoAttack(), all_images=job)
    assert tried == [0, 1]  # of the range from image 2 on, too


def test_the_attacked_condition_is_measured_on_the_attacked_image(tmp_path):
    evaluate(tmp_path)
    effects = read(tmp_path, "effects")
    bright = effects[(effects["class"] == "bright") & (effects["condition"] == "eps=0.25") & (effects["sample"] == 0)]
    logit = (PIXELS[0] - 0.25).clamp(0).sum() - 0.5
    assert bright["control"].iloc[0] == pytest.approx(torch.sigmoid(logit).item(), abs=1e-6)
    assert bright["effect"].iloc[0] == 0  # the attack had already made this pixel black


def test_success_is_counted_among_images_that_were_right(tmp_path):
    evaluate(tmp_path)
    samples = read(tmp_path, "samples")
    attacked = samples[samples["condition"] == "eps=0.25"].set_index("sample")
    assert attacked["success"].tolist() == [True, False, False]  # 1.0 -> .2, 1.0 -> .65, and dark stays dark
    assert attacked["linf"].tolist() == pytest.approx([0.25, 0.25, 0.1])
    assert samples[samples["condition"] == "clean"]["success"].isna().all()


def test_rows_are_ordered_by_sample_then_condition_whatever_the_batch(tmp_path):
    for batch_size in (1, 2, 3):
        folder = tmp_path / str(batch_size)
        folder.mkdir()
        evaluate(folder, batch_size, eps=(0.1, 0.25), chunk=batch_size)
    one, *others = (read(tmp_path / str(size), "effects") for size in (1, 2, 3))
    assert one[["sample", "condition"]].drop_duplicates().to_numpy().tolist()[:4] == [
        [0, "clean"], [0, "eps=0.1"], [0, "eps=0.25"], [1, "clean"],
    ]  # fmt: skip
    for other in others:
        assert one.equals(other)


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_what_is_not_done_has_no_row_and_does_not_count_in_the_mean(tmp_path, batch_size):
    evaluate(tmp_path, batch_size, cells=SomeCells)
    effects, samples = read(tmp_path, "effects"), read(tmp_path, "samples")
    seen = effects[effects["class"] == "bright"][["sample", "condition", "unit"]].to_numpy().tolist()
    assert seen == [[0, name, f"r{r}c{c}"] for name in ("clean", "eps=0.25") for r in (0, 1) for c in (0, 1)] + [
        [1, "clean", "r0c0"], [1, "eps=0.25", "r0c0"],
    ]  # fmt: skip
    clean = samples[samples["condition"] == "clean"]["mean_abs_expected_effect"].tolist()
    p, q = torch.sigmoid(torch.tensor([0.5, -0.4])).tolist()  # of sample 1, before and after
    assert clean[1] == pytest.approx(abs(p * (q - p) + (1 - p) * (p - q)), abs=1e-6)
    assert clean[2] != clean[2]  # nan


def assert_logged_is_the_tables(logged, folder):
    """Each number of a condition in summary.json that is logged, and each average effect."""
    summary, averages = summarise(folder), average_effects(folder)
    expected = {
        f"{metric}/{condition}": found[metric]["estimate"]
        for condition, found in summary["conditions"].items()
        for metric in ("accuracy", "success_rate", "success_8bit", "robust_accuracy", "auroc", "auroc_paired",
                       "auroc_twins", "mean_abs_expected_effect", "mean_expected_logit_effect")
        if found[metric] is not None
    }  # fmt: skip
    for row in averages.itertuples():
        expected[f"average_effect/{row.condition}/{row.unit}/{row[3]}"] = row.mean
    assert logged == pytest.approx(expected, abs=1e-12)


@pytest.mark.usefixtures("few_images")
@pytest.mark.parametrize("cells", [dv.PixelGrid, SomeCells])
@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_the_numbers_of_the_tables_are_logged(tmp_path, batch_size, cells):
    evaluation = evaluate(tmp_path, batch_size, eps=(0.25, 8 / 255), cells=cells)
    assert_logged_is_the_tables(evaluation.logged, tmp_path)
    assert "success_rate/eps=0.25" in evaluation.logged
    assert evaluation.average_effects["clean"].shape == (4, 2)


def test_forward_passes_are_counted(tmp_path):
    """But for black cells on black: 5 of the clean images, 9 of those that are darker by 0.25."""
    evaluation = evaluate(tmp_path)
    assert evaluation.pass_facts["skipped_edits"] == 5 + 9
    assert evaluation.pass_facts["forward_passes"] == 3 * 2 * (1 + 4) - 14  # images, conditions, control and units


def test_a_reference_without_autoencoder_compares_with_the_classifier_under_test(tmp_path):
    evaluate(tmp_path, reference="without_autoencoder")
    control = read(tmp_path, "effects").query("condition == 'clean' and sample == 0 and `class` == 'bright'")["control"]
    assert control.iloc[0] == pytest.approx(torch.sigmoid(torch.tensor(0.5)).item(), abs=1e-6)


def pictured(folder):
    return sorted(path.name for path in (folder / "maps").iterdir())


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_pictures_are_kept_of_each_class_whatever_the_batch(tmp_path, batch_size):
    evaluate(tmp_path, batch_size)
    assert pictured(tmp_path) == ["0_clean.png", "0_eps-0.25.png"]
    for folder, classes in (("early", {0: 1, 1: 1, 2: 0}), ("late", {0: 0, 1: 0, 2: 1})):
        (tmp_path / folder).mkdir()
        evaluate(tmp_path / folder, batch_size, pictures=PictureChoice(2, classes))
    assert [name[0] for name in pictured(tmp_path / "early")] == ["0", "0", "2", "2"]
    assert [name[0] for name in pictured(tmp_path / "late")] == ["0", "0", "2", "2"]


def test_a_run_that_goes_on_keeps_the_pictures_of_a_whole_one(tmp_path):
    classes = {0: 1, 1: 1, 2: 0}  # sample 2 takes the place of sample 1
    with pytest.raises(RuntimeError):
        evaluate(tmp_path, batch_size=1, attack=Refusing([0.25]), pictures=PictureChoice(2, classes))
    assert [name[0] for name in pictured(tmp_path)] == ["0", "0", "1", "1"]
    save_image(thumbnail_path(tmp_path, 7, "clean"), torch.zeros(1, 2, 2))  # of a start that was killed
    evaluate(tmp_path, batch_size=1, pictures=PictureChoice(2, classes))
    assert [name[0] for name in pictured(tmp_path)] == ["0", "0", "2", "2"]


def test_an_error_in_the_middle_leaves_no_table_and_the_next_start_measures_only_the_rest(tmp_path):
    with pytest.raises(RuntimeError, match="no"):
        evaluate(tmp_path, attack=Refusing([0.25]))
    assert not list(tmp_path.glob("*.parquet"))
    (tmp_path / "whole").mkdir()
    whole = evaluate(tmp_path / "whole")
    measured = []
    resumed = evaluate(tmp_path, attack=Noted([0.25], measured))
    assert measured == [2]
    for table in ("samples.parquet", "effects.parquet"):
        assert (tmp_path / table).read_bytes() == (tmp_path / "whole" / table).read_bytes()
    assert resumed.pass_facts == whole.pass_facts
    assert resumed.attack_facts == whole.attack_facts
    again = evaluate(tmp_path, attack=Refusing([0.25]))  # which measures nothing
    assert resumed.logged == pytest.approx(whole.logged, abs=1e-12) == again.logged


class Noted(Darken):
    def __init__(self, eps, measured):
        super().__init__(eps)
        self.measured = measured

    def run(self, batch, classifier, eps):
        self.measured += batch.sample.tolist()
        return super().run(batch, classifier, eps)


class Refusing(Darken):
    def run(self, batch, classifier, eps):
        if 2 in batch.sample.tolist():
            raise RuntimeError("no")
        return super().run(batch, classifier, eps)


def test_eight_bits_are_the_256_levels_of_a_file():
    assert torch.equal(round_to_8_bits(torch.tensor([0.0, 0.4, 1.0])), torch.tensor([0.0, 102 / 255, 1.0]))


ONE, SEVERAL = dv.Task("multiclass", tuple("abcd")), dv.Task("multilabel", tuple("abcd"), (0.5, 0.5, 0.5, 0.9))
CLEAN, ATTACKED = torch.tensor([[4.0, 3, 2, 1]]), torch.tensor([[0.0, 3, 2, -1]])


def named(label, task=ONE, controls=(CLEAN, ATTACKED)):
    (mask,) = named_classes(task, torch.tensor(label), controls).tolist()
    return "".join(name for name, is_named in zip(task.classes, mask, strict=True) if is_named)


@pytest.mark.parametrize(("label", "expected"), [([3], "abd"), ([-1], "ab")])
def test_of_one_class_an_image_what_each_condition_predicts_and_the_label(label, expected):
    assert named(label) == expected


def test_of_several_labels_all_that_are_predicted_and_known_to_be_there():
    nan = float("nan")
    assert named([[0, 0, nan, 1]], SEVERAL) == "abcd"
    assert named([[0, 0, nan, 0]], SEVERAL) == "abc"  # the last one is below its threshold
    assert named([[0, 0, 0, 0]], SEVERAL, controls=[CLEAN - 9]) == "a"  # nothing is: the likeliest
