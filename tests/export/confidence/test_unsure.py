"""Below a measured probability a device says "unsure": chosen on some strangers, told by others."""

import itertools
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from signs_builder.data.dataset import Dataset
from signs_builder.data.textures import draw_textures
from signs_export.confidence.unsure import MOST_LOST, _strangers, area_between, choose_threshold, curve_of, find_unsure
from signs_export.config import ExportConfig
from signs_export.errors import ExportError
from signs_export.export import export_bundle
from signs_export.job import Job
from signs_export.source.reference import Reference, examine
from signs_runtime import Classifier
from signs_runtime.bundle.folder import open_bundle
from signs_runtime.errors import ImageError


def test_the_threshold_keeps_strangers_out_and_loses_few() -> None:
    rng = np.random.default_rng(0)
    good, strangers = 1 - 0.2 * rng.random(500) ** 2, 0.3 + 0.4 * rng.random(500)
    threshold = choose_threshold(good, strangers)
    assert strangers.max() <= threshold <= good.min() + 1e-3
    mixed = rng.random(500)
    threshold = choose_threshold(mixed, mixed)
    assert (mixed < threshold).mean() <= MOST_LOST


def test_the_area_and_the_curve_are_those_of_a_roc() -> None:
    good, strangers = np.array([0.9, 0.8, 0.4]), np.array([0.5, 0.4])
    pairs = [(g > s) + (g == s) / 2 for g in good for s in strangers]
    assert area_between(good, strangers) == pytest.approx(np.mean(pairs))
    curve = curve_of(good, strangers)
    assert (curve[0].passing, curve[0].lost) == (1, 0)
    assert (curve[-1].passing, curve[-1].lost) == (0, 1)
    assert all(a.passing >= b.passing and a.lost <= b.lost for a, b in itertools.pairwise(curve))


def test_textures_differ_and_are_the_same_again() -> None:
    textures = draw_textures(12, size=32, seed=1)
    assert textures.shape == (12, 32, 32, 3)
    assert np.array_equal(textures[5:], draw_textures(7, size=32, seed=1, first=5))
    assert len({texture.tobytes() for texture in textures}) == 12
    assert textures.std(axis=(1, 2)).min() > 0


def test_a_bundle_says_unsure_by_itself_and_is_proved_with_that(
    reference: Reference, dataset: Dataset, tmp_path: Path
) -> None:
    """The pictures are hands; what shows none is flat and dark, of which the network is never sure."""
    folder = tmp_path / "others" / "deeper"
    folder.mkdir(parents=True)
    for i, texture in enumerate(draw_textures(60, size=40, seed=2)):
        Image.fromarray(texture).save(folder / f"{i}.png")
    job = Job(reference, dataset, ExportConfig(others=str(tmp_path / "others"), speed_rounds=1))
    export = export_bundle(job, tmp_path / "bundle")
    found = export.unsure
    assert found is not None
    assert found.chosen_on == found.passing.total == 30
    manifest = open_bundle(tmp_path / "bundle").manifest
    assert (manifest.schema, manifest.unsure_below) == (6, found.threshold)
    classifier = Classifier(tmp_path / "bundle", cache=False)
    assert classifier.threshold == found.threshold
    images = np.asarray(dataset.test.pictures)
    probabilities = classifier.probabilities(images).max(axis=1)
    said = [classifier.predict(image) for image in images]
    assert [each.is_sure for each in said] == (probabilities.astype(float) >= found.threshold).tolist()
    always = Classifier(tmp_path / "bundle", threshold=0, cache=False)
    assert all(always.predict(image).is_sure for image in images)
    assert not Classifier(tmp_path / "bundle" / "fp32.onnx", threshold=1, cache=False).predict(images[0]).is_sure
    assert Classifier(tmp_path / "bundle" / "fp32.onnx", cache=False).threshold == found.threshold
    page = (tmp_path / "bundle" / "report.html").read_text()
    assert "Pictures that show none of the labels" in page
    assert "strangers that pass by good pictures lost" in page
    assert 'it answers "unsure"' in (tmp_path / "bundle" / "MODEL_CARD.md").read_text().replace("\\", "")


def test_drawn_textures_need_no_folder(reference: Reference, dataset: Dataset) -> None:
    changed, found = find_unsure(Job(reference, dataset, ExportConfig()), "drawn")
    assert changed.reference.unsure_below == found.threshold
    assert found.passing.total == 300
    assert found.may_be_trained_on
    strangers = np.asarray(_strangers("drawn", 32)[0].pictures)
    first, second = strangers[::2], strangers[1::2]
    for kind in range(6):  # each is in both halves
        drawn = {each.tobytes() for each in draw_textures(600, size=32, seed=7)[kind::6]}
        assert all(20 < sum(each.tobytes() in drawn for each in half) < 80 for half in (first, second))
    assert "600 drawn textures" in found.describe()


def test_what_cannot_be_is_refused(reference: Reference, dataset: Dataset, tmp_path: Path) -> None:
    job = Job(reference, dataset, ExportConfig())
    with pytest.raises(ImageError, match="nowhere"):
        find_unsure(job, str(tmp_path / "nowhere"))
    Image.new("RGB", (8, 8)).save(tmp_path / "one.png")
    with pytest.raises(ExportError, match="needs 20 or more pictures"):
        find_unsure(job, str(tmp_path))
    with pytest.raises(ExportError, match="one label"):
        find_unsure(replace(job, reference=replace(reference, thresholds=(0.5,) * 6)), "drawn")
    named = replace(dataset, labels=("unsure", *dataset.labels[1:]))
    with pytest.raises(ExportError, match="Rename the label"):
        find_unsure(replace(job, dataset=named), "drawn")


def test_where_nothing_tells_strangers_apart_no_threshold_is_set_and_it_is_told(
    dataset: Dataset, tmp_path: Path
) -> None:
    """A network that says the same of every picture."""
    keras.utils.set_random_seed(0)
    image = keras.Input((32, 32, 3))
    x = keras.layers.GlobalAveragePooling2D()(image)
    same = keras.layers.Dense(6, activation="softmax", kernel_initializer="zeros", bias_initializer="random_normal")(x)
    heard: list[str] = []
    job = Job(examine(keras.Model(image, same), scaling="unit"), dataset, ExportConfig(), warn=heard.append)
    changed, found = find_unsure(job, "drawn")
    assert found.threshold == changed.reference.unsure_below == 0
    assert "No picture counts as unsure" in heard[0]
    assert found.describe().startswith("Nothing is")
