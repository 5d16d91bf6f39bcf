"""Writes the gate's checks as a JUnit file for CI systems: a suite for each variant, a case for each check."""

from collections.abc import Sequence
from pathlib import Path

from junitparser import Failure, JUnitXml, TestCase, TestSuite

from signs_builder.disk import written_whole
from signs_export.gate.verdict import Verdict
from signs_export.report.document import shown


def write_junit(verdicts: Sequence[Verdict], path: Path) -> None:
    """Write the verdicts' checks. A failed one has its numbers, and the first stage that differs."""
    document = JUnitXml("signs parity")
    for verdict in verdicts:
        name = shown(verdict.variant)
        suite = TestSuite(name)
        for check in verdict.checks:
            case = TestCase(check.name, classname=f"parity.{name}")
            if check.passed:
                case.system_out = shown(check.says)
            else:
                where = f" (stage: {check.stage})" if check.stage else ""
                case.result = [Failure(shown(f"{check.says}{where}"), "ParityError")]
            suite.add_testcase(case)
        document.add_testsuite(suite)
    document.update_statistics()  # type: ignore[no-untyped-call]
    with written_whole(path) as partial:
        document.write(str(partial), pretty=True)
