"""Draws a terminal, with commands that are run for it and what they print: `python docs/draw_terminal.py --help`.

The pages' terminals are made in a folder with SIGNS's pictures and a trained model, by

    python docs/draw_terminal.py docs/terminal.svg --without system \
        "build-and-export --model signs.keras --scaling unit --int8 signs -o bundle" \
        "signs verify bundle" "signs predict bundle hand.jpg --top-k 3"
    python docs/draw_terminal.py docs/tune.svg --width 138 "signs tune bundle"
    python docs/draw_terminal.py docs/inspect.svg "signs inspect signs.keras signs"
    python docs/draw_terminal.py docs/failed.svg \
        "signs parity signs.keras bundle/fp32.onnx signs --scaling tf --parity-pictures 200"
"""

import argparse
import re
import shlex
import subprocess
import sys
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.text import Text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("commands", nargs="+")
    parser.add_argument("--without", action="append", default=[], help="leave out lines that begin with this word")
    parser.add_argument("--width", type=int, default=118, help="characters in a line")
    arguments = parser.parse_args()
    console = Console(record=True, width=arguments.width, file=StringIO())
    for command in arguments.commands:
        words = shlex.split(command)
        program = Path(sys.executable).with_name(words[0])
        result = subprocess.run(
            [str(program), *words[1:]], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        console.print(Text.assemble(("$ ", "bold green"), (command, "bold")))
        said = result.stdout.replace(f"{Path.cwd()}/", "").rstrip()
        lines = [line for line in said.splitlines() if line.split(" ")[0] not in arguments.without]
        console.print(Text("\n".join(lines)))
        if result.returncode:
            console.print(Text(f"exit code {result.returncode}", "bold red"))
        console.print()
    drawn = console.export_svg(title="signs-edge")
    # No fonts from a network: the reader's own.
    drawn = re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL)
    arguments.output.write_text(drawn.replace("Fira Code", "ui-monospace"), encoding="utf-8")


if __name__ == "__main__":
    main()
