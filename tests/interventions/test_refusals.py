"""Errors of interventions: the call, and what its message says."""

import tempfile
from types import SimpleNamespace

import pytest
import torch

from dovision.attacks.none import NoAttack
from dovision.interfaces import Context
from dovision.interventions.activation import Activation
from dovision.interventions.brush import Brush
from dovision.interventions.counterfactual import Counterfactual
from dovision.interventions.edge_control import EdgeControl
from dovision.interventions.fills import Constant, Inpaint
from dovision.interventions.interchange import ClassInterchange, CounterfactualInterchange, Interchange
from dovision.interventions.joint import Joint
from dovision.interventions.mask_files import MaskFiles
from dovision.interventions.perturbation import Perturbation
from dovision.interventions.pixel_grid import PixelGrid
from dovision.interventions.region_box import RegionBox
from dovision.interventions.segments import Segments
from dovision.interventions.sliding_window import SlidingWindow
from dovision.interventions.token_drop import TokenDrop
from dovision.interventions.transform import Transform
from dovision.interventions.transforms import MedianFilter, NonLocalMeans, TransformSequence
from dovision.interventions.values import SampleMean, Steering
from dovision.propagation import Propagation
from dovision.types import CODE, INPUT, Box
from made_batches import batch_of

BLACK, GRID = Constant(0.0), PixelGrid(2, 3)
SOURCE = torch.rand(4, 3, 14, 17, generator=torch.Generator().manual_seed(5))
WHITE = torch.ones(1, 1, 4, 4, dtype=torch.bool)

PAIR = batch_of(torch.rand(2, 1, 4, 4))


def units(shape: tuple[int, ...] = (5, 6, 7), unit: str | None = "channel", **settings: object) -> object:
    return Activation(CODE, unit, **settings).units(shape)


