"""What of a row is learned, for any chat template, and which rows are cut, left out or refused."""

from typing import Any

import pytest
import torch
import toy
from tokenizers.processors import TemplateProcessing
from toy import save_model

from longform.miniature.policy import build_model, build_tokenizer
from longform.records.errors import BadInputError
from longform.training.supervised.encoding import encode_rows, pack_rows
from longform.training.supervised.sft import fine_tune
from longform.training.supervised.sft_recipe import SftSettings
from longform.training.supervised.stage import IGNORED, StageRun
from longform.writers import chat_template
from longform.writers.loading import load_tokenizer

CHATML = (
    "{% for m in messages %}<|user|>{{ m.role }}: {{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|user|>assistant: {% endif %}"
)
FORGETS_THOUGHTS = (
    "{% for m in messages %}{% set text = m.content %}"
    "{% if not loop.last and '</think>' in text %}{% set text = text.split('</think>')[-1] %}{% endif %}"
    "<|user|>{{ m.role }}: {{ text }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|user|>assistant: {% endif %}"
)
CUTS_THOUGHTS = FORGETS_THOUGHTS.replace("not loop.last and ", "")
REFUSES_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system turn') }}{% endif %}" + CHATML


def tokenizer_with(template):
    tokenizer = build_tokenizer()
    tokenizer.chat_template = template
    return tokenizer


def turns(*contents):
    return [{"role": ("user", "assistant")[n % 2], "content": content} for n, content in enumerate(contents)]


def learned(tokenizer, encoded, row=0):
    """The learned parts of a row as texts."""
    parts, ids = [[]], encoded.ids[row]
    for token, label in zip(ids.tolist(), encoded.labels[row].tolist(), strict=True):
        if label == IGNORED:
            parts.append([])
        else:
            assert label == token
            parts[-1].append(token)
    return [tokenizer.decode(part).strip() for part in parts if part]


def test_of_a_conversation_every_assistant_turn_is_learned_with_the_token_that_ends_it():
    tokenizer = tokenizer_with(CHATML)
    encoded = encode_rows(
        tokenizer, [{"messages": turns("Hi.", "The fox.", "More.", "The key.", "Bye.")}], max_tokens=99
    )
    assert len(encoded) == 1
    assert learned(tokenizer, encoded) == ["The fox.<|end|>", "The key.<|end|>"]
    assert "Bye" not in tokenizer.decode(encoded.ids[0])


def test_a_template_that_renders_earlier_turns_otherwise_gets_a_row_for_each_turn():
    tokenizer = tokenizer_with(FORGETS_THOUGHTS)
    conversation = turns("Hi.", "A plan.</think>The fox.", "More.", "A map.</think>The key.")
    encoded = encode_rows(tokenizer, [{"messages": conversation}], max_tokens=99)
    assert [learned(tokenizer, encoded, row) for row in range(2)] == [
        ["A plan.</think>The fox.<|end|>"],
        ["A map.</think>The key.<|end|>"],
    ]
    assert "plan" not in tokenizer.decode(encoded.ids[1])


def test_a_template_that_drops_a_plan_is_refused_with_file_and_line():
    rows = [{"messages": turns("Hi.", text)} for text in ("The fox.", "A plan.</think>The fox.")]
    with pytest.raises(BadInputError, match=r"r\.jsonl:2: the chat template drops a part of the assistant's turn"):
        encode_rows(tokenizer_with(CUTS_THOUGHTS), rows, max_tokens=99, locations=["r.jsonl:1", "r.jsonl:2"])


def test_a_template_that_raises_is_one_line():
    rows = [{"messages": [{"role": "system", "content": "Be."}, *turns("Hi.", "The fox.")]}]
    with pytest.raises(
        BadInputError, match=r"r\.jsonl:1: the chat template refuses .*: no system turn; change the messages"
    ):
        encode_rows(tokenizer_with(REFUSES_SYSTEM), rows, max_tokens=99, locations=["r.jsonl:1"])


def test_variables_of_the_template_reach_it():
    tokenizer = tokenizer_with("{% if tale %}<|user|>tale{% endif %}" + CHATML)
    rows = [{"messages": turns("Hi.", "The fox.")}]
    plain, told = (
        encode_rows(tokenizer, rows, max_tokens=99, template_options=options) for options in ({}, {"tale": True})
    )
    assert len(told.ids[0]) > len(plain.ids[0])


