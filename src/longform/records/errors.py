"""The two errors that end a command on purpose: bad input, and a run that stopped and can be resumed.

Every message is one line that names the file, field or flag. The command line prints it and exits with `exit_code`; any
other exception is a bug and shows its traceback.
"""


class LongformError(Exception):
    """An error for the user: one line, no traceback."""

    exit_code = 2

    def __str__(self) -> str:
        """The message; names and values in it may hold ends of lines."""
        return " ".join(super().__str__().split("\n"))


class BadInputError(LongformError):
    """Something the user gave (a file, a field, a flag, an endpoint's address) cannot be used. Exit code 2."""

    exit_code = 2


class StoppedError(LongformError):
    """A run stopped before its end and can be resumed (budget reached, too many failed verdicts). Exit code 3."""

    exit_code = 3


class BudgetSpentError(StoppedError):
    """What a command or a run may spend is spent."""


class LongformWarning(UserWarning):
    """A warning for the user, in one line that names the file; the command continues."""


class RowsWarning(LongformWarning):
    """Rows of a file were changed or skipped."""


class DeviceWarning(LongformWarning):
    """A device of this machine is left unused."""


class CheckpointWarning(LongformWarning):
    """A run does not continue from its last step, because a checkpoint is damaged or there is none yet."""


def in_one_line(error: Exception) -> str:
    """What another library says of a failure, in one line of at most 300 characters."""
    return (" ".join(str(error).split()) or type(error).__name__)[:300]
