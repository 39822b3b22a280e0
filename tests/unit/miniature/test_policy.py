import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from artifacts import save_policy
from longform.miniature.policy import build_model, build_tokenizer, sft_rows
from longform.miniature.world import CLASS_OF, parse_request, prompts, split_of
from longform.miniature.writers import write_story
from longform.writers.encoding import encode_prompts
from longform.writers.settings import GenerationSettings


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer()


def embeddings(model):
    return model.state_dict()["model.embed_tokens.weight"]


def test_every_word_of_the_world_is_one_token(tokenizer):
    for word in CLASS_OF:
        assert len(tokenizer(word)["input_ids"]) == 1, word
    for row in sft_rows(seed=4, count=50):
        story = row["completion"][0]["content"]
        words = story.replace(".", " .").split()
        assert len(tokenizer(story)["input_ids"]) == len(words)


def test_a_request_is_about_thirty_tokens_and_a_story_comes_back_whole(tokenizer):
    (prompt,) = prompts(seed=0, split="train", count=1)
    (ids,) = encode_prompts(tokenizer, [prompt], settings=GenerationSettings())
    assert len(ids) < 32
    story = write_story(parse_request(prompt.request), level="master")
    assert tokenizer.decode(tokenizer(story)["input_ids"]).strip() == story


def test_any_text_can_be_encoded(tokenizer):
    text = "Zoë — 你好, <b>\n\t\x00"
    assert tokenizer.decode(tokenizer(text)["input_ids"]).strip() == text.strip()


def test_a_conversation_begins_with_its_prompt_and_ends_with_the_closing_token(tokenizer):
    (row,) = sft_rows(seed=0, count=1)
    prompt = tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True, return_dict=True)["input_ids"]
    whole = tokenizer.apply_chat_template(row["prompt"] + row["completion"], return_dict=True)["input_ids"]
    assert whole[: len(prompt)] == prompt
    assert whole[-1] == tokenizer.eos_token_id
    assert tokenizer.eos_token_id not in whole[:-1]


def test_the_model_is_a_small_llama_that_its_seed_decides(tokenizer):
    models = [build_model(tokenizer, seed=seed) for seed in (0, 0, 1)]
    assert 3e5 < models[0].num_parameters() < 1.5e6
    assert embeddings(models[0]).equal(embeddings(models[1]))
    assert not embeddings(models[0]).equal(embeddings(models[2]))


def test_a_saved_policy_is_loaded_by_transformers(tokenizer, tmp_path):
    model = build_model(tokenizer, seed=0)
    save_policy(model, tokenizer, tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert embeddings(loaded).equal(embeddings(model))
    assert loaded.generation_config.eos_token_id == tokenizer.eos_token_id
    again = AutoTokenizer.from_pretrained(tmp_path)
    conversation = [{"role": "user", "content": "Write a story."}]
    encode = {"add_generation_prompt": True, "return_dict": True}
    assert again.apply_chat_template(conversation, **encode) == tokenizer.apply_chat_template(conversation, **encode)


def test_lessons_come_from_training_requests_and_are_a_function_of_the_seed():
    rows = sft_rows(seed=7, count=200)
    assert rows[:20] == sft_rows(seed=7, count=20)
    assert rows[:20] != sft_rows(seed=8, count=20)
    assert all(split_of(parse_request(row["prompt"][0]["content"])) == "train" for row in rows)