def test_completions_and_texts_end_with_the_end_of_text_token():
    tokenizer = build_tokenizer()
    rows = [{"prompt": "The fox.", "completion": " The key."}, {"text": "The mill."}]
    encoded = encode_rows(tokenizer, rows, max_tokens=99)
    assert learned(tokenizer, encoded, 0) == ["The key.<|end|>"]
    assert learned(tokenizer, encoded, 1) == ["The mill.<|end|>"]


def test_rows_that_are_cut_and_left_out_are_counted():
    tokenizer = build_tokenizer()
    rows = [{"messages": turns("Hi.", "The fox. " * n)} for n in (1, 20)] + [
        {"messages": turns("The fox. " * 20, "Yes.")}
    ]
    encoded = encode_rows(tokenizer, rows, max_tokens=20)
    assert (len(encoded), encoded.cut, encoded.longest) == (2, 1, 20)
    assert encoded.left_out == {"longer than settings.max_tokens before anything to learn": 1}
    with pytest.raises(BadInputError, match=r"settings\.max_tokens: all 1 rows are longer than 20 tokens"):
        encode_rows(tokenizer, rows[2:], max_tokens=20)


@pytest.mark.parametrize("strategy", ["wrapped", "bfd"])
def test_packed_windows_hold_all_tokens_of_the_rows(strategy):
    tokenizer = build_tokenizer()
    encoded = encode_rows(tokenizer, [{"text": "The fox. " * n} for n in range(1, 9)], max_tokens=32)
    packed = pack_rows(encoded.dataset(), max_tokens=32, strategy=strategy, seed=0)
    assert packed[-1]["labels"] == [IGNORED]
    windows = packed.select(range(len(packed) - 1))["input_ids"]
    assert sorted(token for row in windows for token in row) == sorted(
        token for row in encoded.ids for token in row.tolist()
    )
    assert max(len(row) for row in windows) <= 32
    assert len(windows) < len(encoded)


def test_rows_packed_whole_are_learned_as_if_they_stood_alone():
    """The loss is that of the same rows side by side: no row sees another one of its window."""
    tokenizer = build_tokenizer()
    encoded = encode_rows(tokenizer, [{"messages": turns("Hi.", "The fox. " * n)} for n in range(1, 9)], max_tokens=32)
    losses = []
    plain, packed = SftSettings(steps=1, batch_size=8, max_tokens=32, lr=1e-9), {"packing": "bfd", "batch_size": 16}
    for settings in (plain, plain.model_copy(update=packed)):
        trained = fine_tune(build_model(tokenizer, seed=0), tokenizer, encoded, settings, StageRun.of())
        losses.append(trained.report.final_loss)
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_a_tokenizer_without_a_template_learns_texts(tmp_path):
    tokenizer = load_tokenizer(str(save_model(tmp_path / "m")))
    encoded = encode_rows(tokenizer, [{"prompt": "write so", "completion": " good and"}], max_tokens=9)
    assert encoded.labels[0].tolist()[2:] == encoded.ids[0].tolist()[2:]
    assert torch.tensor(encoded.labels[0][:2]).eq(IGNORED).all()


def test_a_row_of_one_token_has_nothing_to_learn():
    tokenizer = build_tokenizer()
    rows = [{"text": tokenizer.eos_token}, {"text": "The fox."}]
    encoded = encode_rows(tokenizer, rows, max_tokens=9)
    assert len(encoded) == 1
    assert sum(encoded.left_out.values()) == 1


def test_templates_of_training_rows_are_limited_and_must_keep_the_turns_of_the_user(monkeypatch):
    monkeypatch.setattr(chat_template, "MAX_SECONDS", 0.1)
    loop = "{% for a in range(99999) %}" * 3 + "{% endfor %}" * 3
    no_user = CHATML.replace("in messages %}", "in messages if m.role != 'user' %}")
    for template, message in ((loop, "takes more than 0 seconds"), (no_user, "leaves out the user turn; change")):
        with pytest.raises(BadInputError, match=rf"^row 1: the chat template {message}"):
            encode_rows(tokenizer_with(template), [{"messages": turns("Hi.", "The fox.")}], max_tokens=99)


def test_a_text_ends_with_one_end_token_also_where_the_tokenizer_adds_one():
    tokenizer = _tokenizer_that_ends_texts()
    encoded = encode_rows(tokenizer, [{"text": "write so"}, {"prompt": "write", "completion": " good"}], max_tokens=9)
    assert [ids.tolist() for ids in encoded.ids] == [[1, 4, 0], [1, 2, 0]]
    assert encoded.labels[1].tolist() == [IGNORED, 2, 0]


def _tokenizer_that_ends_texts():
    tokenizer: Any = toy.build_tokenizer()
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="$A [end]", special_tokens=[("[end]", 0)])
    return tokenizer
