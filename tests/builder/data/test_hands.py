"""The embedded pictures: the same for a seed, of every count, and none of them twice."""

import numpy as np

from signs_builder.data.hands import INDEX, LABELS, MIDDLE, RING, STUB, Way, any_way, draw_hand, draw_hands


def test_a_seed_draws_the_same_hands_again_and_another_seed_others() -> None:
    images, labels = draw_hands(12, seed=3)
    again, _ = draw_hands(12, seed=3)
    others, _ = draw_hands(12, seed=4)
    assert np.array_equal(images, again)
    assert not any(np.array_equal(a, b) for a, b in zip(images, others, strict=True))
    assert labels.tolist() == [0, 1, 2, 3, 4, 5] * 2


def test_a_hand_does_not_depend_on_how_many_are_drawn() -> None:
    whole, _ = draw_hands(12, seed=3)
    rest, labels = draw_hands(4, seed=3, first=8)
    assert np.array_equal(whole[8:], rest)
    assert labels.tolist() == [2, 3, 4, 5]


def test_hands_have_the_shape_asked_for_and_none_stands_twice() -> None:
    images, _ = draw_hands(60, size=48)
    assert (images.dtype, images.shape) == (np.dtype(np.uint8), (60, 48, 48, 3))
    assert len({image.tobytes() for image in images}) == 60


def test_more_fingers_reach_further_from_the_wall() -> None:
    """A rough look at what is drawn: raised fingers add edges to a picture, count by count."""
    images, labels = draw_hands(600, seed=0)
    grey = images.astype(float).mean(axis=3)
    edges = np.abs(np.diff(grey, axis=2)).mean(axis=(1, 2))
    means = [edges[labels == label].mean() for label in range(1, len(LABELS))]
    assert means == sorted(means)


def test_folded_fingers_stand_out_from_a_hand_if_all_ways_are_drawn() -> None:
    """Seen from the back, a folded finger is a stub at the hand's edge; the rest of the picture stays."""
    ways = (Way((INDEX, MIDDLE, RING), back=True, stub=stub) for stub in (STUB, 1e-9))
    stubs, flat = ([draw_hand(3, 64, np.random.default_rng(seed), way) for seed in range(20)] for way in ways)
    changed = [float((a.astype(int) != b).any(axis=2).mean()) for a, b in zip(stubs, flat, strict=True)]
    assert 0.002 < np.median(changed) < 0.05
    assert any_way(3, np.random.default_rng(0)).stub == STUB
