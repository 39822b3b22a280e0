"""A local model as a writer: prompts in tokens, with a chat template and without, and responses that think."""

from pathlib import Path

import pytest

from artifacts import save_policy
from longform.miniature.policy import build_model, build_tokenizer
from longform.records.errors import BadInputError
from longform.records.schemas import Prompt
from longform.writers.encoding import encode_prompts
from longform.writers.loading import load_tokenizer
from longform.writers.local import LocalWriter
from longform.writers.settings import GenerationSettings

REAL_MODEL = Path(__file__).parents[4] / "shared" / "models" / "stories260k"
PROMPT = Prompt(id="p", prompt="Write about {request} {0}.")


@pytest.fixture(scope="module")
def writer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    tokenizer = build_tokenizer()
    save_policy(build_model(tokenizer, seed=0), tokenizer, folder)
    return LocalWriter(str(folder), device="cpu")


def _read_back(tokenizer, settings):
    (ids,) = encode_prompts(tokenizer, [PROMPT], settings=settings)
    return tokenizer.decode(ids)


def test_with_a_chat_template_the_instruction_is_part_of_the_users_turn(writer):
    text = _read_back(writer.tokenizer, GenerationSettings(think="on"))
    assert text.count("<|user|>") == 1
    assert text.endswith("Write about {request} {0}.<|assistant|>")
    assert "<think>" in text


def test_without_thinking_prompts_are_tokens_of_the_request_alone(writer):
    text = _read_back(writer.tokenizer, GenerationSettings())
    assert text.replace(" ", "") == "<|user|>Writeabout{request}{0}.<|assistant|>"


def test_an_instruction_that_does_not_fit_is_an_error_of_its_prompt(writer):
    with pytest.raises(BadInputError, match=r"prompt p: has \d+ tokens; generation.max_prompt_tokens is 40"):
        encode_prompts(writer.tokenizer, [PROMPT], settings=GenerationSettings(think="on", max_prompt_tokens=40))
    assert encode_prompts(writer.tokenizer, [PROMPT], settings=GenerationSettings(max_prompt_tokens=40))


def test_a_bad_think_prompt_is_found_before_anything_is_written(writer, tmp_path):
    (tmp_path / "t.txt").write_text("Plan.")
    settings = GenerationSettings(think="on", think_prompt=tmp_path / "t.txt", max_tokens=1)
    with pytest.raises(BadInputError, match=r"t\.txt: a think prompt must contain \{request\} exactly once"):
        writer.write([PROMPT], settings=settings, seed=0, name="m")


def test_a_response_that_breaks_the_structure_has_no_text(writer, tmp_path):
    (tmp_path / "t.txt").write_text("{request}")
    settings = GenerationSettings(think="on", think_prompt=tmp_path / "t.txt", max_tokens=20)
    (thinking,) = writer.write([PROMPT], settings=settings, seed=0, name="m")
    (plain,) = writer.write([PROMPT], settings=GenerationSettings(max_tokens=20), seed=0, name="m")
    assert plain.meta == {}
    assert (thinking.text, thinking.meta) == ("", {"plan": "", "well_formed": False, "written": plain.text})


@pytest.mark.skipif(not REAL_MODEL.is_dir(), reason="the shared folder with the stories260k model is not there")
def test_a_real_base_model_writes_from_plain_text_with_a_think_prompt(tmp_path):
    tokenizer = load_tokenizer(str(REAL_MODEL))
    prompt = Prompt(id="p", prompt="Once upon a time, there was a dog")
    (ids,) = encode_prompts(tokenizer, [prompt], settings=GenerationSettings(think="direct"))
    text = tokenizer.decode(ids)
    assert ids[0] == tokenizer.bos_token_id
    assert "User: Once upon a time, there was a dog" in text
    assert text.endswith("Assistant:")
    (tmp_path / "t.txt").write_text("{request}. <answer>")
    settings = GenerationSettings(think="direct", think_prompt=tmp_path / "t.txt", max_tokens=40)
    responses = LocalWriter(str(REAL_MODEL), device="cpu").write([prompt] * 3, settings=settings, seed=0, name="m")
    assert len({it.meta["written"] for it in responses}) == 3
    assert all(not it.meta["well_formed"] and it.text == "" for it in responses)


def test_a_plan_that_the_chat_template_has_opened_is_left_to_the_response():
    tokenizer = build_tokenizer()
    tokenizer.chat_template = (
        "<|user|>{{ messages[0].content }}{% if add_generation_prompt %}<|assistant|><think>\n{% endif %}"
    )
    prompt = Prompt(id="p", prompt="A story.")
    (thinking,) = encode_prompts(tokenizer, [prompt], settings=GenerationSettings(think="on"))
    assert str(tokenizer.decode(thinking)).endswith("<|assistant|>")
    (plain,) = encode_prompts(tokenizer, [prompt], settings=GenerationSettings())
    assert "<think>" in tokenizer.decode(plain)
