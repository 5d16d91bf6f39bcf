"""What a device found when it proved a bundle, and the error that says so."""

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
    """What a device found when it proved a bundle."""

    digest: str  # the bundle's
    device: "Device"
    checks: "tuple[Check, ...]"
    variants: "tuple[Answers, ...]"

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)

    @property
    def failures(self) -> str:
        """The checks that did not pass, a line or more each."""
        return "\n".join(f"  {check.name}: {check.says}" for check in self.checks if not check.passed)

    def as_json(self) -> dict[str, Any]:  # Any: JSON
        """All that was found; a difference that is not a number is null."""
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
    """The bundle is not what was proved, or this device does not run it so; `verification` holds what was found."""

    exit_code = EXIT_PARITY

    def __init__(self, path: str | os.PathLike[str], verification: Verification) -> None:
        super().__init__(
            f"{path} fails its proof on this device; take the bundle from its source again, or try another variant or "
            f"device.\n{verification.failures}"
        )
        self.path, self.verification = path, verification

    def __reduce__(self) -> tuple[object, ...]:  # an exception would be made of its message alone
        return type(self), (self.path, self.verification)
