"""Adapts a training to the hardware by Keras's own means: several GPUs or hosts, mixed precision."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import keras
import numpy as np

from signs_builder.errors import StrategyError
from signs_builder.network.model_file import MIXED_PRECISION
from signs_builder.training.recipe import DATA_PARALLEL, MIRRORED

BACKENDS = {MIRRORED: "tensorflow", DATA_PARALLEL: "jax"}


@dataclass(frozen=True)
class Spread:
    """How a training is spread: over `devices` in total; this process is number `process` (from 0) of `processes`."""

    devices: int = 1
    process: int = 0
    processes: int = 1


@contextmanager
def spread(strategy: str | None) -> Iterator[Spread]:
    """Inside this context, a network is built for all devices. Raises StrategyError with fewer than two devices.

    `mirrored` is TensorFlow's MirroredStrategy, on the GPUs of one host. `data-parallel` is Keras's DataParallel on
    JAX, on all devices of all hosts: https://keras.io/guides/distribution/. Hosts find each other by the three
    environment variables KERAS_DISTRIBUTION_JOB_ADDRESSES, KERAS_DISTRIBUTION_NUM_PROCESSES and
    KERAS_DISTRIBUTION_PROCESS_ID.
    """
    if strategy is None:
        yield Spread()
        return
    if keras.backend.backend() != BACKENDS[strategy]:
        raise StrategyError(
            f"--strategy {strategy} needs Keras's back end {BACKENDS[strategy]}, not {keras.backend.backend()}; "
            f"set KERAS_BACKEND={BACKENDS[strategy]}."
        )
    if strategy == MIRRORED:
        import tensorflow as tf

        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        _need_two(strategy, len(devices))
        with tf.distribute.MirroredStrategy([device.name for device in devices]).scope():
            yield Spread(len(devices))
        return
    if "KERAS_DISTRIBUTION_JOB_ADDRESSES" in os.environ:
        keras.distribution.initialize()
    import jax

    _need_two(strategy, jax.device_count())
    keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))
    try:
        yield Spread(jax.device_count(), jax.process_index(), jax.process_count())
    finally:
        keras.distribution.set_distribution(None)


def check_same_start(spread: Spread, epochs: int) -> None:
    """Raise StrategyError unless all processes start after the same number of epochs."""
    if spread.processes == 1:
        return
    from jax.experimental import multihost_utils

    everywhere = np.unique(multihost_utils.process_allgather(np.array(epochs)))
    if len(everywhere) > 1:
        raise StrategyError(
            f"The processes found checkpoints of different epochs ({' and '.join(map(str, everywhere))}). Put -o on a "
            "disk that all hosts share, or delete the checkpoints."
        )


@contextmanager
def mixed_precision(wanted: bool | None) -> Iterator[None]:
    """Inside this context, networks compute in bfloat16 if `wanted`; None: if Keras's back end has a GPU."""
    if wanted is None:
        wanted = any(not device.startswith("cpu") for device in keras.distribution.list_devices())
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(MIXED_PRECISION if wanted else before)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _need_two(strategy: str, devices: int) -> None:
    if devices < 2:
        raise StrategyError(
            f"--strategy {strategy} needs two devices or more, but Keras sees {devices}; leave the option out."
        )
