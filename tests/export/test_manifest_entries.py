"""The golden pictures are those that tell most."""

import numpy as np
from numpy.typing import NDArray

from signs_export.config import ExportConfig
from signs_export.gate.probes import PROBES
from signs_export.manifest_entries import choose_golden, golden_count
from signs_runtime import InputSpec
from signs_runtime.bundle.manifest import MAX_GOLDEN_BYTES
from signs_runtime.decisions import decide, margins


def chosen_of(probabilities: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    return choose_golden(decide(probabilities, ()), margins(probabilities, ()), count)


def test_golden_pictures_hold_the_least_sure_of_each_label_and_a_spread() -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.full(6, 0.3), 500).astype(np.float32)
    chosen = chosen_of(probabilities, 24)
    assert len(set(chosen.tolist())) == 24
    labels = probabilities.argmax(axis=1)
    ordered = np.sort(probabilities, axis=1)
    apart = ordered[:, -1] - ordered[:, -2]
    for label in range(6):
        members = np.flatnonzero(labels == label)
        assert members[apart[members].argmin()] in chosen
    assert apart.argmax() in chosen
    assert len(chosen_of(probabilities[:3], 24)) == 3


def test_there_are_as_many_golden_pictures_as_labels_within_a_size() -> None:
    config = ExportConfig()
    assert golden_count(config, InputSpec(64, 64), 6) == 24
    assert golden_count(config, InputSpec(64, 64), 49) == 49
    assert golden_count(config, InputSpec(224, 224), 1000) == 2**23 // (224 * 224 * 3 + 4000) == 54
    assert golden_count(config, InputSpec(512, 512), 49) == 24
    large = InputSpec(2048, 2048)
    assert (golden_count(config, large, 10) + PROBES) * 2048 * 2048 * 3 <= MAX_GOLDEN_BYTES or golden_count(
        config, large, 10
    ) == 1


def test_a_golden_picture_of_each_label_that_occurs_is_chosen() -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.full(49, 0.1), 500).astype(np.float32)
    chosen = chosen_of(probabilities, golden_count(ExportConfig(), InputSpec(64, 64), 49))
    assert set(probabilities[chosen].argmax(axis=1)) == set(probabilities.argmax(axis=1))
