"""Runs `signs` in this process."""

from click.testing import CliRunner, Result

from signs_runtime.commands.signs import signs


def run(*arguments: object) -> Result:
    return CliRunner().invoke(signs, [str(each) for each in arguments])
