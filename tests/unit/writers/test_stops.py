"""Where a response ends: at closing tokens, and at the closing tag however the tokenizer cuts it."""

from dataclasses import replace
from functools import wraps
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from longform.writers.decoding import Completion, decode, uniform_draws
from longform.writers.settings import GenerationSettings
from longform.writers.stops import find_stops

END = "<|end|>"
STORY = "<think>Plan: sea > land.</think>\n<answer>Once, a < b > c. 海</answer>"


def _tokenizer(lessons, *, special=(END,)):
    """A byte-level BPE that has learned to glue together what stands together in the lessons."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=list(special), initial_alphabet=alphabet)
    tokenizer.train_from_iterator(lessons, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END, additional_special_tokens=[it for it in special if it != END]
    )


SPLIT = _tokenizer(["aa"] * 5)
GLUED = _tokenizer(["r>\n\nThe end"] * 5)
WHOLE = _tokenizer(["a"], special=(END, "<think>", "</think>", "<answer>", "</answer>"))
TOKENIZERS = [("split", SPLIT), ("glued", GLUED), ("whole", WHOLE)]


class ScriptedModel(LlamaForCausalLM):
    """Writes the tokens of `script`, counted from the end of the prompt at position `start`."""

    script: list[int]
    start: int

    @wraps(LlamaForCausalLM.forward)
    def forward(self, *args: Any, **inputs: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        output: Any = super().forward(*args, **inputs)
        places = (inputs["position_ids"][:, -1] + 1 - self.start).tolist()
        output.logits.fill_(-1e4)
        for row, place in enumerate(places):
            output.logits[row, -1, self.script[min(max(place, 0), len(self.script) - 1)]] = 0
        return output


def _model(tokenizer, text):
    sizes: dict[str, Any] = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    model = ScriptedModel(LlamaConfig(vocab_size=len(tokenizer), **sizes, eos_token_id=None, bos_token_id=None))
    model.script, model.start = tokenizer(text)["input_ids"], 1
    return model.eval()


def _write(tokenizer, text, *, think, prompts=((5,),), max_tokens=200):
    settings = GenerationSettings(max_tokens=max_tokens, think=think)
    model = _model(tokenizer, text)
    stops = find_stops(tokenizer, settings, generation_config=model.generation_config)
    draws = uniform_draws(seed=0, step=1, rows=range(len(prompts)), count=max_tokens)
    return [
        (stops.response_text(it.tokens), it)
        for it in decode(model, prompts, draws=draws, stops=stops, settings=settings)
    ]


@pytest.mark.parametrize(("_name", "tokenizer"), TOKENIZERS)
@pytest.mark.parametrize("think", ["on", "direct"])
@pytest.mark.parametrize("behind", [" More </answer>", "\n\nThe end", ">", ""])
def test_a_response_ends_at_the_closing_tag(_name, tokenizer, think, behind):
    ((text, written),) = _write(tokenizer, STORY + behind, think=think)
    assert (text, written.finish_reason) == (STORY, "stop")
    whole = tokenizer(STORY + behind)["input_ids"]
    assert written.tokens.tolist() == whole[: len(written.tokens)]


def test_the_cases_are_what_they_are_called():
    pieces = {name: [it.decode([id_]) for id_ in it("</answer>\n\nThe end")["input_ids"]] for name, it in TOKENIZERS}
    assert pieces["split"][:9] == list("</answer>")
    assert "r>\n\nThe end" in pieces["glued"]
    assert pieces["whole"][0] == "</answer>"


def test_each_row_ends_at_its_own_tag():
    prompts = [[5], [5, 6], [5, 6, 7, 8]]  # a longer prompt stands further on in the script
    results = _write(SPLIT, "ab" + STORY + "cd", think="on", prompts=prompts)
    assert [text for text, _ in results] == ["ab" + STORY, "b" + STORY, STORY[1:]]
    assert {written.finish_reason for _, written in results} == {"stop"}


def test_a_closing_token_ends_a_response_before_its_tag():
    ((text, written),) = _write(SPLIT, f"<answer>Once.{END}</answer>", think="on")
    assert (text, written.finish_reason) == ("<answer>Once.", "stop")


def test_without_a_closing_tag_a_response_goes_on():
    ((text, written),) = _write(SPLIT, "</answer >" * 20, think="on", max_tokens=30)
    assert (text, written.finish_reason) == ("</answer >" * 3, "length")


@pytest.mark.parametrize(("_name", "tokenizer"), TOKENIZERS[:2])
def test_without_thinking_a_tag_is_text(_name, tokenizer):
    ((text, written),) = _write(tokenizer, STORY + " Go on." + END, think="off")
    assert (text, written.finish_reason) == (STORY + " Go on.", "stop")


def test_tags_that_are_special_tokens_stay_in_the_text_and_others_do_not():
    tokenizer = _tokenizer(["a"], special=(END, "<pad>", "<think>", "</think>", "<answer>", "</answer>"))
    ((text, _),) = _write(tokenizer, "<think>a</think><pad><answer>b</answer>", think="on")
    assert text == "<think>a</think><answer>b</answer>"


def test_few_tokens_are_read_in_search_of_the_tag():
    reads = []
    settings = GenerationSettings(max_tokens=200, think="on")
    model = _model(SPLIT, "x" * 50 + STORY)
    stops = find_stops(SPLIT, settings, generation_config=model.generation_config)
    counted = replace(stops, read=lambda ids: reads.append(len(ids)) or stops.read(ids))
    decode(
        model,
        [[5]],
        draws=uniform_draws(seed=0, step=1, rows=[0], count=200),
        stops=counted,
        settings=settings,
    )
    assert len(reads) == STORY.count(">")
    assert max(reads) <= 20


@pytest.mark.parametrize("named", [[7, 9], 7, None])
def test_closing_tokens_are_those_of_model_and_tokenizer(named):
    config = GenerationConfig(eos_token_id=named)
    tokenizer = SimpleNamespace(
        eos_token_id=2, bos_token_id=None, decode=str, chat_template=None, added_tokens_decoder={}, get_vocab=dict
    )
    expected = {2} | set(named if isinstance(named, list) else [named] if named else [])
    assert find_stops(tokenizer, GenerationSettings(), generation_config=config).tokens == expected


def test_a_response_of_nothing_but_its_closing_token_is_empty():
    stops = find_stops(SPLIT, GenerationSettings(think="on"))
    written = Completion(torch.tensor([SPLIT.eos_token_id]), torch.zeros(1), "stop")
    assert stops.response_text(written.tokens) == ""


@pytest.mark.parametrize(("_name", "tokenizer"), TOKENIZERS)
@pytest.mark.parametrize("stop", ["THE END", "完"])
def test_a_response_ends_before_a_string_of_the_recipe(_name, tokenizer, stop):
    text = f"Once, a river. {stop} And more.{END}"
    settings = GenerationSettings(max_tokens=200, stop=[stop])
    model = _model(tokenizer, text)
    stops = find_stops(tokenizer, settings, generation_config=model.generation_config)
    draws = uniform_draws(seed=0, step=1, rows=[0], count=200)
    (written,) = decode(model, [[5]], draws=draws, stops=stops, settings=settings)
    assert (stops.response_text(written.tokens), written.finish_reason) == ("Once, a river.", "stop")
    assert len(written.tokens) < len(tokenizer(text)["input_ids"])
    assert stops.find_end(torch.tensor(tokenizer(text)["input_ids"])) == len(written.tokens)
