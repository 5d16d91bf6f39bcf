"""What every exported ONNX file holds besides its graph: the names of its ends, and the keys of its metadata_props."""

INPUT, OUTPUT = "image", "probabilities"  # the names in the graph
LABELS_KEY, INPUT_KEY = "signs.labels", "signs.input"
THRESHOLDS_KEY = "signs.thresholds"  # of a multi-label classifier
UNSURE_KEY = "signs.unsure_below"  # the probability below which a picture is none of the labels
TEMPERATURE_KEY = "signs.temperature"  # that the logits are divided by in the graph
WEIGHTS_KEY = "signs.weights"  # the digest of the Keras weights that it was made of
