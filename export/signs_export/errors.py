"""The errors of an export: models that cannot be exported, and unsuitable data."""

from signs_runtime.errors import SignsError


class ExportError(SignsError):
    """The Keras model cannot be exported, or the bundle cannot be written to its destination."""


class CalibrationError(ExportError, ValueError):
    """The pictures are not suitable to calibrate int8 on."""


class ScalingNeededError(ExportError):
    """The model does not scale pixels itself, and its scaling was not given."""
