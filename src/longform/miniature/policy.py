"""The policy of the miniature world before training: its tokenizer, architecture and SFT data.

A Llama of about a million parameters, wide and shallow: the hard part is copying names and required words from the request,
which takes width rather than depth. Every word of the world is one token. The SFT data mixes writers of different skill, as
web text does, so the model after SFT is a mediocre writer with room to improve.
"""

import random
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from longform.miniature.grammar import EVENTS, FILLERS, fill
from longform.miniature.kinds import KIND_RANGES, write_lesson
from longform.miniature.world import LENGTH_RANGES, POOLS, draw_request
from longform.miniature.writers import LESSON_LEVELS, write_story
from longform.training.supervised.sft_recipe import SftSettings

PAD, USER, ASSISTANT, END = "<|pad|>", "<|user|>", "<|assistant|>", "<|end|>"
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message.role == 'assistant' %}<|assistant|>{{ message.content }}<|end|>"
    "{% else %}<|user|>{{ message.content }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SFT_SETTINGS = SftSettings(
    steps=260, batch_size=16, max_tokens=256, optimizer="muon", lr=8e-3, muon_lr=0.03, warmup_steps=10, decay=0.4
)
"""SFT settings: one epoch, about a minute on two cores."""


def build_tokenizer(*, more: Sequence[str] = ()) -> PreTrainedTokenizerFast:
    """Build a byte-level BPE tokenizer with one token per word of the world, a chat template and an end token.

    Args:
        more: Further texts whose words get one token each.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=4096,  # an upper bound that is never reached: merging ends when every word is one token
        special_tokens=[PAD, USER, ASSISTANT, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(chain(_all_sentences(), more), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=[USER, ASSISTANT],
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        model_max_length=512,
    )


def build_model(tokenizer: PreTrainedTokenizerFast, *, seed: int) -> LlamaForCausalLM:
    """Build the untrained policy; its weights are a function of the seed."""
    torch.manual_seed(seed)
    special = tokenizer.get_added_vocab()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=160,
        intermediate_size=480,
        num_hidden_layers=2,
        num_attention_heads=5,
        num_key_value_heads=5,
        max_position_embeddings=512,
        initializer_range=0.07,
        bos_token_id=None,
        eos_token_id=special[END],
        pad_token_id=special[PAD],
        tie_word_embeddings=True,
    )
    return LlamaForCausalLM(config)


def sft_rows(*, seed: int, count: int, kinds: bool = False) -> list[dict[str, Any]]:
    """Return SFT conversations: requests from a separate stream of the training split, answered at `LESSON_LEVELS`.

    Args:
        seed: Seed of the stream.
        count: Number of conversations.
        kinds: Whether requests are of the kinds of `miniature/kinds.py`, with lessons of their own.
    """
    return [_lesson(random.Random(f"lesson/{seed}/{index}"), kinds=kinds) for index in range(count)]


def _lesson(stream: random.Random, *, kinds: bool) -> dict[str, Any]:
    request = draw_request(stream, split="train", ranges=KIND_RANGES if kinds else LENGTH_RANGES)
    if kinds:
        story = write_lesson(request, stream)
    else:
        (level,) = stream.choices(list(LESSON_LEVELS), weights=list(LESSON_LEVELS.values()))
        story = write_story(request, level=level, sample=stream.randrange(1000))
    return {
        "prompt": [{"role": "user", "content": request.text}],
        "completion": [{"role": "assistant", "content": story}],
    }


def _all_sentences() -> Iterator[str]:
    """Yield sentences that together contain every word of the world: each form with each pool word, and some requests."""
    stream = random.Random("tokenizer")
    for _ in range(50):
        yield draw_request(stream, split="train").text
    for pick in range(max(map(len, POOLS.values()))):
        words = {name: pool[pick % len(pool)] for name, pool in POOLS.items()}
        for form in (*(form for event in EVENTS for form in event.forms), *FILLERS):
            yield fill(form, words)
