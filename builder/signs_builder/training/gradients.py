"""Shows the vanishing gradients of the course: norms for each stage, of ResNet-50 and its twin without shortcuts."""

from collections.abc import Callable, Iterator

import keras
import numpy as np
from keras import ops

from signs_builder.data.dataset import Dataset
from signs_builder.network.resnet import STAGES, resnet50
from signs_builder.progress import ignore_progress
from signs_builder.training.batches import Batches, open_pictures
from signs_builder.training.recipe import TrainConfig
from signs_runtime.pictures.input_spec import InputSpec

RESIDUAL, PLAIN = "ResNet-50", "its plain twin, without shortcuts"
STEPS = 20  # of each network


class WatchedAdam(keras.optimizers.Adam):  # type: ignore[misc]  # Keras has no types
    """Adam that also keeps the norm of each gradient, inside the graph and on every back end."""

    def build(self, variables: list[keras.Variable]) -> None:
        super().build(variables)
        self.norms = [self.add_variable(shape=(), name=f"norm_{i}") for i in range(len(variables))]

    def update_step(
        self, gradient: keras.KerasTensor, variable: keras.Variable, learning_rate: keras.KerasTensor
    ) -> None:
        self.assign(self.norms[self._get_variable_index(variable)], ops.sqrt(ops.sum(ops.square(gradient))))
        super().update_step(gradient, variable, learning_rate)


def measure_gradients(
    dataset: Dataset,
    config: TrainConfig,
    spec: InputSpec,
    *,
    steps: int = STEPS,
    on_step: Callable[[int], None] = ignore_progress,
) -> dict[str, dict[str, list[float]]]:
    """Measure the gradient norm over all kernels of each stage, by step: {network: {stage: [steps]}}.

    Both networks start with the course's kernels and see the same batches.
    """
    training = dataset.all_but_test
    read = open_pictures(training, spec)
    measured = {}
    for name, shortcuts in ((RESIDUAL, True), (PLAIN, False)):
        keras.utils.set_random_seed(config.seed)
        model = resnet50(spec.shape, len(dataset.labels), shortcuts=shortcuts, width=config.width)
        optimizer = WatchedAdam(config.learning_rate)
        model.compile(optimizer=optimizer, loss="categorical_crossentropy")
        stages: dict[str, list[float]] = {stage: [] for stage, _ in _kernels_by_stage(model)}
        batches = Batches(read, training.labels, len(dataset.labels), config)
        for step in range(steps):
            model.train_on_batch(*batches[step])
            for stage, places in _kernels_by_stage(model):
                norms = [float(ops.convert_to_numpy(optimizer.norms[i])) for i in places]
                stages[stage].append(float(np.sqrt(np.square(norms).sum())))
            on_step(1)
        batches.close()
        measured[name] = stages
    return measured


def _kernels_by_stage(model: keras.Model) -> Iterator[tuple[str, list[int]]]:
    """The stages, from the input on, with the indices of their kernels among the trainable variables."""
    of_layer = {
        id(layer.kernel): layer.name
        for layer in model.layers
        if hasattr(layer, "kernel") and "branch1" not in layer.name
    }
    kernels = [(i, of_layer[id(each)]) for i, each in enumerate(model.trainable_variables) if id(each) in of_layer]
    prefixes = {"conv1": "conv1", **{f"stage {stage}": f"res{stage}" for stage, *_ in STAGES}, "fc": "fc"}
    for stage, prefix in prefixes.items():
        yield stage, [i for i, name in kernels if name.startswith(prefix)]
