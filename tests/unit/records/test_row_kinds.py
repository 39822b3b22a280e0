"""What a file holds is recognised from the fields of its first row, in the same way everywhere."""

import pytest

from longform.records.row_kinds import kind_of_row
from longform.records.schemas import Game, Grade, Ladder, Pair, Preference, Prompt, Response, Row


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        (Ladder, "ladders"),
        (Preference, "preferences"),
        (Pair, "pairs"),
        (Game, "games"),
        (Grade, "grades"),
        (Response, "responses"),
        (Prompt, "prompts"),
    ],
)
def test_a_row_with_the_required_fields_of_a_schema_is_of_its_kind(schema: type[Row], kind: str) -> None:
    required = {name for name, field in schema.model_fields.items() if field.is_required()}
    assert kind_of_row(required) == kind
    assert kind_of_row(schema.model_fields.keys()) == kind


def test_fields_of_no_known_kind_have_none() -> None:
    assert kind_of_row(["id", "score"]) is None
    assert kind_of_row([]) is None
