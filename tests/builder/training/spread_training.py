"""Run by test_strategy.py in processes of their own: trains a small network, perhaps spread, and saves its weights.

Arguments: the file for the weights, and a strategy or "none". Two devices are made of the one CPU.
"""

# ruff: noqa: E402  # devices come before Keras
import os
import sys

import numpy as np

WEIGHTS, STRATEGY = sys.argv[1:]
if STRATEGY == "mirrored":
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
elif STRATEGY == "data-parallel" and "KERAS_DISTRIBUTION_JOB_ADDRESSES" not in os.environ:
    os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"

import keras

from signs_builder.data.dataset import Dataset, Split
from signs_builder.training.recipe import Augmentation, TrainConfig
from signs_builder.training.strategy import spread
from signs_builder.training.train import Setup, train
from signs_runtime import InputSpec

rng = np.random.default_rng(0)
labels = np.arange(50) % 3  # the last batch is a small one
images = (rng.integers(0, 60, (50, 16, 16, 3)) + 150 * np.eye(3)[labels][:, None, None]).astype(np.uint8)
pictures = Split(images, labels)
dataset = Dataset("colours", ("r", "g", "b"), pictures, None, pictures)
config = TrainConfig(epochs=2, batch_size=16, batch_norm_momentum=0.9, augmentation=Augmentation(shift=0.1, light=0.2))

with spread(None if STRATEGY == "none" else STRATEGY) as over:
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(8, 3, strides=2, use_bias=False),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.Conv2D(8, 1),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    start = np.random.default_rng(1)  # not Keras's, which draws otherwise on each back end
    model.set_weights([start.uniform(0.1, 0.5, each.shape) for each in model.get_weights()])
    training = train(model, dataset, config, InputSpec(16, 16), Setup(spread=over))
    if over.process == 0:
        losses = np.array([epoch.loss for epoch in training.history])
        weights = {str(i): each for i, each in enumerate(model.get_weights())}
        np.savez(WEIGHTS, losses=losses, devices=over.devices, processes=over.processes, **weights)
