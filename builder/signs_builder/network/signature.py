"""Opens a SavedModel that holds no Keras model: its serving signature, as the one layer of a Keras model."""

from pathlib import Path

import keras

from signs_builder.errors import ModelError
from signs_builder.network.configuration import SAVED_MODEL

SIGNATURE = "serving_default"


def open_signature(folder: Path) -> keras.Model:
    """The folder's serving signature as a model of one input and one output. Raises ModelError where it has another."""
    import tensorflow as tf

    if not (folder / "variables" / "variables.index").is_file():
        raise ModelError(
            f"its weights are missing: a SavedModel is the whole folder, {SAVED_MODEL} and variables/; copy all of it"
        )
    loaded = tf.saved_model.load(str(folder))
    names = sorted(loaded.signatures)
    if SIGNATURE not in names:
        raise ModelError(
            f"it has no signature {SIGNATURE} (it has {', '.join(names) or 'none'}); save it again with the one that "
            f"classifies pictures: tf.saved_model.save(model, folder, signatures={{'{SIGNATURE}': function}})"
        )
    signature = loaded.signatures[SIGNATURE]
    (_, inputs), outputs = signature.structured_input_signature, signature.structured_outputs
    if len(inputs) != 1 or len(outputs) != 1:
        raise ModelError(
            f"its signature {SIGNATURE} takes {', '.join(sorted(inputs))} and gives {', '.join(sorted(outputs))}; "
            "a classifier takes one tensor and gives one"
        )
    (taken,) = inputs.values()
    if taken.shape.rank is None or taken.dtype not in (tf.float32, tf.uint8):
        raise ModelError(f"its signature {SIGNATURE} takes {taken.dtype.name} {taken.shape}; a classifier takes pixels")
    image = keras.Input(tuple(taken.shape[1:]), dtype=taken.dtype.name)
    given = keras.layers.TFSMLayer(str(folder), call_endpoint=SIGNATURE, name="signature")(image)
    return keras.Model(image, keras.tree.flatten(given)[0])
