"""The models behind the names of judges on the two sides of a comparison.

A name in models.yaml may resolve to different models in different runs. Grades of two models are not compared, whatever
their names; one model under two names, or at two addresses, is one judge. A note reports such cases.
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
    """Of its endpoint; None where it is not known."""

    @classmethod
    def of(cls, spec: ModelSpec) -> "Examiner":
        """As models.yaml has it."""
        return cls(spec.model, spec.address)


Examiners = Mapping[str, Examiner]
"""By the name of the judge; those of whom nothing is known are left out."""


def read_examiners(side: Side) -> Examiners:
    """What the judges' names mean in the run of a side: the models that its calls name, at the addresses of its models.yaml.

    Models.yaml may have changed since the run, so an address counts only next to the model that was called.
    Nothing is known of the judges of a responses file.
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
            stated = {}  # what the calls name is enough
    return {
        name: Examiner(model, stated[name].address if name in stated and stated[name].model == model else None)
        for name, model in called.items()
    }


def tell_apart(a: Side, b: Side, asked: Examiners) -> tuple[Side, Side, list[str]]:
    """Both sides with every judge under a name of its own, and a line for each name that does not mean one and the same.

    Args:
        a: a side.
        b: the other.
        asked: what the judges that are asked now are called; they keep their names.
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
    """The judges that rewarded a side, without those whose name means another model now."""
    known = read_examiners(side)
    return tuple(
        name
        for name in side.reward_judges
        if name not in known or name not in asked or known[name].model == asked[name].model
    )


def _twins(a: Side, of_a: Examiners, b: Side, of_b: Examiners) -> list[tuple[str, str]]:
    """Names in A and in B that graded one side each and mean one model at one address."""
    only_a, only_b = a.judges - b.judges, b.judges - a.judges
    return [
        (one, other)
        for one in sorted(only_a & of_a.keys())
        for other in sorted(only_b & of_b.keys())
        if of_a[one] == of_b[other] and of_a[one].address is not None and other not in of_a
    ][:1]


def _rename(side: Side, old: str, new: str) -> Side:
    """The side with the grades of one judge under another name."""

    def renamed(texts: Sequence[GradedText]) -> list[GradedText]:
        return [
            replace(it, grades={new if judge == old else judge: score for judge, score in it.grades.items()})
            for it in texts
        ]

    return replace(side, texts={id_: renamed(texts) for id_, texts in side.texts.items()})


def _tell(it: Examiner) -> str:
    return it.model if it.address is None else f"{it.model} at {it.address}"
