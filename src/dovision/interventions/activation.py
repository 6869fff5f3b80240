"""Setting the units of a site's value, such as channels, tokens or heads, one at a time or several at once."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import combinations, islice
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from dovision import checks
from dovision.functional.rng import generator
from dovision.interfaces import Context, Images, Intervention
from dovision.interventions.values import CHANNEL_AXIS, POSITION_AXIS, ActivationValue, ChannelOfRow, SiteUnit, Zero
from dovision.types import INPUT, MATCHED_CONTROL, SET_JOIN, Batch, Box, Layout, Shape

ZERO = Zero()
ALL_PAIRS = "pairs"
AXES = {  # of a site's value, as in SiteUnit, by the kind of unit
    "channel": CHANNEL_AXIS,
    "latent": CHANNEL_AXIS,
    "head": CHANNEL_AXIS,
    "token": POSITION_AXIS,
    "position": POSITION_AXIS,
}
WHOLE = SiteUnit(None)

UnitReference: TypeAlias = str | int  # a unit's name, or its number


SetsOfUnits: TypeAlias = str | tuple[tuple[UnitReference, ...], ...] | None


class NamedUnit(NamedTuple):
    """Numbers of the site's units that one do() sets; `control` numbers a matched control of them."""

    name: str
    members: tuple[int, ...]
    control: int | None = None


