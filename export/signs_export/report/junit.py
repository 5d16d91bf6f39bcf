"""The parity gate as a JUnit file, so that a CI system shows it: a suite for each variant, a case for each check."""

from collections.abc import Sequence
from pathlib import Path

from junitparser import Failure, JUnitXml, TestCase, TestSuite

from signs_builder.disk import written_whole
from signs_export.gate.verdict import Verdict


def write_junit(verdicts: Sequence[Verdict], path: Path) -> None:
    """Write the verdicts' checks; a failed one says the numbers, and the stage where a picture goes wrong."""
    document = JUnitXml("signs parity")
    for verdict in verdicts:
        suite = TestSuite(verdict.variant)
        for check in verdict.checks:
            case = TestCase(check.name, classname=f"parity.{verdict.variant}")
            if check.passed:
                case.system_out = check.says
            else:
                where = f" (stage: {check.stage})" if check.stage else ""
                case.result = [Failure(f"{check.says}{where}", "ParityError")]
            suite.add_testcase(case)
        document.add_testsuite(suite)
    document.update_statistics()  # type: ignore[no-untyped-call]
    with written_whole(path) as partial:
        document.write(str(partial), pretty=True)
