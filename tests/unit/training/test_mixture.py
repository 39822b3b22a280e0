"""Sources mixed by tokens, packed into full windows, and passed over no more often than allowed."""

import json
import random
from itertools import chain, islice, repeat
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longform.miniature.base import build_base_tokenizer
from longform.records.errors import BadInputError
from longform.training.supervised import mixture
from longform.training.supervised.mixture import (
    build_encode,
    count_tokens,
    mix,
    pack,
    read_windows,
    shuffle,
    write_windows,
)
from longform.training.supervised.pretrain_sources import Document, Source, TextFiles, open_source


def encode_as_numbers(documents):
    """One token a word, its number; 0 ends a document."""
    return [[*map(int, document.text.split()), 0] for document in documents]


def write_texts(path, texts, field="text"):
    path.write_text("".join(json.dumps({field: text}) + "\n" for text in texts))
    return TextFiles([path], field)


def windows_of(sources, shares, folder, **settings):
    place = folder / "windows"
    given: Any = {"window": 8, "windows": 25, "max_epochs": 4, "seed": 0} | settings
    drawn = write_windows(place, sources, shares, encode_as_numbers, **given)
    return drawn, list(read_windows(place)["input_ids"])


@given(
    weights=st.lists(st.integers(1, 100), min_size=1, max_size=4),
    lengths=st.lists(st.lists(st.integers(1, 300), min_size=1, max_size=5), min_size=4, max_size=4),
    tokens=st.integers(1, 20_000),
)
def test_at_no_point_is_a_source_above_its_share_by_more_than_one_of_its_documents(weights, lengths, tokens):
    shares = {str(i): weight / sum(weights) for i, weight in enumerate(weights)}
    longest = {name: max(lengths[int(name)]) for name in shares}
    endless = {name: chain.from_iterable(repeat([[0] * n for n in lengths[int(name)]])) for name in shares}
    drawn, total = dict.fromkeys(shares, 0), 0
    for name, document in mix(endless, shares, tokens=tokens):
        drawn[name] += len(document)
        total += len(document)
        for each, share in shares.items():
            above = drawn[each] - share * total
            others = sum(longest.values()) - longest[each]
            assert -others - 1e-6 <= above <= longest[each] + 1e-6
    assert total == tokens


@given(st.lists(st.lists(st.integers(), max_size=50)), st.integers(1, 20))
def test_packing_cuts_the_stream_of_tokens_into_full_windows_and_drops_the_rest(documents, window):
    packed = list(pack(documents, window=window))
    tokens = list(chain.from_iterable(documents))
    assert all(len(it) == window for it in packed)
    assert list(chain.from_iterable(packed)) == tokens[: len(tokens) // window * window]


@given(st.lists(st.text(max_size=40).map(Document), max_size=60), st.integers(1, 400))
def test_shuffling_keeps_every_document(documents, characters):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mixture, "_CHARACTERS_SHUFFLED", characters)
        assert sorted(shuffle(documents, random.Random(1))) == sorted(documents)


def test_what_was_written_to_a_request_counts_among_the_characters_that_are_held(monkeypatch):
    monkeypatch.setattr(mixture, "_CHARACTERS_SHUFFLED", 100)
    read = []
    stream = (read.append(number) or Document("Write.", "x" * 44) for number in range(100))
    shuffled = shuffle(stream, random.Random(1))
    for taken in range(1, 11):
        next(shuffled)
        assert len(read) <= taken + 2, "no more than 100 characters and a document are held"
    assert len(list(shuffled)) == 90


def test_windows_are_a_function_of_sources_and_seed(tmp_path):
    sources = {
        "a": write_texts(tmp_path / "a.jsonl", [f"{n} {n}" for n in range(1, 60)]),
        "b": write_texts(tmp_path / "b.jsonl", [str(n) * 3 for n in range(1, 60)]),
    }
    shares = {"a": 0.75, "b": 0.25}
    drawn, windows = windows_of(sources, shares, tmp_path)
    assert len(windows) == 25
    assert sum(it.tokens for it in drawn.values()) == 200
    assert drawn["a"].tokens == pytest.approx(150, abs=3)
    assert windows_of(sources, shares, tmp_path)[1] == windows
    assert windows_of(sources, shares, tmp_path, seed=1)[1] != windows


