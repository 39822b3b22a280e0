"""A model of a few thousand weights that has been taught some texts, with a tokenizer in which each entry is one token."""

import random

import torch
from tokenizers import Tokenizer, models
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast


def save_taught_model(folder, vocabulary, draw_text, *, split, steps, unknown, hidden, layers):
    """Write the model to `folder`. `draw_text(random)` gives the token ids of one text, its closing token the last."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=2,
        bos_token_id=None,
        eos_token_id=0,
        pad_token_id=0,
    )
    model, draw = LlamaForCausalLM(config), random.Random(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(steps):
        texts = [draw_text(draw) for _ in range(32)]
        longest = max(map(len, texts))
        tokens = torch.tensor([text + [-100] * (longest - len(text)) for text in texts])
        logits = model(input_ids=tokens.clamp(min=0)).logits[:, :-1]
        loss = cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten(), ignore_index=-100)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    raw = Tokenizer(models.WordLevel({token: i for i, token in enumerate(vocabulary)}, unk_token=unknown))
    raw.pre_tokenizer = split
    model.save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="[end]", pad_token="[end]").save_pretrained(folder)
    return folder
