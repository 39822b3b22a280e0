"""Pairs and labels to other tools and back: what their importers accept, and one line for what cannot be read."""

import json
from pathlib import Path
from typing import Any

import pytest

from longform.evaluation.audit.pairs import AuditedPair
from longform.evaluation.labelling.interchange import export_pairs, import_pairs
from longform.evaluation.labelling.run import PairSource, open_labels
from longform.records.errors import BadInputError

TEXTS = {"prompt": "Why?", "response_a": "So.", "response_b": "Thus."}
USER = "11111111-2222-3333-4444-555555555555"


def pair(number: int, **fields: object) -> AuditedPair:
    values = {"id": f"q{number}", "prompt": f"Why {number}?", "response_a": "It is so.", "response_b": "Thus it is."}
    return AuditedPair.model_validate(values | fields)


def imported(folder: Path, *rows: object) -> list[AuditedPair]:
    (folder / "t.json").write_text(json.dumps(rows), encoding="utf-8")
    return import_pairs(folder / "t.json")


def task(*results: object, **annotation: object) -> dict[str, Any]:
    return {"data": TEXTS, "annotations": [{"completed_by": 3, "result": list(results)} | annotation]}


def choice(value: object, name: str) -> dict[str, Any]:
    return {"from_name": name, "type": "choices", "value": {"choices": [value]}}


@pytest.mark.parametrize("form", ["argilla", "label-studio"])
def test_pairs_and_labels_go_to_another_tool_and_come_back(tmp_path: Path, form) -> None:
    labels = {"ann": "a", "bob": "tie", "7": "b", "eve@x.org": "a", USER: "b"}
    pairs = [pair(0, labels=labels, model_a="x", model_b="y"), pair(1)]
    export_pairs(pairs, tmp_path / "tasks.json", form)
    back = import_pairs(tmp_path / "tasks.json")
    assert [(it.id, it.prompt, it.response_a, it.labels, it.model_a) for it in back] == [
        (it.id, it.prompt, it.response_a, it.labels, it.model_a) for it in pairs
    ]


@pytest.mark.parametrize("form", ["argilla", "label-studio"])
def test_weights_verdicts_and_criteria_come_back_so_that_figures_stay_those_of_the_run(tmp_path: Path, form) -> None:
    fields = {
        "weight": 4.8,
        "verdicts": {"judge": {"ab": "a", "ba": "tie"}},
        "criteria": [{"name": "pace", "description": "It moves."}],
        "labels": {"ann": "b"},
        "label_orders": {"ann": "ba"},
        "label_notes": {"ann": "pace; “livelier”"},
        "step": 3,
    }
    pairs = [pair(0, **fields), pair(1, label="a", weight=0.5)]
    export_pairs(pairs, tmp_path / "tasks.json", form)
    assert import_pairs(tmp_path / "tasks.json") == pairs
    rows = json.loads((tmp_path / "tasks.json").read_text(encoding="utf-8"))
    rows[0]["meta" if form == "label-studio" else "metadata"]["longform_pair"] = "[4.8]"
    with pytest.raises(BadInputError, match=r"t\.json: item 1: metadata: longform_pair: must be an object as JSON"):
        imported(tmp_path, *rows)


def test_what_the_tools_write_themselves_is_read(tmp_path: Path) -> None:
    texts = {"prompt": "Why?", "response_a": "So.", "response_b": "Thus."}
    value = {"value": {"selected": "right"}, "type": "pairwise"}
    studio = {"id": 7, "data": texts, "annotations": [{"completed_by": {"id": 3, "email": "ann@x"}, "result": [value]}]}
    argilla = {"id": "z", "fields": texts, "responses": {"preference": [{"user_id": "u1", "value": "a"}]}}
    for row, id_, labels in ((studio, "7", {"ann@x": "b"}), (argilla, "z", {"u1": "a"})):
        (tmp_path / "t.json").write_text(json.dumps([row]), encoding="utf-8")
        (made,) = import_pairs(tmp_path / "t.json")
        assert (made.id, made.labels) == (id_, labels)


