"""Picture files that show on any device, for any model, whether it reads pictures as training did."""

import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from signs_builder.data.hands import draw_hands
from signs_export.gate.probes import make_probes
from signs_runtime.pictures.input_spec import InputSpec
from signs_runtime.pictures.read import read_image
from signs_runtime.proof.checks import PIXEL_ATOL

SPECS = [InputSpec(32, 32), InputSpec(64, 48), InputSpec(224, 224), InputSpec(300, 400, resize="bicubic")]
SPECS += [InputSpec(28, 28, "L"), InputSpec(96, 96, resize="nearest")]


def read(probes: list[bytes], spec: InputSpec) -> np.ndarray:
    """Pixels (probes, h, w, c)."""
    return np.stack([read_image(io.BytesIO(probe), spec) for probe in probes])


def images_for(spec: InputSpec) -> dict[str, np.ndarray]:
    hands = draw_hands(2, size=32)[0]
    shaped = np.stack([np.asarray(Image.fromarray(hand).resize((spec.width, spec.height))) for hand in hands])
    noise = np.random.default_rng(0).integers(0, 256, shaped.shape, np.uint8)
    kinds = {"hands": shaped, "noise": noise, "black": np.zeros_like(shaped), "white": np.full_like(shaped, 255)}
    return {kind: images[..., : spec.shape[2]] for kind, images in kinds.items()}


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_probes_are_small_the_same_each_time_and_readable(spec: InputSpec) -> None:
    for images in images_for(spec).values():
        probes = list(make_probes(images, spec).values())
        assert probes == list(make_probes(images, spec).values())
        assert max(map(len, probes)) < 100_000
        assert len({(image.format, image.mode) for image in map(Image.open, map(io.BytesIO, probes))}) >= 5
        assert read(probes, spec).shape == (len(probes), *spec.shape)


def other_filter(honest: Callable[..., Image.Image]) -> Callable[..., Image.Image]:
    def resize(image: Image.Image, size: tuple[int, int], resample: Image.Resampling, *box: object) -> Image.Image:
        nearest = resample == Image.Resampling.NEAREST
        return honest(image, size, Image.Resampling.BILINEAR if nearest else Image.Resampling.NEAREST, *box)

    return resize


@pytest.mark.parametrize(
    ("owner", "name", "other"),
    [
        (Image.Image, "transpose", lambda _: lambda image, _: image),
        (Image.Image, "resize", other_filter),
        (Image, "alpha_composite", lambda _: lambda _, image: image),
        (Image, "new", lambda honest: lambda mode, size, *_: honest(mode, size, "black")),
    ],
    ids=["no turn", "another filter", "transparency ignored", "black behind"],
)
@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_a_step_that_is_done_otherwise_shows_whatever_the_images(
    monkeypatch: pytest.MonkeyPatch, spec: InputSpec, owner: object, name: str, other: Callable[..., object]
) -> None:
    for kind, images in images_for(spec).items():
        probes = list(make_probes(images, spec).values())
        expected = read(probes, spec).astype(int)
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, other(getattr(owner, name)))
            assert np.abs(read(probes, spec) - expected).max() > PIXEL_ATOL, kind


@pytest.mark.parametrize(
    "other",
    [{"fit": "crop"}, {"fit": "pad"}, {"colour": "BGR"}, {"exif": "ignored"}, {"resize": "tf-bilinear"}],
    ids=str,
)
def test_a_picture_that_is_read_otherwise_shows_whatever_the_images(other: dict[str, Any]) -> None:
    for spec in (InputSpec(32, 32), InputSpec(64, 48), InputSpec(224, 224)):
        for kind, images in images_for(spec).items():
            if "colour" in other and kind in ("black", "white"):  # grey is the same in any order
                continue
            probes = list(make_probes(images, spec).values())
            difference = np.abs(read(probes, replace(spec, **other)).astype(int) - read(probes, spec)).max()
            assert difference > PIXEL_ATOL, (kind, spec)
