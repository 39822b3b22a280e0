import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from longform.miniature.base import PRETRAIN_SETTINGS, build_base_tokenizer, pretrain
from longform.miniature.corpus import LIST_TITLE, TAGS, documents
from longform.miniature.policy import build_tokenizer


@pytest.fixture(scope="module")
def tokenizer():
    return build_base_tokenizer()


def test_each_tag_is_one_ordinary_token_that_stays_in_a_decoded_text(tokenizer):
    for tag in TAGS:
        (token,) = tokenizer(tag)["input_ids"]
        assert token not in tokenizer.all_special_ids
        assert tokenizer.decode([token], skip_special_tokens=True) == tag


def test_a_document_comes_back_from_its_tokens_and_every_word_is_one(tokenizer):
    for document in documents(seed=1, count=200):
        ids = tokenizer(document)["input_ids"]
        read = tokenizer.decode(ids, skip_special_tokens=True)
        assert read.replace("> ", ">").strip() == document
        if document.startswith(LIST_TITLE):
            assert len(ids) == len(document.replace(".", " .").replace(",", " ,").split())


def test_a_base_has_no_chat_template_and_the_policys_tokenizer_no_tags(tokenizer):
    assert tokenizer.chat_template is None
    assert not set(TAGS) & set(build_tokenizer().get_vocab())


def test_a_base_is_pretrained_on_documents_alone_and_loads_again(tmp_path):
    settings = PRETRAIN_SETTINGS.model_copy(update={"steps": 4, "batch_size": 4, "seed": 3})
    losses = []
    report = pretrain(settings, out=tmp_path / "base", on_progress=lambda step, steps, loss: losses.append(loss))
    assert report.steps == 4
    assert losses[-1] < losses[0]
    assert AutoTokenizer.from_pretrained(tmp_path / "base").chat_template is None
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "base").generation_config.eos_token_id is not None