def mask_files(**changed: object) -> MaskFiles:
    return MaskFiles(**({"root": tempfile.gettempdir(), "units": {"lung": 255}, "fill": BLACK} | changed))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: units(choose=[5]), "choose must be a whole number from 0 to 4, got 5"),
        (lambda: units(choose=[-1]), "choose must be a whole number from 0 to 4, got -1"),
        (lambda: units(choose=["c7"]), "choose must be one of c0, c1, c2, c3, c4, got 'c7'"),
        (lambda: units(choose=[1, 1]), r"choose must be at least 1 different units, .* got \[1, 1\]"),
        (lambda: units(choose=[]), "choose must be at least 1 different units"),
        (lambda: units((5,), "token"), "unit must be one that the site has, got 'token' for a value of shape"),
        (lambda: units((5,), "position"), "unit must be one that the site has, got 'position'"),
        (lambda: units((5,), "head"), "unit must be one that the site has, got 'head'"),
        (lambda: units(sets=[[0, 5]]), "sets must be a whole number from 0 to 4, got 5"),
        (lambda: units(sets=[[1, "c1"]]), "sets must be of different units"),
        (lambda: units(sets=[["c1"]]), "sets must be at least 2 different units"),
        (lambda: units(sets="triples"), "sets must be pairs, or a list of lists of units"),
        (lambda: units((1, 6, 7), sets="pairs"), "sets must not be larger than the units, got pairs of 1 unit"),
        (lambda: units(sets=[[0, 1, 2]], controls=1), r"controls must be 0 where .*, got 1 for c0\+c1\+c2 among 5"),
        (lambda: units(unit=None, controls=1), "must be without choose, sets and controls"),
        (lambda: Steering([0.0, 0.0], 1.0), "direction must be finite numbers"),
        (lambda: Steering([float("nan")], 1.0), "direction must be finite numbers"),
        (lambda: Interchange(SOURCE * 3), "images must lie in"),
        (lambda: Joint(GRID, Activation(INPUT)), "held must be an intervention at one other site .*, got site 'in"),
        (lambda: Joint(Joint(GRID, Activation("0")), Activation("1")), "first must be an intervention at one site"),
        (lambda: mask_files(files="mask.jpg"), r"files must be a pattern of {stem}, .*, {slice} that ends in .png, .*"),
        (lambda: mask_files(files="{sample}.png"), r"files must be a pattern .* got '{sample}.png'"),
        (lambda: mask_files(units=["lung"]), r"units must give each mask's number in a label map, such as {lung: 255}"),
        (lambda: mask_files(units={}), "units must name at least one mask, got none"),
        (lambda: mask_files(units={"lung": "white"}), "units.lung must be a whole number, got 'white'"),
        (lambda: mask_files().region((1, 8, 8), 0, 0), "must be bound to a dataset"),
        (lambda: RegionBox(BLACK, 1, 0).units((1, 9, 9)), r"must be bound to .*, got none. Call bind\(images, split\)"),
        (lambda: RegionBox(BLACK, 1, 0).region((1, 9, 9), 0, 0), "must be bound to a dataset, got none"),
        (lambda: Counterfactual().units((1, 9, 9)), "must be bound to a dataset, got none"),
        (lambda: Counterfactual().region((1, 9, 9), 0, 0), "must be bound to a dataset, got none"),
        (lambda: Segments(4).region((1, 8, 8), 0, 0), "must be bound to a dataset, got none"),
        (lambda: Brush(~WHITE[0, 0]), "masks must have a pixel, got an empty one for 'brush'"),
        (lambda: Brush(torch.ones(4, 4)), r"masks must be bool of shape .*, got torch.float32 .* mask > 0.5"),
        (lambda: Brush(WHITE), r"masks must be bool of shape .* got torch.bool of shape \(1, 1, 4"),
        (lambda: Brush({}), "masks must be at least one, got none"),
        (lambda: Brush(WHITE[0].expand(3, 4, 4)).for_images(PAIR), "masks must be one for all .* each of the 2"),
        (lambda: Inpaint()(SOURCE, Box(0, 0, 14, 17), None), "must have pixels around it, got all 14 x 17 .* smaller"),
        (lambda: Transform({}), r"transforms must be at least one, got none"),
        (lambda: Transform({"median": MedianFilter}), "got the class MedianFilter itself. Call it: MedianFilter"),
        (lambda: TransformSequence({}), "steps must be at least one, got none"),
        (lambda: NonLocalMeans(4, 5, 0.1), "patch_size must be odd, got 4"),
        (lambda: PixelGrid(5, 3).region((1, 4, 4), 0, 0), "at most 4 rows and 4 columns on a 4 x 4 image, got 5 x 3"),
        (lambda: Perturbation(NoAttack()), "attack must have at least one epsilon, got none in NoAttack"),
        (lambda: SlidingWindow(4, 5), "stride must be a whole number from 1 to 4, got 5"),
        (lambda: EdgeControl(Activation("relu")), "first must be an intervention that paints regions.*got Activation"),
        (lambda: mask_files(root="no/where"), r"root must be a folder of masks, but .*where is not one"),
        (lambda: Steering("a few", 1.0), "a few"),
    ],
)
def test_it_is_refused(call, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        call()


def bound(intervention: object, images: object) -> None:
    intervention.bind(images, "test")


def effects(known: SimpleNamespace, intervention: object) -> object:
    return Propagation(known.context.classifier, intervention)(known.context.batch)


def sources(known: SimpleNamespace, value: object) -> object:
    return Activation(INPUT, None, value).sources(known.films.batch)


def set_to(known: SimpleNamespace, value: object, site_value: torch.Tensor, unit: str | None = "channel") -> object:
    return Activation(CODE, unit, value).do(site_value, 0, known.context)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda k: set_to(k, SampleMean(), torch.ones(4, 3)), "got one value per channel. Set the unit to zero"),
        (lambda k: set_to(k, SampleMean(), torch.ones(4, 3, 1, 1)), "needs a site with several positions"),
        (lambda k: set_to(k, SampleMean(), SOURCE, None), "needs a unit, such as unit=channel, got the whole value"),
        (lambda k: set_to(k, Interchange(SOURCE), SOURCE), "needs the site's value of source images, got none"),
        (lambda k: sources(k, ClassInterchange("same", 0)), "must be bound to a dataset, got no source images"),
        (lambda k: sources(k, CounterfactualInterchange("tag")), r"got none. Call bind\(images, split\) first"),
        (lambda k: bound(ClassInterchange("same", 0), k.phantom), "another group, got none for sample 7"),
        (lambda k: bound(CounterfactualInterchange("tga"), k.phantom), "got 'tga'. Did you mean tag"),
        (lambda k: bound(RegionBox(BLACK, 1, 0, ["nodul"]), k.phantom), "got 'nodul'. Did you mean nodule"),
        (lambda k: bound(RegionBox(BLACK, 1, 0), k.boxed([])), "got Boxed, which has no boxes in its test split"),
        (lambda k: bound(Counterfactual(), k.boxed([(0, "a", None, 1, 1, 2, 2)])), "got Boxed. Use dataset=phantom"),
        (lambda k: effects(k, Joint(Activation("1"), Activation("0", choose=[1]))), "must come after the first .* '0'"),
        (lambda k: effects(k, Joint(GRID, Activation("0"))), "at '0' must have one unit, got 4. Choose one"),
        (lambda k: bound(MaskFiles(None, None, BLACK), k.phantom), "a folder of masks for a dataset without masks"),
        (lambda k: Propagation(k.transformer, TokenDrop(9, 9))(k.films.batch), "the tokens, 8 x 8, got 9 x 9: no"),
        (lambda k: effects(k, SlidingWindow(16, 4)), "must fit into the image, got 16 pixels on a side of 14"),
        (lambda k: effects(k, Brush(WHITE[0, 0])), r"'brush' must be .* shape \(14, 17\), got ndarray bool \(4, 4"),
    ],
)
def test_it_is_refused_of_these_images(call, message, context: Context, films, phantom, boxed, transformer):
    with pytest.raises(ValueError, match=message):
        call(SimpleNamespace(context=context, films=films, phantom=phantom, boxed=boxed, transformer=transformer))
