"""Opens a SavedModel without a Keras model: its serving signature becomes the only layer of one."""

from pathlib import Path

import keras

from signs_builder.errors import ModelError
from signs_builder.network.configuration import SAVED_MODEL

SIGNATURE = "serving_default"


# Operations that do more than compute. Those for saving are in every SavedModel, but only saving calls them.
_DOING = frozenset(
    {
        "DatasetToTFRecord",
        "DatasetToTFRecordV2",
        "DebugIdentity",
        "DebugIdentityV2",
        "DebugIdentityV3",
        "EagerPyFunc",
        "MatchingFiles",
        "PrintV2",
        "PyFunc",
        "PyFuncStateless",
        "ReadFile",
        "WriteFile",
        "WriteSummary",
    }
)


def refuse_programs(folder: Path) -> None:
    """Raise ModelError for a SavedModel whose graph reads or writes files, or calls Python."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    graphs = [each.graph_def for each in SavedModel.FromString((folder / SAVED_MODEL).read_bytes()).meta_graphs]
    nodes = [graph.node for graph in graphs]
    nodes += [function.node_def for graph in graphs for function in graph.library.function]
    if found := sorted({node.op for each in nodes for node in each} & _DOING):
        raise ModelError(
            f"its graph does more than compute ({', '.join(found)}), so it is not run. Save the model again without "
            "these operations"
        )


def open_signature(folder: Path) -> keras.Model:
    """Open the folder's serving signature as a model. Raises ModelError unless it has one input and one output."""
    import tensorflow as tf

    if not (folder / "variables" / "variables.index").is_file():
        raise ModelError(
            f"its weights are missing: a SavedModel is the whole folder, {SAVED_MODEL} and variables/; copy all of it"
        )
    refuse_programs(folder)
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
            f"its signature {SIGNATURE} takes {', '.join(sorted(inputs))} and returns {', '.join(sorted(outputs))}; "
            "a classifier takes one tensor and returns one"
        )
    (taken,) = inputs.values()
    if taken.shape.rank is None or taken.dtype not in (tf.float32, tf.uint8):
        raise ModelError(
            f"its signature {SIGNATURE} takes {taken.dtype.name} {taken.shape}, not pixels (float32 or uint8)"
        )
    image = keras.Input(tuple(taken.shape[1:]), dtype=taken.dtype.name)
    given = keras.layers.TFSMLayer(str(folder), call_endpoint=SIGNATURE, name="signature")(image)
    return keras.Model(image, keras.tree.flatten(given)[0])
