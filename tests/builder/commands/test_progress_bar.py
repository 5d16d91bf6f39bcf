"""Long work's bar."""

import signal
from contextlib import suppress

import click
from click.testing import CliRunner

from signs_builder.commands.progress_bar import progress_bar
from signs_runtime.commands.shared import Command


def test_a_ctrl_c_that_a_library_swallowed_ends_the_work_at_its_next_step() -> None:
    done = []

    @click.command(cls=Command)
    def command() -> None:
        with progress_bar("Working", 3) as on_done:
            for step in range(3):
                on_done(1)
                done.append(step)
                with suppress(KeyboardInterrupt):  # as some libraries do
                    signal.raise_signal(signal.SIGINT)

    result = CliRunner().invoke(command, [])
    assert (result.exit_code, "Interrupted" in result.stderr, done) == (130, True, [0])
