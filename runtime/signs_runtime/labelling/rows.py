"""What a prediction becomes in a table: the same columns in CSV and in Parquet."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from signs_runtime.classifier import Prediction
from signs_runtime.errors import ImageError, SignsError

PICTURE, ERROR = "picture", "error"


@dataclass(frozen=True)
class Columns:
    """The columns between a picture's name and its error."""

    labels: Sequence[str]
    top_k: int
    is_multi_label: bool

    @property
    def names(self) -> list[str]:
        """Their names, in order."""
        ranked = [f"{name}_{i}" for i in range(2, self.top_k + 1) for name in ("label", "probability")]
        each = ["found", *(f"probability of {label}" for label in self.labels)] if self.is_multi_label else []
        return ["label", "probability", *ranked, *each]

    def values(self, prediction: Prediction) -> list[Any]:  # Any: str, float, or the list of labels found
        """Their values, in the same order."""
        ranked = [value for pair in prediction.top_k(self.top_k)[1:] for value in pair]
        each = [list(prediction.found), *prediction.probabilities.tolist()] if self.is_multi_label else []
        return [prediction.label, prediction.probability, *ranked, *each]


def explain(picture: object, error: SignsError) -> str:
    """The error's message with the picture's name, which an ImageError already contains."""
    return str(error) if isinstance(error, ImageError) else f"{picture}: {error}"
