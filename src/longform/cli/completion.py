"""`longform --install-completion`."""

from pathlib import Path
from typing import Literal

from longform.cli.output import print_result


def install_completion(*, shell: Literal["bash", "zsh", "fish"] | None = None, out: Path | None = None) -> None:
    """Install completion of commands and flags for your shell.

    Args:
        shell: Shell to install it for (default: the shell that runs this command).
        out: File to write instead of the shell's own place; the shell's start-up file is then left alone.
    """
    from cyclopts.completion.detect import ShellDetectionError

    from longform.cli import build_app
    from longform.records.errors import BadInputError

    try:
        path = build_app().install_completion(shell=shell, output=out, add_to_startup=out is None)
    except ShellDetectionError:
        raise BadInputError("--shell: cannot tell which shell this is; pass bash, zsh or fish") from None
    print_result({"path": str(path)}, as_json=False, next_command="open a new shell, then: longform <TAB>")