def test_rows_without_nesting_are_read_with_their_labels(tmp_path: Path) -> None:
    # JSON_MIN of Label Studio: a row for each annotation; a data set of Argilla 2, flattened, and of Argilla 1.
    annotation = {"annotation_id": 1, "lead_time": 2.5, "created_at": "x", "updated_at": "x", "sentiment": "good"}
    studio = [{"id": 7} | TEXTS | annotation | {"annotator": it, "preference": ("a", "tie")[it]} for it in (0, 1)]
    answers = {"responses": ["b", "a"], "responses.users": [USER, "u"], "responses.status": ["submitted", "draft"]}
    flat = {"id": "r"} | TEXTS | {f"preference.{name}": it for name, it in answers.items()} | {"status": "completed"}
    columns = {"user_id": ["u", "v"], "value": ["a", "b"], "status": ["submitted", "discarded"]}
    version_1 = TEXTS | {"preference": columns, "external_id": "e", "metadata": '{"model_a": "x"}'}
    for number, (rows, labels) in enumerate(
        ((studio, {"0": "a", "1": "tie"}), ([flat], {USER: "b"}), ([version_1], {"u": "a"}))
    ):
        for suffix, text in ((".json", json.dumps(rows)), (".jsonl", "\n".join(map(json.dumps, rows)))):
            source, out = tmp_path / f"{number}{suffix}", tmp_path / f"{number}{suffix}.out.jsonl"
            source.write_text(text, encoding="utf-8")
            with open_labels(PairSource(path=source), out=out) as store:
                assert [it.labels for it in store.labelled_pairs()] == [labels]


def test_what_was_taken_back_is_no_label_and_old_and_flat_forms_are_read(tmp_path: Path) -> None:
    cancelled = task(choice("a", "preference"), was_cancelled=True)
    draft = {"user_id": "u", "status": "draft", "values": {"preference": {"value": "a"}}}
    given = {"user_id": "v", "status": "ResponseStatus.submitted", "values": {"preference": {"value": "b"}}}
    records = {"fields": TEXTS, "responses": [draft, given]}
    old = {"fields": TEXTS, "responses": [], "annotation": "a", "annotation_agent": "ann"}
    flat = TEXTS | {"annotation_id": 1, "annotator": "bob"}
    selected = flat | {"preference": [{"selected": "right"}], "stars": {"rating": 3}}
    odd = TEXTS | {"preference.responses": ["b"], "preference.responses.users": ["w"], "metadata": "{"}
    rows = [imported(tmp_path, it)[0].labels for it in (cancelled, records, old, selected, odd)]
    assert rows == [None, {"v": "b"}, {"ann": "a"}, {"bob": "b"}, {"w": "b"}]
    ranks = [{"value": "response_a", "rank": 1}, {"value": "another", "rank": 2}]
    ranked = {"fields": TEXTS, "responses": [{"user_id": "u", "values": {"preference": {"value": ranks}}}]}
    with pytest.raises(BadInputError, match="the ranking does not rank response_a and response_b"):
        imported(tmp_path, ranked)


def test_of_several_answers_by_one_person_the_last_counts_and_a_ranking_is_a_choice(tmp_path: Path) -> None:
    two = task() | {"annotations": []}
    for when, value in (("2024-02-02", "b"), ("2024-01-01", "a")):
        two["annotations"].append({"completed_by": 3, "updated_at": when, "result": [choice(value, "preference")]})
    left = task(choice("a", "preference"), completed_by=None, id=8)
    ranks = [{"value": "response_a", "rank": 2}, {"value": "response_b", "rank": 1}]
    ranked = {"fields": TEXTS, "responses": [{"user_id": "u", "values": {"preference": {"value": ranks}}}]}
    odd = {"fields": TEXTS | {"prompt": "lone \ud800"}, "responses": []}
    rows = imported(tmp_path, two, left, ranked, odd)
    assert [it.labels for it in rows] == [{"3": "b"}, {"8": "a"}, {"u": "b"}, None]
    assert rows[3].prompt == "lone \N{REPLACEMENT CHARACTER}"
    with pytest.raises(BadInputError, match=r"the choice .*'a', 'b'.* is none of"):
        imported(tmp_path, task({"from_name": "preference", "value": {"choices": ["a", "b"]}}))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "not JSON"),
        ("{}", "must be a list"),
        ("[]", "must be a list"),
        ('[{"x": 1}]', "item 1: has neither `data`"),
        ('[{"data": {"prompt": "p", "response_a": "a"}}]', "item 1: response_b: missing"),
        (
            '[{"data": {"prompt": "p", "response_a": "a", "response_b": "b"}, '
            '"annotations": [{"result": [{"value": {"choices": ["maybe"]}}]}]}]',
            "the choice 'maybe' is none of",
        ),
    ],
)
def test_a_file_that_cannot_be_imported_is_named_with_the_reason(tmp_path: Path, content: str, problem: str) -> None:
    (tmp_path / "t.json").write_text(content, encoding="utf-8")
    with pytest.raises(BadInputError, match=problem):
        import_pairs(tmp_path / "t.json")


