"""The command `signs doctor`, which finds what keeps a bundle from running well on this device, and how to fix it."""

import sys
from dataclasses import asdict
from pathlib import Path

import click

from signs_runtime.commands.options import device_option
from signs_runtime.commands.shared import Command, json_option, print_json
from signs_runtime.errors import SignsError
from signs_runtime.placement.choices import AUTO

_SHOWN = {"ok": "ok", "note": "note", "problem": "PROBLEM"}


@click.command(cls=Command)
@click.argument("bundle", type=click.Path(path_type=Path), required=False)
@device_option
@json_option
def doctor(bundle: Path | None, device: str, as_json: bool) -> None:
    """Find problems on this device, and suggest fixes: onnxruntime, its libraries, CPU, GPU, memory, cache, Pillow.

    With BUNDLE, also check that its variants fit into memory. The exit code is 1 if there is a problem; notes do not
    count.
    """
    from signs_runtime.doctor.examine import examine

    findings = examine(bundle, None if device == AUTO else device)
    problems = sum(finding.level == "problem" for finding in findings)
    if as_json:
        print_json({"problems": problems, "findings": [asdict(finding) for finding in findings]})
    else:
        level, check = (max(map(len, words)) for words in (_SHOWN.values(), [each.check for each in findings]))
        for finding in findings:
            click.echo(f"{_SHOWN[finding.level].ljust(level)}  {finding.check.ljust(check)}  {finding.says}")
            if finding.fix:
                click.echo(f"{' ' * (level + check + 2)}  -> {finding.fix}")
    if problems:
        sys.exit(SignsError.exit_code)
