"""Run by test_checkpoint.py in processes of their own, and killed: trains a small network and saves how it went.

Arguments: the checkpoint, the file for history and weights, "resume" or "start", and after how many steps it waits to
be killed, 0 for none.
"""

import json
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import keras
import numpy as np

from signs_builder.data.dataset import Dataset, Split
from signs_builder.data.embedded import HANDS
from signs_builder.data.hands import draw_hands
from signs_builder.training.checkpoint import Checkpoint
from signs_builder.training.recipe import Augmentation, TrainConfig
from signs_builder.training.train import Setup, train
from signs_runtime import InputSpec

CHECKPOINT, RESULT, HOW, LAST = sys.argv[1:]
images, labels = draw_hands(72, size=24)
pictures = Split(images, labels)
dataset = Dataset("hands", HANDS, Split(images[:48], labels[:48]), Split(images[48:], labels[48:]), pictures)
config = TrainConfig(
    epochs=6,
    batch_size=4,
    warmup_epochs=1,
    last_learning_rate=1e-4,
    batch_norm_momentum=0.9,
    augmentation=Augmentation(shift=0.1, turn=20, wall=0.5, light=0.3, noise=5),
    first_strength=0.2,
    full_strength_after=0.5,
    validate=True,
)
steps = iter(range(1, 1_000_000))


def report(step: str) -> None:
    print(f"{step} step", flush=True)
    if step == "Training" and next(steps) == int(LAST):
        time.sleep(600)


keras.utils.set_random_seed(1)
model = keras.Sequential(
    [
        keras.Input((24, 24, 3)),
        keras.layers.Rescaling(1 / 255),
        keras.layers.Conv2D(16, 3, strides=2),
        keras.layers.BatchNormalization(),
        keras.layers.ReLU(),
        keras.layers.Conv2D(32, 3, strides=2, activation="relu"),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dropout(0.2),
        keras.layers.Dense(6, activation="softmax"),
    ]
)
training = train(
    model,
    dataset,
    config,
    InputSpec(24, 24),
    Setup(Checkpoint(Path(CHECKPOINT), {"config": "the same"}), resume=HOW == "resume"),
    progress=lambda step, total: nullcontext(lambda done: report(step)),
)
history = [[each.loss, each.accuracy, each.validation_loss] for each in training.history]
weights = {str(i): each for i, each in enumerate(model.get_weights())}
np.savez(RESULT, history=np.array(history), said=json.dumps(training.kept_epoch), **weights)
