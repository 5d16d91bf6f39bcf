"""The golden pictures are those that tell most."""

import numpy as np

from signs_export.manifest_entries import choose_golden


def test_golden_pictures_hold_the_least_sure_of_each_label_and_a_spread() -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.full(6, 0.3), 500).astype(np.float32)
    chosen = choose_golden(probabilities, 24)
    assert len(set(chosen.tolist())) == 24
    labels = probabilities.argmax(axis=1)
    ordered = np.sort(probabilities, axis=1)
    margins = ordered[:, -1] - ordered[:, -2]
    for label in range(6):
        members = np.flatnonzero(labels == label)
        assert members[margins[members].argmin()] in chosen
    assert margins.argmax() in chosen
    assert len(choose_golden(probabilities[:3], 24)) == 3
