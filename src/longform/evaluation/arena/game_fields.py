"""Optional fields of a game: the lengths of its texts, its cluster, and its weight.

These fields are optional in games files, so they are checked here when they are used.
"""

from collections.abc import Iterable, Sequence

from longform.records.errors import BadInputError
from longform.records.schemas import Game, Response
from longform.text.words import count_words_of_any_script

GameLengths = Sequence[tuple[float, float]]
"""[games] numbers of words of model_a's and model_b's texts."""
MAX_WINS = 100
"""Maximum weight of a game."""


def cluster_of(game: Game) -> str:
    """Return the unit that the bootstrap resamples: the field `cluster` of a game, or its prompt.

    Several prompts can be variants of one request and then count as one piece of evidence.

    Raises:
        BadInputError: the field is not a string.
    """
    stated = (game.model_extra or {}).get("cluster")
    if stated is None:
        return game.prompt_id
    if not isinstance(stated, str) or not stated:
        raise BadInputError(f"cluster: {_who(game)} needs a name, got {stated!r}")
    return stated


def weight_of(game: Game) -> int:
    """Return how many wins a game counts for in the ratings: the field `weight`, or 1. Win rates ignore weights.

    Raises:
        BadInputError: the field is not a whole number from 1 to 100.
    """
    stated = (game.model_extra or {}).get("weight")
    if stated is None:
        return 1
    if isinstance(stated, bool) or not isinstance(stated, int | float) or stated not in range(1, MAX_WINS + 1):
        raise BadInputError(f"weight: {_who(game)} needs a whole number from 1 to {MAX_WINS}, got {stated!r}")
    return int(stated)


def stated_lengths(games: Sequence[Game]) -> GameLengths:
    """Read lengths from the fields `words_a` and `words_b` of the games.

    Raises:
        BadInputError: a game lacks one of them, or it is not a number of words.
    """
    return [(_stated(game, "words_a"), _stated(game, "words_b")) for game in games]


def counted_lengths(games: Sequence[Game], responses: Iterable[Response]) -> GameLengths:
    """Count the words of the texts; a game without `sample` refers to sample 0.

    Raises:
        BadInputError: a text is missing.
    """
    words = {it.key: count_words_of_any_script(it.text) for it in responses}

    def find(game: Game, model: str) -> int:
        key = (game.prompt_id, model, game.sample or 0)
        if key not in words:
            raise BadInputError(f"--responses: no response of {model!r} to prompt {game.prompt_id!r}, sample {key[2]}")
        return words[key]

    return [(find(game, game.model_a), find(game, game.model_b)) for game in games]


def _stated(game: Game, field: str) -> float:
    value = (game.model_extra or {}).get(field)
    if value is None:
        raise BadInputError(
            f"--control-length: {_who(game)} has no {field}; add it, or pass the texts with --responses FILE"
        )
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise BadInputError(f"{field}: {_who(game)} needs a number of words, got {value!r}")
    return value


def _who(game: Game) -> str:
    return f"the game of {game.model_a!r} and {game.model_b!r} on prompt {game.prompt_id!r}"
