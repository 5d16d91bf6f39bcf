"""What the export refuses: models that cannot be converted, and bundles that do not answer as Keras does."""

from typing import TYPE_CHECKING

from signs_runtime.errors import EXIT_PARITY, SignsError

if TYPE_CHECKING:
    from signs_export.parity import ParityReport


class ExportError(SignsError):
    """The Keras model cannot be exported, or the bundle cannot be written there."""


class CalibrationError(ExportError, ValueError):
    """The pictures that int8 would be calibrated on cannot serve."""


class ParityError(ExportError):
    """The exported model does not answer as Keras does; `report` holds the numbers."""

    exit_code = EXIT_PARITY

    def __init__(self, report: "ParityReport", advice: str) -> None:
        super().__init__(f"{report.describe()}\n{advice}")
        self.report = report
