"""The models behind the judges' names on the two sides of a comparison.

A name in models.yaml may refer to different models in different runs. Grades by different models are never compared,
whatever their names; one model under two names, or at two addresses, is one judge. Such cases are reported in a note.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from longform.endpoints.models import ModelSpec, read_models
from longform.evaluation.compare.sides import GradedText, Side
from longform.records.calls import models_called
from longform.records.errors import BadInputError
from longform.records.run_directory import RunDirectory


class Examiner(NamedTuple):
    """The model behind a judge's name."""

    model: str
    address: str | None
    """Address of its endpoint; None if unknown."""

    @classmethod
    def of(cls, spec: ModelSpec) -> "Examiner":
        """Build from an entry of models.yaml."""
        return cls(spec.model, spec.address)


Examiners = Mapping[str, Examiner]
"""Judge name -> model; judges with an unknown model are absent."""


def read_examiners(side: Side) -> Examiners:
    """Return the models of the judges in a side's run: the models in its recorded calls, with the addresses in its
    models.yaml.

    models.yaml may have changed since the run, so an address counts only if its model was called. The judges of a responses
    file are unknown.
    """
    folder, _ = side.source
    if not folder.is_dir():
        return {}
    called = models_called(RunDirectory(folder).database_path, side.judges.union(side.reward_judges))
    stated: dict[str, ModelSpec] = {}
    if side.recipe is not None:
        try:
            stated = read_models(side.recipe.models)
        except BadInputError:
            stated = {}  # the models in the recorded calls suffice
    return {
        name: Examiner(model, stated[name].address if name in stated and stated[name].model == model else None)
        for name, model in called.items()
    }


def tell_apart(a: Side, b: Side, asked: Examiners) -> tuple[Side, Side, list[str]]:
    """Give every judge of both sides an unambiguous name, and return a line for each ambiguous one.

    Args:
        a: One side.
        b: The other side.
        asked: Judges that are queried now; they keep their names.
    """
    of_a, of_b = read_examiners(a), read_examiners(b)
    lines = []
    for one, other in _twins(a, of_a, b, of_b):
        lines.append(f"{one} of {a.name} and {other} of {b.name} are one judge ({_tell(of_b[other])})")
        a = _rename(a, one, other)
    for name in sorted((of_a.keys() | of_b.keys()) & (a.judges | b.judges | asked.keys())):
        where = {side: known[name] for side, known in ((a.name, of_a), (b.name, of_b), ("now", asked)) if name in known}
        known_as = "; ".join(f"{side}: {_tell(it)}" for side, it in where.items())
        if len({it.model for it in where.values()}) > 1:
            lines.append(f"{name} means different models, which count as different judges ({known_as})")
            keeper = asked[name].model if name in asked else None
            a, b = (
                _rename(side, name, f"{name} ({known[name].model})")
                if name in known and known[name].model != keeper
                else side
                for side, known in ((a, of_a), (b, of_b))
            )
        elif len({it.address for it in where.values()} - {None}) > 1:
            lines.append(f"{name} is one model at different addresses, and counts as one judge ({known_as})")
    return a, b, lines


def find_reward_judges(side: Side, asked: Examiners) -> tuple[str, ...]:
    """Return the judges that gave a side's reward, without those whose name now refers to another model."""
    known = read_examiners(side)
    return tuple(
        name
        for name in side.reward_judges
        if name not in known or name not in asked or known[name].model == asked[name].model
    )


def _twins(a: Side, of_a: Examiners, b: Side, of_b: Examiners) -> list[tuple[str, str]]:
    """Return pairs of names in A and B that graded one side each and refer to the same model at the same address."""
    only_a, only_b = a.judges - b.judges, b.judges - a.judges
    return [
        (one, other)
        for one in sorted(only_a & of_a.keys())
        for other in sorted(only_b & of_b.keys())
        if of_a[one] == of_b[other] and of_a[one].address is not None and other not in of_a
    ][:1]


def _rename(side: Side, old: str, new: str) -> Side:
    """Rename a judge in the grades of a side."""

    def renamed(texts: Sequence[GradedText]) -> list[GradedText]:
        return [
            replace(it, grades={new if judge == old else judge: score for judge, score in it.grades.items()})
            for it in texts
        ]

    return replace(side, texts={id_: renamed(texts) for id_, texts in side.texts.items()})


def _tell(it: Examiner) -> str:
    return it.model if it.address is None else f"{it.model} at {it.address}"
