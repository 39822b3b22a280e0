"""Chat templates are programs from a model's folder: bounded, with errors in one line; and where they end a turn."""

import threading
import time
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from longform.records.errors import BadInputError
from longform.records.schemas import Prompt
from longform.writers import chat_template
from longform.writers.chat_template import render_chat
from longform.writers.encoding import encode_prompts
from longform.writers.loading import load_model
from longform.writers.settings import GenerationSettings
from longform.writers.stops import find_stops, find_turn_end

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
NO_END = "{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}{% endfor %}"
HARMONY = (
    "{% for m in messages %}<|start|>{{ m['role'] }}<|message|>{{ m['content'] }}"
    "{% if loop.last and m['role'] == 'assistant' %}<|return|>{% else %}<|end|>{% endif %}{% endfor %}"
)
THINKING = CHATML.replace("assistant\n{% endif %}", "assistant\n<think>\n{% endif %}")
SWITCHED = CHATML.replace(
    "assistant\n{% endif %}",
    "assistant\n{% if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}{% endif %}",
)
SPECIAL = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|user|>",
    "<|end|>",
    "<|return|>",
    "<|start|>",
    "<|message|>",
]
USER = [{"role": "user", "content": "Hi"}]


def _tokenizer(template) -> Any:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    raw = Tokenizer(models.BPE({it: n for n, it in enumerate([*SPECIAL, *alphabet])}, []))
    raw.pre_tokenizer, raw.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, eos_token=SPECIAL[0], pad_token=SPECIAL[0], additional_special_tokens=SPECIAL[1:]
    )
    tokenizer.chat_template = template
    return tokenizer


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ raise_exception('System role not supported') }}", "System role not supported"),
        ("{% for m in messages %}", "Unexpected end of template"),
        ("{{ nothing.at_all }}", "'nothing' is undefined"),
        ("{{ messages.__class__.__mro__ }}", "unsafe"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{{ messages[9].content }}", "no element 9"),
    ],
)
def test_what_a_template_raises_is_one_line_that_names_the_prompt(template, reason):
    with pytest.raises(
        BadInputError, match=r"^prompt p: the chat template refuses this conversation \(roles: user\)"
    ) as it:
        encode_prompts(_tokenizer(template), [Prompt(id="p", prompt="Hi")], settings=GenerationSettings())
    assert reason in str(it.value)
    assert "\n" not in str(it.value)


@pytest.mark.parametrize("think", ["off", "on"])
def test_a_template_that_refuses_a_greeting_is_reported_for_the_prompts_alone(think):
    tokenizer = _tokenizer("{{ raise_exception('System role missing') }}")
    assert find_turn_end(tokenizer) is None
    stops = find_stops(tokenizer, GenerationSettings(think=think), generation_config=None)
    assert stops.begun == ""


def test_a_template_that_writes_more_than_any_prompt_is_refused(monkeypatch):
    monkeypatch.setattr(chat_template, "MAX_CHARACTERS", 1000)
    with pytest.raises(BadInputError, match=r"^p: the chat template writes 1,001 characters, more than 1,000$"):
        render_chat(_tokenizer("{{ 'x' * 1001 }}"), USER, name="p")


LOOP = "{% for a in range(99999) %}" * 3 + "{% endfor %}" * 3


def test_a_template_that_loops_is_interrupted(monkeypatch):
    monkeypatch.setattr(chat_template, "MAX_SECONDS", 0.2)
    for _ in range(2):
        with pytest.raises(BadInputError, match="the chat template takes more than 0 seconds"):
            render_chat(_tokenizer(LOOP), USER, name="p")
        while any(it.name == "chat templates" for it in threading.enumerate()):  # the thread ends, and starts again
            time.sleep(0.01)


