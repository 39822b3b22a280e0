"""The `longform` command: parse arguments, call the package, print the result. No other package prints to the terminal.

Commands are registered by name and imported on first use, so that `--help` never loads torch.
"""

import errno
import os
import shlex
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from shutil import get_terminal_size
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from longform.records.errors import LongformError, LongformWarning
from longform.records.optional import EXTRAS, describe_missing
from longform.version import __version__

if TYPE_CHECKING:
    from cyclopts import App, CycloptsError

COMMAND_GROUPS = {
    "Begin": {
        "quickstart": "Run the whole pipeline in a built-in world: no network, no GPU, a few minutes.",
        "init": "Write a new project: models.yaml, a recipe, sample prompts and JSON Schemas.",
        "recipe": "List the recipes that come with longform, and copy one to start from.",
        "schema": "Print the JSON Schema of a recipe or of models.yaml, for an editor.",
        "probe": "Ask a model one question of each kind, and report what its endpoint supports.",
        "serve-miniature": "Serve the built-in world's writers, judge, examiner and rewriter over HTTP.",
    },
    "Prompts and ladders": {
        "pool": "Collect prompts from chat logs and files; remove duplicates and benchmark prompts.",
        "filter": "Have a judge keep the prompts that need long, high-quality writing.",
        "lengths": "Predict a target length range per prompt.",
        "criteria": "Write criteria for each prompt: by a judge, or from a published file.",
        "generate": "Write responses to prompts, with an endpoint or a local model.",
        "grade": "Have a judge grade responses.",
        "select": "Choose prompts by learning potential and build their ladders.",
        "ladders": "Check with a judge whether the rungs of ladders are in the right order.",
    },
    "Supervised stages": {
        "sft": "Fine-tune a writer on texts (TRL).",
        "pretrain": "Continue pretraining a base model on raw text (TRL).",
        "preferences": "Build preference pairs (chosen and rejected) for a reward model.",
        "reward-model": "Train a reward model on preferences (Bradley-Terry, TRL).",
        "judge-model": "Train a small model as a pairwise judge, on verdicts and labels (TRL, GRPO).",
    },
    "Train": {
        "estimate": "Estimate a run's tokens, judge calls, cost and hours.",
        "train": "Train a policy with PPO or GRPO from a recipe.",
        "doctor": "Check a run for known failure signatures.",
        "replay": "Rescore a run's recorded texts with another judge, reward or curriculum rule.",
        "runs": "List runs with their progress.",
        "report": "Write a run's HTML report.",
        "view": "Show runs and results in a browser: every training text, its reference, and the judges' answers.",
    },
    "Evaluate": {
        "bench": "List, fetch and run long-form writing benchmarks.",
        "compare": "Compare two runs, or two writers, on the same prompts.",
        "arena": "Rate models from pairwise games (Bradley-Terry), with intervals.",
        "audit": "Measure how reliable judges are before using them as rewards.",
        "label": "Have people choose between two texts in a browser, blind; pairs, runs or games.",
        "slop": "Find the phrases that a model overuses.",
        "study": "Run a study: arms x seeds x examinations, joined into tables and curves.",
        "calls": "Print recorded calls to models, or their tokens and cost.",
    },
    "Share": {
        "publish": "Upload a policy with a model card, or a file of rows, to the Hugging Face hub.",
        "export": "Write the rewards and the ladder of a recipe for TRL or verifiers.",
    },
}
"""Commands with their summaries, by what they are for, in the order of a project."""
COMMANDS = {name: text for commands in COMMAND_GROUPS.values() for name, text in commands.items()}
SUMMARY = "Reinforcement learning for long-form writers: from a pile of prompts to a measurably better writer."
INSTALL_COMPLETION = "--install-completion"
RENAMED = {
    "pool": {
        "--against": "--decontaminate",
        "--near": "--near-dup-threshold",
        "--least-words": "--min-words",
        "--most-words": "--max-words",
    },
    "lengths": {"--again": "--refresh"},
    "select": {"--per": "--group-by"},
    "compare": {"--per": "--group-by"},
    "preferences": {"--most-per-prompt": "--max-per-prompt"},
    "quickstart": {"--whole": "--full-pipeline"},
}
"""Command -> old flag -> new flag."""
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR)


def build_app(called: str | None = None) -> "App":
    """Build the command-line application.

    Args:
        called: The command on the command line. Its help shows the full docstring, all others their summary.
    """
    from cyclopts import App

    app = App(
        name="longform",
        help=SUMMARY,
        version=__version__,
        version_flags=["--version"],
        suppress_keyboard_interrupt=False,
        help_format="markdown",
    )
    for name, text in COMMANDS.items():
        module = name.replace("-", "_")
        app.command(f"longform.cli.{module}:{module}", name=name, help=None if name == called else text)
    app.command(
        "longform.cli.completion:install_completion",
        name=INSTALL_COMPLETION,
        help=None if called == INSTALL_COMPLETION else "Install completion of commands and flags for your shell.",
    )
    return app


