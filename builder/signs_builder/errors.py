"""What the builder refuses: data and models that cannot be what the user meant."""

from signs_runtime.errors import SignsError


class DatasetError(SignsError, ValueError):
    """The pictures are missing, malformed or too few to learn from."""


class ModelError(SignsError, ValueError):
    """The Keras model cannot be built, or its file cannot be loaded."""


class DiskFullError(SignsError, OSError):
    """There is no room for what is about to be made."""


class StrategyError(SignsError, RuntimeError):
    """A training cannot be spread as asked, with the devices and the back end that there are."""
