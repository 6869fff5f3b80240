"""The protocol of a detection benchmark: families of attacks, and what fits of detectors may see of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from dovision import checks
from dovision.interfaces import Attack
from dovision.results.detection_tables import ADAPTIVE_ATTACKS, ALL_ATTACKS, NOISE_OF, NOISES, PERMUTED_LABELS, all_but
from dovision.results.tables import CLEAN

_ATTACKS, _FAMILIES, _SEEN = "detection.attacks", "detection.families", "detection.seen"


class FitProtocol(NamedTuple):
    """Families and epsilons of attacks for supervised fits; see `fit_protocol`."""

    family: Mapping[str, str]  # of each attack but the noise control
    seen: Mapping[str, Sequence[float]]  # epsilons of an attack that fits may see; all where it is not named
    controls: bool  # whether supervised detectors are fitted to permuted labels as well
    norms: Mapping[str, str] = MappingProxyType({})  # of each attack and noise, where it is not Linf

    def sees(self, attack: str, eps: float) -> bool:
        """Return whether fits may see images of this condition."""
        return attack in self.family and (attack not in self.seen or eps in self.seen[attack])


def fit_protocol(
    eps: Mapping[str, Sequence[float]],
    families: Mapping[str, Sequence[str]] | None = None,
    seen: Mapping[str, Sequence[float]] | None = None,
    controls: bool = False,
) -> FitProtocol:
    """Assign each attack to the family that lists it, or to one of its own name; checked.

    Raises:
        ValueError: an attack is unknown, in two families, or the noise control; a family is empty, or has a name that
            means something else; an epsilon is not one of the attack's.
    """
    attacks = [attack for attack in eps if attack not in NOISES]
    family: dict[str, str] = {}
    for name, members in (families or {}).items():
        _check_family(name, members, attacks)
        for attack in members:
            checks.choice(f"{_FAMILIES}.{name}", attack, attacks)
            if attack in family:
                raise ValueError(
                    f"{_FAMILIES} must list an attack once, got {attack} in {family[attack]} and in {name}. "
                    "Remove it from one."
                )
            family[attack] = name
    for attack, epsilons in (seen or {}).items():
        checks.choice(_SEEN, attack, attacks)
        for epsilon in epsilons:
            if epsilon not in eps[attack]:
                legal_eps = ", ".join(f"{value:g}" for value in eps[attack])
                raise ValueError(
                    f"{_SEEN}.{attack} must name epsilons that are measured ({legal_eps}), got {epsilon:g}. "
                    f"Add it to detection.attacks.{attack}.eps, or leave it out."
                )
    return FitProtocol({attack: family.get(attack, attack) for attack in attacks}, dict(seen or {}), controls)


def conditions_of(attacks: Mapping[str, Attack]) -> dict[str, Attack]:
    """Name attacks by their conditions: noise after its norm, whatever its key, others as they are.

    Raises:
        ValueError: an attack has the name of another condition; two are noise of one norm.
    """
    reserved = CLEAN, *NOISES, *ADAPTIVE_ATTACKS
    conditions: dict[str, Attack] = {}
    for key, attack in attacks.items():
        name = NOISE_OF[attack.norm] if attack.is_noise else key
        if name in reserved and not attack.is_noise:
            raise ValueError(f"{_ATTACKS}.{key} must be what its name says, got {type(attack).__name__}. Rename it.")
        if name in conditions:
            raise ValueError(f"{_ATTACKS} must have one noise of a norm, got {key} beside another. Join their eps.")
        conditions[name] = attack
    return conditions


def _check_family(name: str, members: Sequence[str], attacks: Sequence[str]) -> None:
    if not members:
        raise ValueError(f"{_FAMILIES}.{name} must list attacks, got none. Leave the family out.")
    if name in (*NOISES, ALL_ATTACKS, PERMUTED_LABELS, "") or name.startswith(all_but("")):
        raise ValueError(f"{_FAMILIES} must not have a family named {name!r}, which means something else. Rename it.")
    if name in attacks and name not in members:
        raise ValueError(
            f"{_FAMILIES}.{name} must list the attack of its own name, got {', '.join(members)}. Add it, or rename "
            "the family."
        )
