"""What every command does with errors: ours are explained, the user's disk too, bugs show themselves."""

import errno
import signal
import subprocess
import sys
import threading

import click
import pytest
from click.testing import CliRunner, Result

from signs_runtime import BundleFormatError
from signs_runtime.commands.shared import Command


def run(error: BaseException | None = None, *, interrupt: bool = False) -> Result:
    @click.command(cls=Command)
    def command() -> None:
        if interrupt:
            try:
                signal.raise_signal(signal.SIGINT)
            except KeyboardInterrupt:
                raise SystemError("native code made this of the interrupt") from None
        if error is not None:
            raise error

    return CliRunner().invoke(command, [])


def test_an_error_of_ours_is_explained_and_ends_with_1() -> None:
    result = run(BundleFormatError("look here"))
    assert (result.exit_code, result.stderr) == (1, "Error: look here\n")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_a_full_or_closed_disk_is_explained_and_ends_with_1(number: int) -> None:
    result = run(OSError(number, "the disk", "bundle"))
    assert result.exit_code == 1
    assert "'bundle'" in result.stderr
    assert "choose a" in result.stderr


def test_a_bug_shows_itself() -> None:
    for error in (ZeroDivisionError("bug"), OSError(errno.EBADF, "bug")):
        assert run(error).exception is error


def test_ctrl_c_ends_with_130_also_where_native_code_hides_it() -> None:
    for result in (run(KeyboardInterrupt()), run(interrupt=True)):
        assert (result.exit_code, "Interrupted" in result.stderr) == (130, True)


def test_a_termination_cleans_up_as_ctrl_c_does_and_ends_with_143() -> None:
    code = (
        "import click, os, signal, time; from signs_runtime.commands.shared import Command\n"
        "@click.command(cls=Command)\n"
        "def command():\n"
        "    try: os.kill(os.getpid(), signal.SIGTERM); time.sleep(5)\n"
        "    finally: print('cleaned up')\n"
        "command()"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (143, "cleaned up\n")


def test_a_command_outside_the_main_thread_runs_too_and_signals_are_as_before() -> None:
    before = signal.getsignal(signal.SIGINT)
    results: list[Result] = []
    thread = threading.Thread(target=lambda: results.append(run()))
    thread.start()
    thread.join()
    assert results[0].exit_code == 0
    assert run().exit_code == 0
    assert signal.getsignal(signal.SIGINT) is before