def test_each_pass_over_a_small_source_has_an_order_of_its_own(tmp_path):
    source = write_texts(tmp_path / "a.jsonl", map(str, range(1, 13)))
    drawn, windows = windows_of({"a": source}, {"a": 1.0}, tmp_path, windows=9)
    passes = [list(chain.from_iterable(windows[start : start + 3])) for start in (0, 3, 6)]
    assert drawn["a"].pass_tokens == 24
    assert all(sorted(it) == sorted(passes[0]) for it in passes)
    assert len({tuple(it) for it in passes}) == 3


def test_a_source_may_be_passed_over_just_as_often_as_is_allowed(tmp_path):
    source = write_texts(tmp_path / "a.jsonl", map(str, range(1, 13)))
    windows_of({"a": source}, {"a": 1.0}, tmp_path, windows=6, max_epochs=2)
    with pytest.raises(BadInputError, match=r"'a' has 24 tokens and would need 2\.3 epochs"):
        windows_of({"a": source}, {"a": 1.0}, tmp_path, windows=7, max_epochs=2)


def test_a_small_source_is_counted_exactly_and_a_large_one_about(tmp_path, monkeypatch):
    source = write_texts(tmp_path / "a.jsonl", ["1 2 3"] * 400)
    assert count_tokens(source, encode_as_numbers) == (400, 1600, True)
    monkeypatch.setattr(mixture, "_CHARACTERS_COUNTED", 500)
    assert count_tokens(source, encode_as_numbers) == (400, 1600, False)


def test_no_more_is_read_of_a_large_source_than_the_budget_pays_for(tmp_path, monkeypatch):
    monkeypatch.setattr(mixture, "_CHARACTERS_SHUFFLED", 10)
    read = []

    class Endless:
        files = ()

        def read(self, stream):
            for number in range(1_000_000):
                read.append(number)
                yield Document(str(number))

    windows_of({"a": Endless()}, {"a": 1.0}, tmp_path)
    assert len(read) < 300


def test_documents_end_with_one_end_of_text_and_a_response_is_encoded_apart():
    tokenizer: Any = build_base_tokenizer()
    encode = build_encode(tokenizer)
    end = tokenizer.eos_token_id
    ((*text, last),) = encode([Document("Mira lived.")])
    assert (tokenizer.decode(text).strip(), last) == ("Mira lived.", end)
    ((*both, last),) = encode([Document("Mira lived.", "<think>Key</think>")])
    assert both[: len(text)] == text
    assert tokenizer.decode(both[len(text) :]).replace(" ", "") == "<think>Key</think>"
    assert both.count(end) == 0
    assert last == end


def test_a_tokenizer_that_ends_texts_itself_does_not_end_them_twice(monkeypatch):
    class Ending:
        eos_token_id = 9

        def __call__(self, texts, add_special_tokens=True):
            return {"input_ids": [[1, 2, 9] if add_special_tokens else [] for _ in texts]}

    assert build_encode(Ending())([Document("a")]) == [[1, 2, 9]]


def test_without_end_of_text_documents_cannot_be_parted():
    tokenizer = build_base_tokenizer()
    tokenizer.eos_token = None
    with pytest.raises(BadInputError, match="no end-of-text token"):
        build_encode(tokenizer)


def test_mixing_takes_documents_one_by_one(tmp_path):
    stream = iter([[1], [2], [3]])
    mixed = mix({"a": stream}, {"a": 1.0}, tokens=100)
    assert [document for _, document in islice(mixed, 2)] == [[1], [2]]
    assert list(stream) == [[3]]


def test_a_folder_of_text_files_holds_a_document_a_file(tmp_path):
    for name, content in {
        "a.txt": b"One\n\ntwo\n",
        "deep/b.txt": "三".encode("utf-16"),
        "c.txt": b" \n",
        "d.txt": b"x\xff",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    documents = open_source(Source(name="t", share=1, path=str(tmp_path)))
    assert sorted(it.text for it in documents.read(random.Random(0))) == ["One\n\ntwo\n", "x\ufffd", "三"]
    (tmp_path / "rows.jsonl").write_text('{"text": "row"}\n')
    documents = open_source(Source(name="t", share=1, path=str(tmp_path)))
    assert [it.text for it in documents.read(random.Random(0))] == ["row"]


def test_documents_are_read_from_csv_and_json(tmp_path):
    (tmp_path / "a.csv").write_text("id,body\n1,one\n2,\n")
    (tmp_path / "b.json").write_text('["two"]')
    assert [it.text for it in TextFiles([tmp_path / "a.csv"], "body").read(random.Random(0))] == ["one"]
    assert [it.text for it in TextFiles([tmp_path / "b.json"], "body").read(random.Random(0))] == ["two"]