def test_label_studio_is_given_only_authors_that_it_can_know(tmp_path: Path) -> None:
    export_pairs([pair(0, labels={"ann": "a", "7": "b", "eve@x.org": "tie"})], tmp_path / "t.json", "label-studio")
    (row,) = json.loads((tmp_path / "t.json").read_text())
    authors = [it.get("completed_by") for it in row["annotations"]]
    assert authors == [None, 7, {"email": "eve@x.org"}]


def test_argilla_is_given_only_authors_that_it_can_know(tmp_path: Path) -> None:
    export_pairs([pair(0, labels={"ann": "a", USER: "b"}), pair(1)], tmp_path / "t.json", "argilla")
    row, other = json.loads((tmp_path / "t.json").read_text())
    assert row["responses"] == {"preference": [{"value": "b", "user_id": USER, "status": "submitted"}]}
    assert json.loads(row["metadata"]["longform_labels"]) == {"ann": "a"}
    assert (other["responses"], other["suggestions"]) == ({}, {})


@pytest.mark.parametrize("form", ["argilla", "label-studio"])
def test_an_export_never_overwrites_a_file(tmp_path: Path, form) -> None:
    (tmp_path / "t.json").write_text("kept")
    with pytest.raises(BadInputError, match=r"t\.json: exists"):
        export_pairs([pair(0)], tmp_path / "t.json", form)
    assert (tmp_path / "t.json").read_text() == "kept"


def test_only_the_question_of_preference_counts(tmp_path: Path) -> None:
    both = [choice("b", "preference"), choice("fluent", "style"), choice("a", "other")]
    (made,) = imported(tmp_path, task(*both))
    assert made.labels == {"3": "b"}
    (made,) = imported(tmp_path, task(choice("b", "better")))
    assert made.labels == {"3": "b"}
    (made,) = imported(tmp_path, {"fields": TEXTS, "responses": {"better": [{"user_id": "u", "value": "b"}]}})
    assert made.labels == {"u": "b"}
    old = {"user_id": "u", "status": "submitted", "values": {"better": {"value": "b"}}}
    (made,) = imported(tmp_path, {"fields": TEXTS, "responses": [old]})
    assert made.labels == {"u": "b"}


@pytest.mark.parametrize(
    "row",
    [
        task(choice("b", "better"), choice("a", "worse")),
        {"fields": TEXTS, "responses": {name: [{"user_id": "u", "value": "b"}] for name in ("better", "worse")}},
    ],
)
def test_several_questions_of_which_none_is_the_known_one_are_refused(tmp_path: Path, row) -> None:
    with pytest.raises(BadInputError, match=r"item 1: has several .*, better, worse, and none is called preference"):
        imported(tmp_path, row)


@pytest.mark.parametrize(
    "row",
    [
        5,
        {"data": 5},
        {"fields": TEXTS, "responses": [5]},
        {"fields": TEXTS, "responses": 5},
        {"fields": TEXTS, "responses": {"preference": 5}},
        {"fields": TEXTS, "responses": {"preference": [5]}},
        {"fields": TEXTS, "responses": [{"user_id": "u", "values": 5}]},
        {"fields": TEXTS, "responses": [{"user_id": "u", "values": {"preference": "a"}}]},
        {"fields": TEXTS, "metadata": {"longform_labels": "["}},
        {"fields": TEXTS, "metadata": 5},
        {"data": TEXTS, "annotations": [5]},
        {"data": TEXTS, "annotations": 5},
        {"data": TEXTS, "annotations": [{"result": [5]}]},
        {"data": TEXTS, "annotations": [{"result": [{"value": "a"}]}]},
        {"data": TEXTS | {"prompt": 5}},
    ],
)
def test_a_malformed_item_is_one_line_that_names_it(tmp_path: Path, row) -> None:
    good = {"data": TEXTS, "id": 1}
    with pytest.raises(BadInputError, match=r"t\.json: item 2: ") as caught:
        imported(tmp_path, good, row)
    assert "\n" not in str(caught.value)


def test_an_answer_that_was_not_given_is_no_label(tmp_path: Path) -> None:
    skipped = {"user_id": "u", "status": "submitted", "values": {"preference": None}}
    (made,) = imported(tmp_path, {"fields": TEXTS, "responses": [skipped]})
    assert made.labels is None


def test_two_items_with_one_id_are_refused(tmp_path: Path) -> None:
    rows = [{"data": TEXTS | {"id": it}} for it in ("x", "y", "x")]
    with pytest.raises(BadInputError, match="item 3: id 'x': duplicate, first in item 1"):
        imported(tmp_path, *rows)
