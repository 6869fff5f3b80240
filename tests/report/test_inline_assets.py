"""What a page carries is lighter, and looks the same."""

import base64

import numpy as np

from dovision.report.inline_assets import SizeBudget, lighter, picture_link, png_bytes


def test_what_fits_is_counted_and_what_does_not_is_not():
    allowance = SizeBudget(10)
    assert allowance.take("äöü")
    assert allowance.left == 4
    assert not allowance.take("12", "345")
    assert allowance.take("1234")


def test_coordinates_are_rounded_but_not_text_nor_the_size_that_boxes_over_a_picture_have():
    svg = '<svg>\n <path d="M 1.23456 7 L 0.5 2.000001"/>\n <text x="1.9876">0.123456</text>\n</svg>'
    assert lighter(svg) == '<svg><path d="M 1.23 7 L 0.5 2.00"/><text x="1.98">0.123456</text></svg>'
    svg = '<svg><image transform="matrix(0.148642 0 0 0.148642 11.033062 24.303931)"/></svg>'
    assert lighter(svg) == svg


def test_a_photograph_becomes_a_jpeg_and_a_small_or_a_flat_picture_stays():
    across, down = np.meshgrid(np.linspace(0, 9, 200), np.linspace(0, 9, 200))
    noise = np.random.default_rng(0).normal(0, 3, (200, 200))
    photograph = (127 + 100 * np.sin(across) * np.cos(down) + noise).astype(np.uint8)
    link = picture_link(png_bytes(photograph))
    assert link.startswith("data:image/jpeg;base64,")
    flat = png_bytes(np.zeros((200, 200), np.uint8))
    assert picture_link(flat) == f"data:image/png;base64,{base64.b64encode(flat).decode()}"


def test_a_picture_with_transparency_keeps_it():
    noise = np.random.default_rng(0).integers(100, 110, (200, 200, 1), dtype=np.uint8)
    pixels = np.concatenate([noise, noise, noise, noise], axis=2)
    assert picture_link(png_bytes(pixels)).startswith("data:image/png")
    pixels[..., 3] = 255
    assert picture_link(png_bytes(pixels)).startswith("data:image/jpeg")
