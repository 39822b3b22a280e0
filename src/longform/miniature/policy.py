"""The policy of the miniature world before any training: its tokenizer, its architecture, and what it learns from.

A Llama of about a million parameters, wide and shallow: what limits it is copying names and required words from the request,
and that takes width rather than depth. Every word of the world is one token. It learns from writers of mixed skill, as
large models do, so a well-trained start is a mediocre writer that has seen better.
"""

import random
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from longform.miniature.grammar import EVENTS, FILLERS, fill
from longform.miniature.world import POOLS, draw_request
from longform.miniature.writers import write_story
from longform.training.sft import SftSettings

PAD, USER, ASSISTANT, END = "<|pad|>", "<|user|>", "<|assistant|>", "<|end|>"
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message.role == 'assistant' %}<|assistant|>{{ message.content }}<|end|>"
    "{% else %}<|user|>{{ message.content }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
LESSON_LEVELS = {"novice": 0.25, "apprentice": 0.40, "journeyman": 0.35}
"""What the policy learns from: shares of the writers' levels. The master is not among them."""

SFT_SETTINGS = SftSettings(
    steps=350, batch_size=16, max_tokens=256, optimizer="muon", lr=8e-3, muon_lr=0.03, warmup_steps=10, decay=0.4
)
"""How long and how fast it learns, every row once: about a minute on two cores."""


def build_tokenizer(*, more: Sequence[str] = ()) -> PreTrainedTokenizerFast:
    """A byte-level BPE in which every word of the world is one token, with a chat template and a closing token.

    The words of the texts in `more` are one token each as well.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=4096,  # more than there is to merge: merging ends when every word is one token
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
    """The untrained policy, a function of the seed."""
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


def sft_rows(*, seed: int, count: int) -> list[dict[str, Any]]:
    """Conversations to learn from: training requests of a stream of their own, answered at the levels of `LESSON_LEVELS`."""
    return [_lesson(random.Random(f"lesson/{seed}/{index}")) for index in range(count)]


def _lesson(stream: random.Random) -> dict[str, Any]:
    request = draw_request(stream, split="train")
    (level,) = stream.choices(list(LESSON_LEVELS), weights=list(LESSON_LEVELS.values()))
    story = write_story(request, level=level, sample=stream.randrange(1000))
    return {
        "prompt": [{"role": "user", "content": request.text}],
        "completion": [{"role": "assistant", "content": story}],
    }


def _all_sentences() -> Iterator[str]:
    """Every word of the world: each form with each word of each pool, and some requests."""
    stream = random.Random("tokenizer")
    for _ in range(50):
        yield draw_request(stream, split="train").text
    for pick in range(max(map(len, POOLS.values()))):
        words = {name: pool[pick % len(pool)] for name, pool in POOLS.items()}
        for form in (*(form for event in EVENTS for form in event.forms), *FILLERS):
            yield fill(form, words)