class Activation(Intervention):
    """do(unit = value) at a site, for single channels, tokens, positions, heads or latents, and for sets.

    Units are named by kind and number, counted from 0: c0 (channel), t0 (token), h0 (head), z0 (latent) and r0c0 (row
    and column of a position). A set is named after its units, such as c1+c4, and stands beside the single units, so
    that its effect can be compared with theirs.

    A matched control, "c1 control 0", sets as many other units of the site, drawn for each sample, and scales their
    change to the L2 norm of that of c1. Channels, latents and heads that the value would not change are not drawn.

    Args:
        site: INPUT, CODE or the name of a layer, as in network.named_modules().
        unit: channel, latent, token, position or head; None is the whole value, one unit named "all".
        value: what a unit is set to.
        choose: the units, by number or name; a number alone is so many, the first ones; None is all.
        sets: "pairs" (all pairs of the chosen units), or a list of lists of units; None is single units alone.
        controls: how many matched controls each unit and each set has.
        seed: of controls; the same seed, sample and units give the same controls.
        layout: of the site's value, such as NTC; None: found by probing the network.

    Raises:
        ValueError: in `units`: the site has no units of this kind, a chosen unit is not there, or a set has more units
            than there are.

    Example:
        >>> classifier, digits = dv.example()
        >>> dv.effect_map(classifier, digits.image, dv.Activation("relu", value=dv.Zero())).units[:3]
        ('c0', 'c1', 'c2')
    """

    def __init__(
        self,
        site: str,
        unit: str | None = "channel",
        value: ActivationValue = ZERO,
        choose: Sequence[UnitReference] | int | None = None,
        sets: str | Sequence[Sequence[UnitReference]] | None = None,
        controls: int = 0,
        seed: int = 0,
        layout: str | None = None,
    ) -> None:
        self.site = site
        self.unit_type = None if unit is None else checks.choice("unit", unit, AXES)
        self.unit = "channel" if unit == "latent" else self.unit_type
        self.value = value
        first = isinstance(choose, int) and range(checks.positive_int("choose", choose))
        self.choose = None if choose is None else _different("choose", first or choose, 1)
        self.sets = _sets(sets)
        self.controls = checks.count("controls", controls, checks.MOST_CONTROLS)
        self.seed = checks.seed(seed)
        self.layout = (
            None if layout is None else Layout(checks.choice("layout", layout, [layout.value for layout in Layout]))
        )
        if unit is None and (choose or sets or controls):
            raise ValueError("the whole value (unit=null) must be without choose, sets and controls. Choose a unit.")

    def bind(self, images: Images, split: str) -> None:
        self.value.bind(images, split)

    def sources(self, batch: Batch) -> Tensor | None:
        return self.value.sources(batch)

    def references(self) -> Tensor | None:
        return self.value.references()

    def units(self, shape: Shape) -> tuple[str, ...]:
        return tuple(unit.name for unit in self._units(shape))

    def region(self, shape: Shape, unit: int, sample: int) -> Box | None:
        if self.unit_type is None and self.site == INPUT:
            return self.value.image_region(shape, sample)
        if self.unit_type is None or AXES[self.unit_type] == CHANNEL_AXIS:
            return None
        target = self._units(shape)[unit]
        positions = (
            target.members if target.control is None else self._others(shape, target, sample)[: len(target.members)]
        )
        width = shape[-1]
        if self.unit_type == "token":
            return Box(min(positions), 0, max(positions) + 1, width)
        rows, columns = [position // width for position in positions], [position % width for position in positions]
        return Box(min(rows), min(columns), max(rows) + 1, max(columns) + 1)

    def unchanged(self, value: Tensor) -> Tensor | None:
        """Zeroed channels, latents and heads that are zero already, such as inactive latents of a dictionary."""
        if (
            self.unit_type is None
            or AXES[self.unit_type] != CHANNEL_AXIS
            or self.site == INPUT
            or type(self.value) is not Zero
        ):
            return None
        seen = self._seen(value).flatten(2)
        silent = ((seen == 0) & ~seen.signbit()).all(2)  # (B, A); minus zero has other bits
        units = self._units(tuple(value.shape[1:]))
        silent_units = silent[:, [unit.members[0] for unit in units]]
        for number, unit in enumerate(units):
            if unit.control is not None:
                silent_units[:, number] = False  # of other units
            elif len(unit.members) > 1:
                silent_units[:, number] = silent[:, unit.members].all(1)
        return silent_units

    def do(self, value: Tensor, unit: int, context: Context) -> Tensor:
        shape = tuple(value.shape[1:])
        target = self._units(shape)[unit]
        source = None if context.source is None else self._seen(context.source)
        reference = None if context.reference is None else self._seen(context.reference.unsqueeze(0))
        context = context._replace(source=source, reference=reference)
        seen = self._seen(value)
        treated = self._set(seen, target.members, context)
        if target.control is not None:
            norms = torch.linalg.vector_norm((treated - seen).flatten(1), dim=1)
            rows = range(len(seen))
            treated = torch.cat(
                [self._control(seen[[row]], target, norms[row], context.rows([row]), shape) for row in rows]
            )
        if self.site == INPUT:
            treated = treated.clamp(0, 1)
        treated = treated.reshape(value.shape)
        region = self.region(shape, unit, int(context.batch.sample[0]))
        return treated if region is None else region.crop(treated)

    def do_channels(self, value: Tensor, units: Sequence[int], context: Context) -> tuple[Tensor, Tensor] | None:
        """Single channels, heads or latents, where the value can be given for many of them at once."""
        targets = [self._units(tuple(value.shape[1:]))[unit] for unit in units]
        single = all(len(target.members) == 1 and target.control is None for target in targets)
        by_channel = self.unit_type is not None and AXES[self.unit_type] == CHANNEL_AXIS and self.site != INPUT
        if not (single and by_channel and self.value.of_rows):
            return None
        number = torch.tensor([target.members[0] for target in targets], device=value.device)
        source = None if context.source is None else self._seen(context.source)
        reference = None if context.reference is None else self._seen(context.reference.unsqueeze(0))
        context = context._replace(source=source, reference=reference)
        channels: Any = ChannelOfRow(number)
        new = self.value(self._seen(value), channels, context)
        return number, new.reshape(len(value), *value.shape[2:])

    def _units(self, shape: Shape) -> tuple[NamedUnit, ...]:
        if self.unit_type is None:
            return (NamedUnit("all", ()),)
        return _units(self.unit_type, shape, self.choose, self.sets, self.controls)

    def _seen(self, value: Tensor) -> Tensor:
        """Reshape a value to (B, A, P, D); see SiteUnit."""
        if self.unit_type in ("token", "head"):
            return value
        return value.flatten(2).unsqueeze(-1) if value.ndim > 2 else value[..., None, None]

    def _set(self, value: Tensor, members: Sequence[int], context: Context) -> Tensor:
        """Set all members of a value to their new values, computed from the original value."""
        treated = value.clone()
        for unit in (SiteUnit(AXES[self.unit_type], member) for member in members) if self.unit_type else (WHOLE,):
            unit.of(treated).copy_(self.value(value, unit, context))
        return treated

    def _control(self, value: Tensor, unit: NamedUnit, norm: Tensor, context: Context, shape: Shape) -> Tensor:
        """Control value of one sample: other units, changed by this norm."""
        others = self._others(shape, unit, int(context.batch.sample[0]))
        if self.unit_type and AXES[self.unit_type] == CHANNEL_AXIS:
            units = ((other, SiteUnit(CHANNEL_AXIS, other)) for other in others)  # of these the ones that would change
            numbers = (other for other, of in units if (self.value(value, of, context) != of.of(value)).any())
            others = [*islice(numbers, len(unit.members))]
        change = self._set(value, others[: len(unit.members)], context) - value
        scale = norm / torch.linalg.vector_norm(change)
        return torch.where(change == 0, value, value + scale * change)

    def _others(self, shape: Shape, unit: NamedUnit, sample: int) -> list[int]:
        """Numbers of all non-members, in random order by sample and control."""
        assert self.unit_type is not None
        assert unit.control is not None
        rest = sorted(set(range(_count(self.unit_type, shape))) - set(unit.members))
        random = generator(self.seed, sample, unit.control, *unit.members)
        return [rest[index] for index in torch.randperm(len(rest), generator=random).tolist()]


@lru_cache(maxsize=64)
def _units(
    unit_type: str, shape: Shape, choose: tuple[UnitReference, ...] | None, sets: SetsOfUnits, controls: int
) -> tuple[NamedUnit, ...]:
    """The single units, then the sets, each followed by its controls."""
    names = _names(unit_type, shape)
    chosen = range(len(names)) if choose is None else [_number("choose", unit, names) for unit in choose]
    members = dict.fromkeys([*((number,) for number in chosen), *_members(sets, chosen, names)])
    units = [NamedUnit(SET_JOIN.join(names[number] for number in numbers), numbers) for numbers in members]
    for unit in units if controls else ():
        if 2 * len(unit.members) > len(names):
            raise ValueError(
                f"controls must be 0 where there are not as many other units, got {controls} for {unit.name} among "
                f"{len(names)} units."
            )
    suffixes = [NamedUnit(f"{MATCHED_CONTROL}{number}", (), number) for number in range(controls)]
    return tuple(
        NamedUnit(unit.name + suffix.name, unit.members, suffix.control)
        for unit in units
        for suffix in (NamedUnit("", ()), *suffixes)
    )


def _names(unit_type: str, shape: Shape) -> tuple[str, ...]:
    """Names of all units of a kind in a value of this shape, by number."""
    numbers = range(_count(unit_type, shape))
    if unit_type == "position":
        return tuple("r{}c{}".format(*divmod(number, shape[2])) for number in numbers)
    letter = "z" if unit_type == "latent" else unit_type[0]
    return tuple(f"{letter}{number}" for number in numbers)


def _count(unit_type: str, shape: Shape) -> int:
    """Number of units of a kind in a value of this shape, without the batch axis."""
    axes = {"channel": 1, "latent": 1}.get(unit_type, 3)
    if len(shape) < axes:
        raise ValueError(
            f"unit must be one that the site has, got {unit_type!r} for a value of shape {shape}. Use channel."
        )
    return shape[0] if AXES[unit_type] == CHANNEL_AXIS else shape[1] if unit_type == "token" else math.prod(shape[1:])


def _number(argument: str, unit: UnitReference, names: Sequence[str]) -> int:
    if isinstance(unit, str):
        return names.index(checks.choice(argument, unit, names))
    return checks.bounded(argument, unit, 0, len(names) - 1)


def _members(sets: SetsOfUnits, chosen: Sequence[int], names: Sequence[str]) -> Iterator[tuple[int, ...]]:
    """Unit numbers of each set.

    Raises:
        ValueError: a unit is not there; sets are larger than the units, or more than there can be.
    """
    if sets == ALL_PAIRS:
        if len(chosen) < 2:
            raise ValueError(f"sets must not be larger than the units, got pairs of {len(chosen)} unit.")
        yield from combinations(chosen, 2)
    else:
        for members in sets or ():
            assert not isinstance(members, str)
            numbers = tuple(_number("sets", unit, names) for unit in members)
            if len(set(numbers)) < len(numbers):
                raise ValueError(f"sets must be of different units, got {members!r}.")
            yield numbers


def _different(name: str, units: object, least: int) -> tuple[UnitReference, ...]:
    """Return units, by number or name, if they are distinct and at least so many."""
    given = tuple(units) if isinstance(units, Sequence) and not isinstance(units, str) else ()
    fit = all(isinstance(unit, (str, int)) and not isinstance(unit, bool) for unit in given)
    if not fit or len(given) < least or len(set(given)) < len(given):
        raise ValueError(f"{name} must be at least {least} different units, by number or name, got {units!r}.")
    return given


def _sets(sets: object) -> SetsOfUnits:
    if sets is None or sets == ALL_PAIRS:
        return ALL_PAIRS if sets else None
    if isinstance(sets, str) or not isinstance(sets, Sequence) or not sets:
        raise ValueError(f"sets must be pairs, or a list of lists of units, got {sets!r}.")
    return tuple(_different("sets", members, 2) for members in sets)