@pytest.mark.parametrize(
    "template",
    [
        "{{ 'x' * 2000000000 }}",
        "{% set ns = namespace(s='xxxxxxxx') %}{% for i in range(40) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s }}",
        "{% for i in range(99999) %}{{ 'x' * 99999 }}{% endfor %}",
    ],
)
def test_a_template_that_writes_gigabytes_is_refused(template):
    with pytest.raises(BadInputError, match=r"needs more than 512 MiB|writes .* characters"):
        render_chat(_tokenizer(template), USER, name="p")


@pytest.mark.parametrize(
    ("template", "end"),
    [
        (CHATML, "<|im_end|>"),
        (NO_END, "<|user|>"),
        (HARMONY, "<|return|>"),
        ("{{ messages[0].content }}", None),
        (None, None),
    ],
    ids=["ChatML", "the next turn", "harmony", "no assistant", "no template"],
)
def test_the_token_behind_an_assistant_turn_is_found(template, end):
    tokenizer = _tokenizer(template)
    expected = None if end is None else tokenizer.convert_tokens_to_ids(end)
    assert find_turn_end(tokenizer) == expected
    stops = find_stops(tokenizer, GenerationSettings())
    assert stops.tokens == {0} | ({expected} if end else set())
    assert find_stops(tokenizer, GenerationSettings(chat_template="off")).tokens == {0}


def test_a_base_chat_model_is_saved_with_the_end_of_a_turn_among_its_end_tokens(tmp_path):
    tokenizer = _tokenizer(CHATML)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1,
        bos_token_id=None, eos_token_id=0,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    _, model = load_model(str(tmp_path), device="cpu")
    model.save_pretrained(tmp_path / "saved")
    assert GenerationConfig.from_pretrained(tmp_path / "saved").eos_token_id == [0, 2]


@pytest.mark.parametrize(
    ("template", "role"),
    [
        (" ", "system"),
        (CHATML.replace("messages %}<", "messages if m.role != 'system' %}<"), "system"),
        (" go on", "user"),
    ],
)
def test_a_template_that_leaves_out_a_turn_of_the_prompt_is_refused(template, role):
    turns: Any = [{"role": "system", "content": "Be brief."}, *USER][role == "user" :]
    with pytest.raises(
        BadInputError, match=f"^prompt p: the chat template leaves out the {role} turn; change the messages"
    ):
        encode_prompts(_tokenizer(template), [Prompt(id="p", prompt=turns)], settings=GenerationSettings())


def test_variables_of_a_template_are_passed_on():
    tokenizer, prompt = _tokenizer(SWITCHED), Prompt(id="p", prompt="Hi")
    off = GenerationSettings(chat_template_kwargs={"enable_thinking": False})
    plain, without = (
        tokenizer.decode(*encode_prompts(tokenizer, [prompt], settings=it)) for it in (GenerationSettings(), off)
    )
    assert without == plain + "<think></think>"


def test_without_the_template_a_prompt_is_plain_text_and_a_file_is_the_whole_of_it(tmp_path):
    tokenizer, prompt = _tokenizer(CHATML), Prompt(id="p", prompt="A tale")
    (tmp_path / "raw.txt").write_text("<|user|>: {request} <|assistant|>:")
    for think in ("off", "on"):
        settings = GenerationSettings(chat_template="off", think=think, think_prompt=tmp_path / "raw.txt")
        (ids,) = encode_prompts(tokenizer, [prompt], settings=settings)
        assert tokenizer.decode(ids) == "<|user|>: A tale <|assistant|>:"
    (ids,) = encode_prompts(tokenizer, [prompt], settings=GenerationSettings(chat_template="off"))
    assert tokenizer.decode(ids) == "A tale"


def test_a_response_whose_thoughts_the_template_opens_begins_inside_them():
    tokenizer = _tokenizer(THINKING)
    stops = find_stops(tokenizer, GenerationSettings())
    ids = torch.tensor(tokenizer("I plan.", add_special_tokens=False)["input_ids"])
    assert stops.response_text(ids) == "<think>I plan."
    assert find_stops(tokenizer, GenerationSettings(think="on")).begun == "", "the response writes the tag itself"
