"""Table of a network's sites: name, layout, shape and units of each."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from functools import partial
from typing import NamedTuple

import torch

from dovision.interfaces import Classifier
from dovision.module_state import evaluating
from dovision.propagation.layouts import Probes, Seen
from dovision.propagation.sites import Site, find_site, site_names
from dovision.types import INPUT, Layout, Shape


class SiteRow(NamedTuple):
    """Row of the table."""

    site: str
    layout: str  # unknown, if nothing shows it
    shape: Shape  # of the value for one image, without the batch axis
    units: str  # kinds and counts, or the reason why the layout is not known


@torch.no_grad()
def site_table(classifier: Classifier, shape: Shape, only: Collection[str] | None = None) -> list[SiteRow]:
    """List all sites that run on images of a shape, (C, H, W), and put out one tensor.

    On the meta device nothing is computed. A module that runs several times has a row for each of its calls.

    Args:
        classifier: whose sites they are.
        shape: (C, H, W) of the images.
        only: names of the sites that are looked at; None: all.
    """
    with evaluating(classifier):
        probes = Probes(classifier, shape)
        return [
            _row(name, value, probes.layout(site) if seen is None else seen)
            for name, site, value, seen in _found_sites(classifier, shape, probes)
            if only is None or name in only
        ]


@torch.no_grad()
def site_shapes(classifier: Classifier, shape: Shape) -> dict[str, Shape]:
    """Shape of the value of each site for one image, without the batch axis: `site_table` in a pass, without layouts.

    Args:
        classifier: whose sites they are.
        shape: (C, H, W) of the images.
    """
    with evaluating(classifier):
        return {name: value[1:] for name, _, value, _ in _found_sites(classifier, shape, Probes(classifier, shape))}


def _found_sites(
    classifier: Classifier, shape: Shape, probes: Probes
) -> Iterator[tuple[str, Site, Shape, Seen | None]]:
    """Name and shape of the value of each site, and its layout if that is known without a probe."""
    sites = [site for name in site_names(classifier) if (site := find_site(classifier, name)) is not None]
    yield INPUT, sites[0], (1, *shape), Seen(Layout.NCHW, "")
    heads = _head_shapes(classifier, [site for site in sites if site.layout is not None], shape)
    for site in sites:
        if site.layout is not None:
            seen = Seen(site.layout, "windows of the image on the batch axis")
            value = heads.get(site.name)
            if value is not None:
                yield site.name, site, value, seen if value[0] == 1 else Seen(None, seen.reason)
            continue
        calls = probes.unchanged.shapes.get(site.module, [])
        for call, value in enumerate(calls):
            if value is not None and len(value) > 1:
                numbered = len(calls) > 1
                name = f"{site.name}#{call}" if numbered else site.name
                one = find_site(classifier, name) if numbered else site
                assert one is not None
                yield name, one, value, None


def _head_shapes(classifier: Classifier, sites: list[Site], shape: Shape) -> dict[str, Shape]:
    """Shapes of the heads' values, from one pass; of an attention that runs several times, the first call's."""
    values: dict[str, torch.Tensor] = {}
    with ExitStack() as taps:
        for site in sites:
            taps.enter_context(site.tapped(partial(values.__setitem__, site.name)))
        classifier(classifier.mean.new_zeros(1, *shape))
    return {name: tuple(value.shape) for name, value in values.items()}


def _row(name: str, value: Shape, seen: Seen) -> SiteRow:
    if seen.layout is None:
        return SiteRow(name, "unknown", value[1:], seen.reason.removeprefix("and "))
    shown = seen.layout.present(torch.empty(value, device="meta")).shape
    counts = {"channel": shown[1], "head": shown[1], "token": math.prod(shown[2:3]), "position": math.prod(shown[2:])}
    units = (f"{counts[thing]} {thing}{'s' * (counts[thing] != 1)}" for thing in seen.layout.units)
    return SiteRow(name, seen.layout.value, value[1:], ", ".join(units))
