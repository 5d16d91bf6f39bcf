"""Names in every exported ONNX file: its input and output, and the keys of its metadata_props."""

INPUT, OUTPUT = "image", "probabilities"  # names in the graph
LABELS_KEY, INPUT_KEY = "signs.labels", "signs.input"
THRESHOLDS_KEY = "signs.thresholds"  # of a multi-label classifier
UNSURE_KEY = "signs.unsure_below"  # the probability below which a picture is none of the labels
TEMPERATURE_KEY = "signs.temperature"  # the graph divides the logits by it
WEIGHTS_KEY = "signs.weights"  # the digest of the Keras weights
