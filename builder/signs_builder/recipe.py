"""What a training is set to: one frozen value, and the recipes that the project offers by name."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TrainConfig:
    """The course's own recipe: Adam, categorical cross-entropy, pictures / 255 (inside the model)."""

    epochs: int = 2
    batch_size: int = 32
    learning_rate: float = 1e-3  # Keras's default for Adam
    seed: int = 1  # the course's np.random.seed(1)


RECIPES = {"course": TrainConfig()}
DEFAULT_RECIPE = "course"

SYNTHETIC = "synthetic"  # the data set that needs no files
