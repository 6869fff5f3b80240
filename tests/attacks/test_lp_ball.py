import numpy as np
import pytest
import torch
from scipy import stats

from dovision.attacks.lp_ball import Ball
from dovision.functional.norms import size

GREY = torch.full((6, 1, 4, 5), 0.5)
SAMPLE = torch.arange(6)


@pytest.mark.parametrize(
    ("norm", "eps", "delta", "shorter"),
    [
        ("linf", 0.2, [0.3, -0.3, 0.1, -0.1, 0.0], [0.2, -0.2, 0.1, -0.1, 0.0]),
        ("l2", 1.0, [0.6, -0.8, 0.0, 0.0, 0.0], [0.3, -0.4, 0.0, 0.0, 0.0]),  # of length 2 in four rows
        *((norm, 0.1, [0.01] * 5, [0.01] * 5) for norm in ("linf", "l2")),  # an image of the ball
    ],
)
def test_projection_clips_each_pixel_or_shortens_the_perturbation(norm, eps, delta, shorter):
    found, expected = Ball(GREY, eps, norm).project(GREY + torch.tensor(delta)), GREY + torch.tensor(shorter)
    torch.testing.assert_close(found, expected)


def test_l1_projection_is_the_nearest_point_of_the_ball_within_the_range_of_images():
    far, ball = torch.randn(6, 1, 4, 5, generator=torch.Generator().manual_seed(0)), Ball(GREY, 2.0, "l1")
    image = ball.project(GREY + far)
    torch.testing.assert_close(size(image - GREY, "l1"), torch.full((6,), 2.0))
    others = torch.cat([ball.draw(SAMPLE, seed=0, restart=restart) for restart in range(20)]).view(20, 6, 1, 4, 5)
    towards = ((GREY + far - image) * (others - image)).flatten(2).sum(2)  # no point of a convex set lies beyond
    assert (towards <= 1e-4).all()


def test_an_l1_step_moves_the_pixels_with_the_largest_gradients_that_have_room():
    gradient = torch.arange(20.0).view(1, 1, 4, 5).expand_as(GREY)
    white = GREY.clone()
    white[..., 3, 4] = 1.0
    step = Ball(GREY, 0.1, "l1").steepest(gradient, white)
    assert step[0].nonzero().tolist() == [[0, 3, 3]]
    torch.testing.assert_close(size(step, "l1"), torch.ones(6))


def test_steepest_linf_step_is_the_sign_and_l2_step_the_unit_vector():
    gradient = torch.zeros_like(GREY)
    gradient[..., 1, 1], gradient[..., 2, 2] = 3.0, -4.0
    torch.testing.assert_close(Ball(GREY, 0.1, "linf").steepest(gradient), gradient.sign())
    torch.testing.assert_close(Ball(GREY, 0.1, "l2").steepest(gradient), gradient / 5)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_the_l2_step_keeps_its_length_however_small_or_large_the_gradient(scale):
    gradient = torch.randn(6, 1, 4, 5, generator=torch.Generator().manual_seed(0)) * scale
    step = Ball(GREY, 0.1, "l2").steepest(gradient)
    torch.testing.assert_close(size(step, "l2"), torch.ones(6))


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("nothing", [0.0, torch.nan, torch.inf])
def test_no_step_is_taken_without_a_usable_gradient(norm, nothing):
    assert torch.equal(Ball(GREY, 0.1, norm).steepest(torch.full_like(GREY, nothing)), torch.zeros_like(GREY))


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_draws_depend_on_seed_sample_and_restart_alone(norm):
    ball = Ball(GREY, 0.1, norm)
    first = ball.draw(SAMPLE, seed=1, restart=0)
    reversed_rows = ball.draw(SAMPLE.flip(0), seed=1, restart=0)
    assert torch.equal(reversed_rows.flip(0), first)
    assert not torch.equal(ball.draw(SAMPLE, seed=2, restart=0), first)
    assert not torch.equal(ball.draw(SAMPLE, seed=1, restart=1), first)


def test_linf_draws_are_uniform_in_each_pixel():
    grey = torch.full((200, 1, 4, 5), 0.5)
    delta = Ball(grey, 0.2, "linf").draw(torch.arange(200), seed=0, restart=0) - grey
    assert stats.kstest(delta.flatten().numpy(), stats.uniform(-0.2, 0.4).cdf).pvalue > 0.01


def test_l2_draws_are_uniform_in_the_volume():
    grey = torch.full((500, 1, 2, 2), 0.5)
    delta = Ball(grey, 0.2, "l2").draw(torch.arange(500), seed=0, restart=0) - grey
    volume = (size(delta, "l2").numpy() / 0.2) ** 4  # uniform in [0, 1], for 4 pixels
    assert stats.kstest(volume, stats.uniform.cdf).pvalue > 0.01
    assert np.abs(delta.mean(0).numpy()).max() < 0.02
