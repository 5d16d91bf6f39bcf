"""What the export refuses: models that cannot be converted, and data that cannot serve."""

from signs_runtime.errors import SignsError


class ExportError(SignsError):
    """The Keras model cannot be exported, or the bundle cannot be written there."""


class CalibrationError(ExportError, ValueError):
    """The pictures that int8 would be calibrated on cannot serve."""


class ScalingNeededError(ExportError):
    """The model does not scale pixels by itself, and nobody has said what it was trained on."""
