"""Recipes: the course's own, and how augmentation grows."""

import keras
import pytest

from signs_builder.training.recipe import RECIPES, TrainConfig


def test_augmentation_grows_to_full_strength_and_ends_calmer() -> None:
    config = TrainConfig(epochs=100, first_strength=0.2, full_strength_after=0.5, last_strength=0.4, last_epochs=0.1)
    strengths = [config.strength(epoch) for epoch in (1, 26, 51, 90, 91, 100)]
    assert strengths == pytest.approx([0.2, 0.6, 1.0, 1.0, 0.4, 0.4])


def test_the_courses_recipe_is_the_courses() -> None:
    course = RECIPES["course"]
    assert (course.epochs, course.batch_size, course.learning_rate) == (2, 32, 1e-3)
    assert course.learning_rate == pytest.approx(float(keras.optimizers.Adam().learning_rate.numpy()))
