"""Measurements from several threads give the numbers of one, whatever classifiers share a network."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

import dovision as dv

IMAGES = torch.rand(8, 1, 12, 12, generator=torch.Generator().manual_seed(0)).split(1)


def network():
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(4 * 144, 3)).train()


def grid(classifier, image):
    return dv.effect_map(classifier, image, dv.PixelGrid(3, 3)).effect


def channels(classifier, image):
    return dv.effect_map(classifier, image, dv.Activation(site="1")).effect


def attack(classifier, image):
    return dv.effect_map(classifier, image, dv.Perturbation(dv.PGD(0.1, steps=3))).effect


def spread(threads, measure, classifiers):
    """The effects on each image, measured by so many threads, the images and classifiers in turn."""
    turns = [classifiers[i % len(classifiers)] for i in range(len(IMAGES) * 3)]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(measure, turns, IMAGES * 3))


@pytest.fixture(autouse=True)
def often():
    """Threads change a thousand times as often as by default."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.slow
@pytest.mark.parametrize("measure", [grid, channels, attack])
@pytest.mark.parametrize("shared", [1, 2])
def test_four_threads_give_the_bits_of_one(measure, shared):
    trained = network()
    classifiers = [dv.wrap(trained, 3) for _ in range(shared)]
    alone, together = (spread(threads, measure, classifiers) for threads in (1, 4))
    assert all(torch.equal(one, other) for one, other in zip(alone, together, strict=True))
    assert all(module.training for module in trained.modules())
    assert all(parameter.requires_grad for parameter in trained.parameters())
    assert not any(module._forward_hooks for module in trained.modules())
