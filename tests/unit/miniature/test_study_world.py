import hashlib
import json
import urllib.request

import pytest
import torch
from pydantic import ValidationError
from transformers import AutoModelForCausalLM, AutoTokenizer

from longform.endpoints.models import read_models
from longform.judging.answers import fence_tag
from longform.judging.pointwise import ask_pointwise
from longform.miniature.judge import CALIBRATED, answer, second_judge
from longform.miniature.kinds import kind_of, write_of_kind
from longform.miniature.policy import sft_rows
from longform.miniature.study_world import (
    MIN_MARGIN_CORRELATION,
    WorldSettings,
    examine_world,
    serve_study_world,
    write_study_world,
)
from longform.miniature.world import parse_request, prompts
from longform.records.files import read_rows
from longform.records.schemas import Prompt, TrainingRow

PLAIN = WorldSettings(train_prompts=12, validation_prompts=4, held_out_prompts=6, lesson_steps=2)
KINDS = PLAIN.model_copy(update={"kinds": True, "judge": "calibrated"})
URL = "http://127.0.0.1:1/v1"


def lessons(folder, name="lessons"):
    """Requests and texts of the rows."""
    rows = [row.model_dump() for row in read_rows(folder / f"{name}.jsonl", TrainingRow)]
    return [(row["prompt"][0]["content"], row["completion"][0]["content"]) for row in rows]


def hashes(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    write_study_world(folder, base_url=URL, settings=KINDS, seed=4)
    return folder


def test_a_world_is_a_function_of_settings_and_seed(world, tmp_path):
    write_study_world(tmp_path / "again", base_url=URL, settings=KINDS, seed=4)
    write_study_world(tmp_path / "other", base_url=URL, settings=KINDS, seed=5)
    assert hashes(tmp_path / "again") == hashes(world)
    other = hashes(tmp_path / "other")
    changed = {name for name, value in hashes(world).items() if other[name] != value}
    jsonl = {f"{name}.jsonl" for name in ("prompts", "validation", "held-out", "lessons", "lessons-more")}
    assert changed == jsonl | {"untrained/model.safetensors"}


def test_a_world_holds_as_many_rows_as_its_settings_say(world):
    counts = {
        name: len(list(read_rows(world / f"{name}.jsonl", Prompt))) for name in ("prompts", "validation", "held-out")
    }
    assert counts == {"prompts": 12, "validation": 4, "held-out": 6}
    for name in ("lessons", "lessons-more"):
        assert len(lessons(world, name)) == 2 * 16


def test_only_training_prompts_may_be_broken(tmp_path):
    write_study_world(tmp_path, base_url=URL, settings=KINDS.model_copy(update={"train_prompts": 60}), seed=1)
    kinds = {
        name: {row.meta["kind"] for row in read_rows(tmp_path / f"{name}.jsonl", Prompt)}
        for name in ("prompts", "validation", "held-out")
    }
    assert "broken" in kinds["prompts"]
    assert "broken" not in kinds["validation"] | kinds["held-out"]


def test_the_second_set_of_lessons_has_other_requests(world):
    first, more = ({request for request, _ in lessons(world, name)} for name in ("lessons", "lessons-more"))
    assert not first & more


def test_models_yaml_names_everybody(world):
    names = ("judge", "judge-2", "examiner", "rewriter", "novice", "apprentice", "journeyman", "master")
    assert tuple(read_models(world / "models.yaml")) == names


def test_the_untrained_policy_can_be_loaded_and_reads_every_request_in_words(world):
    tokenizer, model = (cls.from_pretrained(world / "untrained") for cls in (AutoTokenizer, AutoModelForCausalLM))
    assert tokenizer.chat_template
    for text, _ in lessons(world):
        assert len(tokenizer(text)["input_ids"]) == len(text.replace(".", " .").replace(",", " ,").split())
    with torch.no_grad():
        assert torch.isfinite(model(torch.tensor([[1, 2, 3]])).logits).all()


def test_a_plain_world_has_the_prompts_and_lessons_of_the_quickstart(tmp_path):
    write_study_world(tmp_path, base_url=URL, settings=PLAIN, seed=7)
    assert list(read_rows(tmp_path / "prompts.jsonl", Prompt)) == prompts(seed=7, split="train", count=12)
    rows = [TrainingRow.model_validate(row) for row in sft_rows(seed=7, count=32)]
    assert list(read_rows(tmp_path / "lessons.jsonl", TrainingRow)) == rows


def test_the_server_answers_as_its_settings_say(world):
    rows = [row for row in read_rows(world / "prompts.jsonl", Prompt) if row.meta["kind"] == "speciality"]
    request = parse_request(rows[0].request)
    text = write_of_kind(request, writer="novice", sample=2)
    question = ask_pointwise(rows[0], text, tag=fence_tag(b"key", rows[0].id, 0)).message
    with serve_study_world(KINDS) as url:

        def ask(model, message, seed=0):
            body = {"model": model, "messages": [{"role": "user", "content": message}], "seed": seed}
            call = urllib.request.Request(
                f"{url}/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
            )
            with urllib.request.urlopen(call, timeout=10) as response:
                return json.load(response)["choices"][0]["message"]["content"]

        assert ask("miniature-novice", rows[0].request, seed=2) == text
        assert ask("miniature-judge", question) == answer(question, CALIBRATED)
        assert ask("miniature-judge-2", question) == answer(question, second_judge(CALIBRATED))
        assert ask("miniature-judge-2", question) != ask("miniature-examiner", question)


def test_the_margin_belongs_to_the_prompt_in_a_world_with_kinds_alone():
    kinds, plain = (examine_world(settings, seed=11) for settings in (KINDS, PLAIN))
    assert kinds.margin_correlation > MIN_MARGIN_CORRELATION
    assert kinds.margin_is_predictable
    assert abs(plain.margin_correlation) < 0.2
    assert not plain.margin_is_predictable
    assert plain.grades.keys() == {"ordinary"}


def test_an_examination_states_who_writes_well_for_which_kind():
    found = examine_world(KINDS, seed=2)
    assert found.grades["mastered"]["policy"] > 9.5
    assert max(found.grades["broken"].values()) < 4
    assert found.grades["speciality"]["policy"] < found.grades["ordinary"]["policy"] - 1
    assert sum(found.shares.values()) == pytest.approx(1)
    assert found.judge.accuracy == pytest.approx(found.targets.accuracy, abs=0.05)
    assert json.loads(json.dumps(found.as_json(), allow_nan=False))["margin_is_predictable"] is True


def test_settings_of_a_world_refuse_what_they_do_not_know():
    for wrong in ({"kind": True}, {"judge": "strict"}, {"train_prompts": 0}, {"lesson_steps": 0}):
        with pytest.raises(ValidationError):
            WorldSettings.model_validate(wrong)


def test_the_kind_of_a_request_is_known_without_its_row(world):
    for row in read_rows(world / "prompts.jsonl", Prompt):
        assert kind_of(parse_request(row.request)) == row.meta["kind"]
