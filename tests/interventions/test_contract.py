"""Contract of every intervention: each yaml of conf/intervention is found and tested unlisted."""

import functools
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from torch import Tensor

import dovision as dv
import made_config
from dovision.config.component import Component
from dovision.datasets.phantom import Phantom
from dovision.interfaces import Classifier, Context, Intervention
from dovision.propagation import Propagation
from dovision.propagation.layouts import presented_site
from dovision.propagation.whole_passes import WholePasses
from dovision.types import INPUT, TOKENS, Box
from made_second_device import COUNTS, check

CONF = Path(__file__).resolve().parents[2] / "conf"


def names(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


NEEDED = {"add": ["intervention.value.direction=[1,0,2,0,-1]"]}
SETS = ["intervention.sets=pairs", "intervention.controls=1"]
POSITIONS = ["intervention.unit=position", "intervention.choose=[r0c0,r2c3,r29c29]"]
CHOICES = [
    *([f"+intervention={name}", *NEEDED.get(name, [])] for name in names("intervention")),
    *(["+intervention=pixel_grid", f"fill@intervention.fill={name}"] for name in names("fill")),
    *(["+intervention=transform", f"transform@intervention.transforms.median2={name}"] for name in names("transform")),
    *(
        ["+intervention=activation", *own, f"value@intervention.value={name}", *NEEDED.get(name, [])]
        for name in names("value")
        for own in ([], SETS, POSITIONS, POSITIONS + SETS)
    ),
]


@functools.cache
def composed(*choice: str) -> DictConfig:
    return made_config.composed(*choice, "+seed=3", command=None)


@pytest.fixture(scope="session")
def mask_folder(phantom: Phantom, tmp_path_factory) -> Path:
    """A label map for each film, of two masks that no two films have alike."""
    folder = tmp_path_factory.mktemp("masks")
    for sample, name in enumerate(phantom.table("test")["name"]):
        labels = np.zeros(phantom.shape[1:], dtype=np.uint8)
        labels[np.tril_indices(12 + sample)], labels[40:50, sample : sample + 9] = 255, 1
        Image.fromarray(labels).save(folder / f"{name}.png")
    return folder


def made(choice: list[str], mask_folder: Path) -> Intervention:
    config = OmegaConf.to_container(composed(*choice).intervention, resolve=True)
    if "root" in config:
        config |= {"root": str(mask_folder), "units": {"triangle": 255, "square": 1}, "files": "{name}.png"}
    return Component("intervention", config).make()


@pytest.fixture(scope="module", params=CHOICES, ids=lambda choice: " ".join(choice).replace("intervention", ""))
def intervention(request, phantom: Phantom, mask_folder: Path) -> Intervention:
    intervention = made(request.param, mask_folder)
    intervention.bind(phantom, "test")
    return intervention


@pytest.mark.parametrize("name", names("intervention"))
def test_it_can_be_sent_to_another_process_before_it_has_images(name, mask_folder):
    intervention = made([f"+intervention={name}", *NEEDED.get(name, [])], mask_folder)
    assert type(pickle.loads(pickle.dumps(intervention))) is type(intervention)


@pytest.fixture(scope="module")
def images(films: Context, transformer: Classifier, intervention: Intervention) -> Context:
    """A film with all kinds of parts, two with some, and one with the rib alone."""
    classifier = transformer if intervention.site == TOKENS else films.classifier
    return films._replace(classifier=classifier).rows([3, 1, 2, 7])


@pytest.fixture(scope="module")
def value(intervention: Intervention, images: Context) -> Tensor:
    """What the site holds: the images, or a code or feature map for them."""
    return at_site(intervention, images, images.batch.image)


@pytest.fixture(scope="module")
def context(intervention: Intervention, images: Context) -> Context:
    """The condition with all that the intervention asks for."""
    source, reference = intervention.sources(images.batch), intervention.references()
    return images._replace(
        source=None if source is None else at_site(intervention, images, source),
        reference=None if reference is None else at_site(intervention, images, reference).mean(0),
    )


@torch.no_grad()
def at_site(intervention: Intervention, context: Context, image: Tensor) -> Tensor:
    return plain_pass(intervention, context).clean(image).site


def chosen_units(intervention: Intervention, value: Tensor) -> range:
    """The numbers of some units, the last among them."""
    count = len(intervention.units(tuple(value.shape[1:])))
    return range(count - 1, -1, -(count // 6 | 1))  # odd, so that no pattern of names is missed


def regions(intervention: Intervention, value: Tensor, unit: int, context: Context) -> list[Box | None]:
    return [intervention.region(tuple(value.shape[1:]), unit, int(sample)) for sample in context.batch.sample]


def plain_pass(intervention: Intervention, context: Context) -> WholePasses:
    return WholePasses(
        context.classifier, presented_site(context.classifier, intervention, tuple(context.batch.image.shape[1:]))
    )


def row(value: Tensor, context: Context, index: int) -> tuple[Tensor, Context]:
    return value[index : index + 1], context.rows(slice(index, index + 1))  # views: an edit in place is seen


def test_there_are_units_and_their_names_differ(intervention, value):
    units = intervention.units(tuple(value.shape[1:]))
    assert units
    assert len(set(units)) == len(units)


def test_regions_lie_inside_the_value_and_do_returns_their_new_one(intervention, value, context):
    for unit in chosen_units(intervention, value):
        for index, region in enumerate(regions(intervention, value, unit, context)):
            one, condition = row(value, context, index)
            if region is not None:
                assert 0 <= region.top <= region.bottom <= value.shape[-2]
                assert 0 <= region.left <= region.right <= value.shape[-1]
            expected = one.shape if region is None else region.crop(one).shape
            new = intervention.do(one, unit, condition)
            if intervention.shortens:
                assert 0 < new.shape[2] < expected[2]
                expected = torch.Size([*expected[:2], new.shape[2], *expected[3:]])
            assert new.shape == expected
            assert new.dtype == value.dtype


def test_nothing_outside_the_region_changes(intervention, value, context):
    for unit in chosen_units(intervention, value):
        for index, region in enumerate(regions(intervention, value, unit, context)):
            one, condition = row(value, context, index)
            if region is not None:
                changed = intervention.apply(one, unit, condition) != one
                mask = intervention.mask(tuple(value.shape[1:]), unit, int(condition.batch.sample))
                region.crop(changed)[..., slice(None) if mask is None else torch.from_numpy(mask)] = False
                assert not changed.any()


def test_the_value_is_not_written_to(intervention, value, context):
    before, image = value.clone(), context.batch.image.clone()
    for unit in chosen_units(intervention, value):
        one, condition = row(value, context, 0)
        intervention.apply(one, unit, condition)
    assert torch.equal(value, before)
    assert torch.equal(context.batch.image, image)


def test_the_same_unit_gives_the_same_value_whatever_was_drawn_before(intervention, value, context):
    one, condition = row(value, context, 1)
    for unit in chosen_units(intervention, value):
        first = intervention.apply(one, unit, condition)
        torch.rand(5)
        assert torch.equal(intervention.apply(one, unit, condition), first)


def test_samples_do_not_depend_on_their_company(intervention, value, context):
    for unit in chosen_units(intervention, value):
        if len(set(regions(intervention, value, unit, context))) > 1:
            continue  # samples of different regions do not share a call
        together = intervention.apply(value, unit, context)
        for index in range(len(value)):
            one, condition = row(value, context, index)
            torch.testing.assert_close(together[[index]], intervention.apply(one, unit, condition), rtol=0, atol=1e-6)


def test_treated_images_stay_in_the_range_of_images(intervention, value, context):
    if intervention.site != INPUT:
        pytest.skip("not an edit of the image")
    for unit in chosen_units(intervention, value):
        one, condition = row(value, context, 2)
        treated = intervention.apply(one, unit, condition)
        assert treated.min() >= 0
        assert treated.max() <= 1


def test_propagation_gives_what_a_plain_pass_gives_on_the_applied_edit(intervention, value, context):
    if intervention.second is not None:
        pytest.skip("edits at two sites")
    treated, plain = (
        Propagation(context.classifier, intervention)(context.batch).treated,
        plain_pass(intervention, context),
    )
    for unit in chosen_units(intervention, value):
        for index in range(len(value)):
            one, condition = row(value, context, index)
            with torch.no_grad():
                edited = intervention.apply(one, unit, condition)
                expected = plain.forward(condition.batch.image, edited)
            torch.testing.assert_close(treated[[index], unit], expected, rtol=0, atol=1e-5)


def test_a_second_device_gives_the_same_logits(intervention, images):
    def treated(intervention, batch, classifier):
        propagation, passes = Propagation(classifier, intervention), []
        propagation(batch)  # chooses the engine
        COUNTS.clear()
        logits = propagation(batch, passes.append).treated
        COUNTS["chunks"] = len(passes) - 1
        return logits

    check(treated, intervention, images.batch, images.classifier)
    if intervention.second is None and intervention.canvas(images.batch.image, images) is not None:
        assert COUNTS["synchronisations"] <= 5
        assert COUNTS["uploads"] <= COUNTS["chunks"] + 3


def test_an_attack_of_a_map_runs_on_a_second_device():
    classifier, digits = dv.example()
    edit = dv.Perturbation(dv.Square(eps="8/255", queries=40))
    call = lambda classifier, image: dv.effect_map(classifier, image, edit, device=image.device).effect  # noqa: E731
    check(call, classifier, digits.image)
