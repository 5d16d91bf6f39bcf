"""Measures a recipe by cross-validation: every training picture is once measured on and not trained on."""

import functools
from collections.abc import Callable, Iterator
from dataclasses import replace

import keras
import numpy as np

from signs_builder.data.dataset import Dataset
from signs_builder.errors import DatasetError
from signs_builder.evaluation.evaluate import evaluate
from signs_builder.progress import Progress, no_progress
from signs_builder.training.recipe import TrainConfig
from signs_builder.training.train import train
from signs_builder.training.validation import predict
from signs_runtime.figures import Accuracy
from signs_runtime.pictures.input_spec import InputSpec


def cross_validated(
    dataset: Dataset,
    folds: int,
    config: TrainConfig,
    spec: InputSpec,
    new_model: Callable[[], keras.Model],
    *,
    progress: Progress = no_progress,
) -> Iterator[Accuracy]:
    """Split all training pictures into `folds`; for each fold, train on the others and yield the accuracy on it.

    All folds have the same share of each class. The test split is not used. Raises DatasetError if a class has fewer
    pictures than there are folds.
    """
    pictures = dataset.all_but_test
    rng = np.random.default_rng(0)
    fold_of = np.empty(len(pictures), np.int64)
    for label, name in enumerate(dataset.labels):
        members = rng.permutation(np.flatnonzero(pictures.labels == label))
        if len(members) < folds:
            raise DatasetError(
                f"{name!r} has fewer training pictures ({len(members)}) than there are folds ({folds}); "
                "choose a smaller --folds."
            )
        fold_of[members] = np.arange(len(members)) % folds
    for fold in range(folds):
        apart = pictures.part(np.flatnonzero(fold_of == fold))
        rest = replace(dataset, train=pictures.part(np.flatnonzero(fold_of != fold)), validation=None, test=apart)
        model = new_model()
        train(model, rest, config, spec, title=f"Fold {fold + 1} of {folds}", progress=progress)
        said = functools.partial(predict, model)
        yield evaluate(said, apart, rest.labels, spec, suite=False).accuracy
        keras.backend.clear_session()
