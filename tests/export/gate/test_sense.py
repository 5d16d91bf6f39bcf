"""What contradicts the pictures is not sealed, and a weak model, few pictures or odd ones are no contradiction."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from signs_export.config import ExportConfig
from signs_export.export import export_bundle
from signs_export.gate.sense import SenseError, _is_chance
from signs_export.inspection.order import find_order
from signs_export.job import Job
from signs_runtime.figures import Accuracy

from ..inspection.cases import Case, answers, made

LABELS = tuple("abcdefghij")


@pytest.mark.parametrize("seed", range(40))
def test_no_weak_or_small_case_is_refused(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.choice([20, 40, 100, 500]))
    kind = ("weak", "few", "missing", "unbalanced")[seed % 4]
    truth = rng.integers(0, 10, count)
    if kind == "missing":
        truth[truth == 4] = 5
    elif kind == "unbalanced":
        truth = np.where(rng.random(count) < 0.8, 0, truth)
    given = answers(truth, 0.22 if kind == "weak" else 0.5, 10, rng)  # 30% right, and 55%
    assert not _is_chance(truth, given.argmax(axis=1), 10)
    assert not find_order(truth, given, LABELS).is_better(1e-6)


def test_answers_that_tell_nothing_are_chance_where_there_are_enough_of_them() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 10, 500)
    assert _is_chance(truth, rng.integers(0, 10, 500), 10)
    assert _is_chance(truth, np.zeros(500, np.int64), 10)
    assert not _is_chance(truth[:20], rng.integers(0, 10, 20), 10)  # which may be weak as well


def test_an_order_is_found_and_measured_where_it_was_not_looked_for() -> None:
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 10, 300)
    meant = rng.permutation(10)
    given = answers(truth, 0.6, 10, rng)[:, meant]  # output i is label meant[i]
    order = find_order(truth, given, LABELS)
    assert order.meant == tuple(meant)
    assert order.is_better(1e-6)
    assert order.other.share == pytest.approx(0.64, abs=0.08)
    assert not find_order(truth, answers(truth, 0.6, 10, rng), LABELS).is_better(0.01)


def test_numbers_that_sort_as_text_are_tried_as_numbers() -> None:
    labels = tuple(sorted(map(str, range(12))))  # 0, 1, 10, 11, 2, ...
    rng = np.random.default_rng(2)
    as_numbers = rng.integers(0, 12, 60)
    truth = np.array([labels.index(str(number)) for number in as_numbers])
    order = find_order(truth, answers(as_numbers, 0.9, 12, rng), labels)
    assert [labels[i] for i in order.meant] == list(map(str, range(12)))
    assert order.is_better(1e-6)


@pytest.mark.parametrize(
    ("case", "words"),
    [
        (Case("tf"), "With --scaling tf Keras gets"),
        (Case("unit", order=(1, 2, 0, 3, 4, 5)), "in the order 1, 2, 0, 3, 4, 5"),
    ],
    ids=["scaling", "order"],
)
def test_what_contradicts_the_pictures_is_sealed_only_as_it_is(case: Case, words: str, tmp_path: Path) -> None:
    reference, dataset = made(case)
    config = ExportConfig(golden_pictures=8, speed_rounds=1)
    job = Job(replace(reference, scaling="unit"), dataset, config, warn=lambda text: None)
    with pytest.raises(SenseError, match=words) as caught:
        export_bundle(job, tmp_path / "bundle")
    assert caught.value.exit_code == 3
    assert pickle.loads(pickle.dumps(caught.value)).findings == caught.value.findings
    assert list(tmp_path.iterdir()) == []
    export = export_bundle(replace(job, config=replace(config, as_is=True)), tmp_path / "bundle")
    assert isinstance(export.keras_accuracy, Accuracy)
    for name in ("report.html", "MODEL_CARD.md"):
        assert words in (tmp_path / "bundle" / name).read_text(encoding="utf-8")


def test_an_honest_model_is_sealed_without_a_word(tmp_path: Path) -> None:
    reference, dataset = made(Case("unit"))
    told: list[str] = []
    job = Job(replace(reference, scaling="unit"), dataset, ExportConfig(speed_rounds=1), warn=told.append)
    export_bundle(job, tmp_path / "bundle")
    assert told == []
