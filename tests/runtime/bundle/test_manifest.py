"""What a manifest says of two models on the same pictures."""

import pytest

from signs_runtime.figures import Paired


@pytest.mark.parametrize(
    ("only_keras", "only_variant", "p_value", "is_worse"),
    [(0, 0, 1.0, False), (5, 0, 0.0625, False), (6, 0, 0.03125, True), (0, 6, 0.03125, False), (10, 2, 0.03857, True)],
)
def test_mcnemars_exact_test_has_the_binomials_values(
    only_keras: int, only_variant: int, p_value: float, is_worse: bool
) -> None:
    paired = Paired(120, only_keras, only_variant)
    assert paired.p_value == pytest.approx(p_value, abs=1e-5)
    assert paired.is_worse == is_worse


def test_the_drops_interval_holds_it_and_shrinks_with_more_pictures() -> None:
    low, high = Paired(120, 5, 2).drop_interval
    assert (low, high) == pytest.approx((-0.0206, 0.0698), abs=1e-4)
    assert low < Paired(120, 5, 2).drop < high
    wide, narrow = Paired(120, 0, 0).drop_interval, Paired(12_000, 0, 0).drop_interval
    assert wide == pytest.approx((-0.0161, 0.0161), abs=1e-4)
    assert narrow[1] < 0.001
