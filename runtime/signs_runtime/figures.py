"""Statistics of labels on pictures: accuracy, and paired comparison with Keras, each with its 95% interval."""

import math
from dataclasses import dataclass
from typing import Any

_Z = 1.959964  # the normal distribution's 97.5% point


@dataclass(frozen=True)
class Accuracy:
    """How many of the pictures got the right label."""

    correct: int
    total: int

    @property
    def share(self) -> float:
        """0..1."""
        return self.correct / self.total

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% Wilson score interval, 0..1 (Wilson, 1927, https://doi.org/10.1080/01621459.1927.10502953)."""
        z, n, p = _Z, self.total, self.share
        middle, spread = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        low, high = (middle - spread) / (1 + z * z / n), (middle + spread) / (1 + z * z / n)
        return max(0.0, min(p, low)), min(1.0, max(p, high))  # rounding must not exclude the share itself

    def as_json(self) -> dict[str, Any]:
        """The counts, as in the manifest, with the accuracy and its interval."""
        return {"correct": self.correct, "total": self.total, "accuracy": self.share, "interval_95": self.interval}

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.correct:,} of {self.total:,} ({self.share:.1%}; 95%: {low:.1%} to {high:.1%})"


@dataclass(frozen=True)
class Paired:
    """Keras and a variant on the same test pictures: how many pictures only one of them labels right."""

    total: int
    only_keras: int
    only_variant: int

    @property
    def p_value(self) -> float:
        """McNemar's exact test, two-sided, of both being equally good (McNemar, 1947, doi:10.1007/BF02295996)."""
        n, fewer = self.only_keras + self.only_variant, min(self.only_keras, self.only_variant)
        return min(1.0, sum(math.comb(n, i) for i in range(fewer + 1)) / 2 ** (n - 1)) if n else 1.0

    @property
    def is_worse(self) -> bool:
        """Whether the variant labels fewer pictures right than Keras, beyond chance (p < 0.05)."""
        return self.only_keras > self.only_variant and self.p_value < 0.05

    @property
    def drop(self) -> float:
        """The accuracy that the variant loses, in -1..1."""
        return (self.only_keras - self.only_variant) / self.total

    @property
    def drop_interval(self) -> tuple[float, float]:
        """The drop's 95% interval (Agresti and Min, 2005, https://doi.org/10.1002/sim.1781)."""
        n, lost, won = self.total + 2, self.only_keras + 0.5, self.only_variant + 0.5
        middle = (lost - won) / n
        spread = _Z * math.sqrt(lost + won - (lost - won) ** 2 / n) / n
        return max(-1.0, middle - spread), min(1.0, middle + spread)


def finite(value: float) -> float | None:
    """The value, or None if it is infinite or not a number, which JSON cannot express."""
    return value if math.isfinite(value) else None
