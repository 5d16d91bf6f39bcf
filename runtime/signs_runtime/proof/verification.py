"""The result of a device's proof of a bundle, and the error for a proof that failed."""

import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from signs_runtime.errors import EXIT_PARITY, BundleError
from signs_runtime.figures import finite

if TYPE_CHECKING:
    from signs_runtime.engine.device import Device
    from signs_runtime.proof.checks import Answers, Check


@dataclass(frozen=True)
class Verification:
    """The result of a device's proof of a bundle."""

    digest: str  # the bundle's
    device: "Device"
    checks: "tuple[Check, ...]"
    variants: "tuple[Answers, ...]"

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)

    @property
    def failures(self) -> str:
        """The checks that failed, each on one or more lines."""
        return "\n".join(f"  {check.name}: {check.says}" for check in self.checks if not check.passed)

    def as_json(self) -> dict[str, Any]:  # Any: JSON
        """The whole result as JSON; a difference that is infinite or not a number is null."""
        return {
            "passed": self.passed,
            "digest": self.digest,
            "device": asdict(self.device),
            "checks": [asdict(check) for check in self.checks],
            "variants": [
                {
                    "variant": each.variant,
                    "passed": each.passed,
                    "pictures": each.pictures,
                    "same_label": each.same_label,
                    "max_difference": finite(each.max_difference),
                    "tolerance": each.tolerance,
                    "error": each.error,
                }
                for each in self.variants
            ],
        }


class VerificationError(BundleError):
    """The bundle is not the one that was proved, or this device runs it differently; `verification` has the details."""

    exit_code = EXIT_PARITY

    def __init__(self, path: str | os.PathLike[str], verification: Verification) -> None:
        super().__init__(
            f"{path} failed its proof on this device. Copy the bundle again from its source, or try another variant or "
            f"device.\n{verification.failures}"
        )
        self.path, self.verification = path, verification

    def __reduce__(self) -> tuple[object, ...]:  # the default would rebuild the exception from its message alone
        return type(self), (self.path, self.verification)
