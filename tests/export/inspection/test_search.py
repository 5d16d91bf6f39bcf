"""What a model was trained on is found by what it gets right, and nothing is claimed that pictures cannot tell."""

from pathlib import Path

import keras
import numpy as np
import pytest

from signs_export.inspection.conclusions import conclusions
from signs_export.inspection.ranking import Answers, Ranking
from signs_export.inspection.search import inspect
from signs_export.inspection.settings import Setting
from signs_export.source.reference import examine
from signs_runtime.pictures.input_spec import Reading

from ..networks import hands
from .cases import SIDE, Case, made

BGR = Reading(channels="BGR")


@pytest.mark.parametrize(
    "case",
    [Case("unit"), Case("caffe", order=(1, 0, 2, 3, 4, 5)), Case("tf", BGR, (3, 4, 5, 0, 1, 2))],
    ids=Case.named,
)
def test_scaling_colours_and_the_order_of_labels_are_found(case: Case) -> None:
    reference, dataset = made(case)
    found = inspect(reference, dataset)
    assert found.setting == Setting(case.scaling, case.reading)
    assert found.is_sure
    labels = tuple(dataset.labels[i] for i in case.order)
    assert found.other_order == (None if labels == dataset.labels else labels)
    assert case.scaling in conclusions(found)[0]


def test_a_fit_is_found_on_pictures_of_other_proportions(tmp_path: Path) -> None:
    case = Case("unit", Reading(fit="crop"))
    found = inspect(*made(case, tmp_path / "wide"))
    assert (found.setting.scaling, found.setting.reading.fit) == ("unit", "crop")
    assert [stage.name for stage in found.stages][:2] == ["scaling and colours", "fit"]


def test_an_untrained_model_is_no_better_than_chance_whatever_is_tried() -> None:
    keras.utils.set_random_seed(1)
    image = keras.Input((SIDE, SIDE, 3))
    model = keras.Model(image, keras.layers.Dense(6, activation="softmax")(keras.layers.Flatten()(image)))
    found = inspect(examine(model, scaling="none"), hands(240, 60, side=SIDE))
    assert not found.is_sure
    assert found.other_order is None
    assert "no more right than chance" in conclusions(found)[0]


def test_grey_pictures_say_nothing_of_colours() -> None:
    reference, dataset = made(Case("unit"))
    for split in (dataset.train, dataset.test):
        pictures = np.asarray(split.pictures)
        pictures[:] = pictures.mean(axis=3, keepdims=True).astype(np.uint8)
    rank = Ranking(Answers(reference, dataset.test), dataset.test.labels, 6)
    stage = rank("", [Setting("unit", Reading()), Setting("unit", BGR)], np.arange(120), lambda done: None)
    assert [each.setting.reading.channels for each in stage.tried] == ["RGB", "BGR"]
    assert stage.tried[1].same
    assert not stage.is_sure