def main(arguments: list[str] | None = None) -> None:
    """Run one command. Exits with code 2 on bad input, and with 3 when a run stopped and can be resumed."""
    try:
        try:
            given = sys.argv[1:] if arguments is None else arguments
            if renamed := describe_renamed(given):
                _fail(renamed, 2)
            if list(given) in ([], ["--help"], ["-h"]):
                print(describe_commands(get_terminal_size().columns))
                sys.exit(0)
            with _warnings_as_lines(), _interrupts_as_such():
                _run(given)
        finally:
            sys.stdout.flush()
    except LongformError as error:
        _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        _fail("interrupted; completed work is kept (train: continue with --resume)", 3)
    except ModuleNotFoundError as error:
        # Whatever belongs to a file or flag is checked before; a package that is missed here is missed by a command.
        if error.name not in EXTRAS:
            raise
        extra = "train" if EXTRAS[error.name] == "data" else EXTRAS[error.name]
        _fail(f"this command {describe_missing(error.name, extra=extra)}", 2)
    except BrokenPipeError:
        _discard_output()
        sys.exit(0)
    except OSError as error:
        if error.errno not in _DISK_ERRORS:
            raise
        _discard_output()
        _fail(f"{error.filename or 'output'}: cannot be written: {error.strerror}", 3)


@contextmanager
def _interrupts_as_such() -> Iterator[None]:
    """Raise Ctrl-C as `KeyboardInterrupt` where another error hides it: compiled modules that are being imported raise an
    `ImportError` of their own.
    """
    try:
        yield
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, KeyboardInterrupt):
                raise KeyboardInterrupt from error
            cause = cause.__cause__ or cause.__context__
        raise


def _run(arguments: Sequence[str]) -> None:
    from cyclopts import CycloptsError

    try:
        build_app(arguments[0])(arguments, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        _fail(_describe_usage(error), 2)


def _describe_usage(error: "CycloptsError") -> str:
    """What is wrong with a command's arguments, in one line; in our words where the library's name its own types."""
    from cyclopts import MissingArgumentError, UnusedCliTokensError

    words = shlex.join(["longform", *(error.command_chain or ())])
    if isinstance(error, UnusedCliTokensError) and error.unused_tokens:
        return f"unexpected argument {shlex.join(error.unused_tokens)}; `{words} --help` lists what it takes"
    if isinstance(error, MissingArgumentError) and error.argument is not None:
        name = error.argument.name
        if error.argument.field_info.is_positional:
            return f"{name.lstrip('-').upper()} is missing: {words} needs it as an argument; see `{words} --help`"
        return f"{name}: is required, with a value; see `{words} --help`"
    return " ".join(str(error).split())


def describe_commands(width: int) -> str:
    """Return the list of all commands, grouped by purpose, in lines of up to `width` columns.

    It does not use the library that prints the help of single commands, whose import would take most of the time.
    """
    indent = max(map(len, COMMANDS)) + 4
    lines = ["Usage: longform COMMAND", "", *wrap(SUMMARY, width)]
    for title, commands in COMMAND_GROUPS.items():
        lines += ["", f"{title}:"]
        for name, text in commands.items():
            lines += wrap(
                text, max(width, indent + 20), initial_indent=f"  {name}".ljust(indent), subsequent_indent=" " * indent
            )
    about = {
        "COMMAND --help": "its arguments and flags",
        "--version": "the version",
        INSTALL_COMPLETION: "for your shell",
    }
    return "\n".join([*lines, "", *(f"longform {what}".ljust(indent + 15) + text for what, text in about.items())])


def describe_renamed(arguments: Sequence[str]) -> str | None:
    """Return an error message for the first renamed flag among the arguments; None if there is none."""
    command, *rest = arguments or ("",)
    for word in rest:
        flag = word.partition("=")[0]
        if flag in RENAMED.get(command, {}):
            return f"{flag}: renamed to {RENAMED[command][flag]}"
    return None


@contextmanager
def _warnings_as_lines() -> Iterator[None]:
    """Print our own warnings, each once in one line; other warnings are left to Python."""
    shown: set[str] = set()
    with warnings.catch_warnings():
        show = warnings.showwarning
        warnings.simplefilter("always", LongformWarning)

        def print_line(message: Warning | str, category: type[Warning], *place: Any, **options: Any) -> None:
            if not issubclass(category, LongformWarning):
                show(message, category, *place, **options)
            elif str(message) not in shown:
                from longform.cli.output import printable

                shown.add(str(message))
                print(f"longform: {printable(message)}", file=sys.stderr)

        warnings.showwarning = print_line
        yield


def _fail(message: str, code: int) -> None:
    from longform.cli.output import printable

    print(f"longform: {printable(message)}", file=sys.stderr)
    sys.exit(code)


def _discard_output() -> None:
    """Redirect stdout to the null device: otherwise Python fails when it flushes stdout at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
