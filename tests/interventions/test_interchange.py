import numpy as np
import pytest
import torch

import dovision as dv
from dovision.propagation import Propagation

SOURCE = torch.rand(4, 3, 14, 17, generator=torch.Generator().manual_seed(5))


def test_a_tensor_has_a_source_for_each_sample_or_one_for_all(context):
    batch = context.batch._replace(sample=torch.tensor([2, 0, 3, 1]))
    assert torch.equal(dv.Interchange(SOURCE).sources(batch), SOURCE[[2, 0, 3, 1]])
    assert torch.equal(dv.Interchange(SOURCE[:1]).sources(batch), SOURCE[[0, 0, 0, 0]])
    with pytest.raises(ValueError, match="a source for each sample, or one for all, got 3 for sample 3"):
        dv.Interchange(SOURCE[:3]).sources(batch)


@pytest.mark.parametrize("source_class", ["same", "other"])
def test_sources_are_of_the_same_or_of_another_class_and_never_the_image_itself(source_class):
    many = dv.Phantom("multiclass", ("healthy", "disease"), (1, 64, 64), "disease", 0.0, None, 1, 1, 40, seed=0)
    value = dv.ClassInterchange(source_class, seed=3)
    value.bind(many, "test")
    classes = many.strata("test")
    sources = [value.source_of(sample) for sample in range(40)]
    assert ((classes[sources] == classes) == (source_class == "same")).all()
    assert not (np.array(sources) == np.arange(40)).any()
    assert len(set(sources)) > 10
    again = dv.ClassInterchange(source_class, seed=3)
    again.bind(many, "test")
    assert [again.source_of(sample) for sample in range(39, -1, -1)] == sources[::-1]


def test_at_the_input_the_counterfactual_is_the_counterfactual_intervention(phantom, films):
    one = dv.Activation(dv.INPUT, None, dv.CounterfactualInterchange("all labelled"))
    other = dv.Counterfactual()
    for each in (one, other):
        each.bind(phantom, "test")
    shape, unit = phantom.shape, other.units(phantom.shape).index("all labelled")
    for sample in range(8):
        context = films.rows([sample])
        context = context._replace(source=one.sources(context.batch))
        assert one.region(shape, 0, sample) == other.region(shape, unit, sample)
        image = context.batch.image
        assert torch.equal(one.apply(image, 0, context), other.apply(image, unit, context))


def test_at_the_input_it_is_the_classifier_on_pasted_pixels(context):
    image, names = context.batch.image, ["r0c0", "r3c5", "r13c16"]
    batch = context.batch._replace(sample=torch.arange(len(image)))  # from 0 on, as in a notebook
    for unit, choose in (("position", names), ("channel", [0, 2]), (None, None)):
        swap = dv.Activation(dv.INPUT, unit, dv.Interchange(SOURCE), choose)
        found = Propagation(context.classifier, swap)(batch)
        for number, name in enumerate(found.units):
            pasted = image.clone()
            if unit == "channel":
                place = (slice(None), int(name[1:]))
            else:
                place = (..., *map(int, name[1:].split("c"))) if unit else ...
            pasted[place] = SOURCE[place]
            with torch.no_grad():
                expected = context.classifier(pasted)
            torch.testing.assert_close(found.treated[:, number], expected, rtol=0, atol=1e-6)


def test_the_reference_mean_is_that_of_the_site_over_the_reference_images(context):
    found = Propagation(context.classifier, dv.Activation("1", value=dv.ReferenceMean(images=SOURCE), choose=[2]))(
        context.batch
    )
    network = context.classifier.network
    with torch.no_grad():
        normalised = [
            (each - context.classifier.mean) / context.classifier.std for each in (context.batch.image, SOURCE)
        ]
        value, reference = (network[:2](each) for each in normalised)
        value[:, 2] = reference[:, 2].mean(0)
        torch.testing.assert_close(found.treated[:, 0], network[2:](value), rtol=0, atol=1e-5)


def test_reference_images_are_the_first_ones_of_a_split(phantom):
    value = dv.ReferenceMean(3, "test")
    with pytest.raises(ValueError, match="must have reference images, got none"):
        value.references()
    value.bind(phantom, "test")
    split = phantom.split("test")
    assert torch.equal(value.references(), torch.stack([split[sample].image for sample in range(3)]))


SCENE = [
    (0, "lamp0", "lit", 1, 1, 3, 4),
    (0, "lamp1", "lit", 6, 6, 9, 8),
    (0, "tag", None, 10, 0, 12, 2),
    (1, "lamp0", "lit", 1, 1, 3, 4),
    (2, "tag", None, 10, 0, 12, 2),
]


def bound(images) -> dv.Counterfactual:
    intervention = dv.Counterfactual()
    intervention.bind(images, "test")
    return intervention


def test_units_are_the_objects_and_all_that_speak_for_a_class_together(lamps):
    images = lamps(SCENE)
    assert bound(images).units(images.shape) == ("lamp0", "lamp1", "tag", "all labelled")
    assert bound(lamps(SCENE[4:])).units(images.shape) == ("tag",)


def test_the_region_of_several_objects_is_the_box_around_them_and_of_none_empty(lamps):
    images = lamps(SCENE)
    intervention = bound(images)
    assert [intervention.region(images.shape, unit, 0) for unit in (1, 3)] == [dv.Box(6, 6, 9, 8), dv.Box(1, 1, 9, 8)]
    assert intervention.region(images.shape, 3, 1) == dv.Box(1, 1, 3, 4)
    assert [intervention.region(images.shape, unit, 2).area for unit in (0, 1, 3)] == [0, 0, 0]


def test_on_clean_films_do_is_the_datasets_counterfactual_bit_for_bit(phantom, films):
    intervention = bound(phantom)
    units = intervention.units(phantom.shape)
    seen = set()
    for sample in range(len(films.batch.image)):
        present = phantom.objects("test", sample)
        lesions = [obj for obj in present if obj not in ("tag", "rib")]
        one = films.rows([sample])
        for unit, name in enumerate(units):
            left_out = lesions if name == "all labelled" else [obj for obj in present if obj == name]
            treated = intervention.apply(one.batch.image, unit, one)[0]
            assert torch.equal(treated, phantom.counterfactual("test", sample, *left_out))
            seen |= {name} if left_out else set()
    assert seen == set(units)


def test_on_attacked_films_the_change_is_that_of_the_clean_ones(phantom, films):
    intervention = bound(phantom)
    noise = 0.02 * torch.randn(films.batch.image.shape, generator=torch.Generator().manual_seed(0))
    attacked = (films.batch.image + noise).clamp(0, 1)
    unit = intervention.units(phantom.shape).index("rib")
    for sample in range(4):
        one = films.rows([sample])
        change = phantom.counterfactual("test", sample, "rib").double() - one.batch.image.double()
        treated = intervention.apply(attacked[[sample]], unit, one)
        torch.testing.assert_close(treated.double(), (attacked[[sample]] + change).clamp(0, 1), atol=1e-6, rtol=0)
