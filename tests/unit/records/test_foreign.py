"""A file that is not what its name says is refused in one line that says what it is."""

import gzip
import os

import pytest

from longform.records.errors import BadInputError, RowsWarning
from longform.records.files import read_rows
from longform.records.schemas import Prompt

ROW = b'{"id": "1", "prompt": "x"}\n'
CHINESE = '{"id": "1", "prompt": "请写一篇关于秋天的散文，不少于八百字。"}\n'
FRENCH = "id,prompt\n1,Écrivez un résumé détaillé de l'été passé à la mer, où vous étiez\n"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.jsonl.gz", gzip.compress(ROW, mtime=0), "compressed with gzip; unpack it first"),
        ("p.csv", gzip.compress(ROW, mtime=0), "compressed with gzip"),
        ("p.jsonl.zst", b"\x28\xb5\x2f\xfd0000", "compressed with zstd"),
        ("p.xlsx", b"PK\x03\x040000", "save the sheet as .csv"),
        ("p.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0\0", "save the sheet as .csv"),
        ("p.pdf", b"%PDF-1.7\n", "save its text as .txt"),
        ("p.txt", b"{\\rtf1\\ansi Write about rain.}", "save it as plain text"),
        ("data-00000-of-00001.arrow", b"ARROW1\0\0", "the folder of `save_to_disk`"),
        ("p.db", b"SQLite format 3\0", "export the table as .csv"),
        ("p.jsonl", b"PAR10000PAR1", "give it the suffix .parquet"),
        ("p.parquet", b"version https://git-lfs.github.com/spec/v1\n", "`git lfs pull`"),
        ("p.jsonl", b"\n<!DOCTYPE html><html>", "is a web page"),
        ("p.csv", b'{"id": "1", "prompt": "x"}\n', "give the file the suffix .jsonl"),
        ("p.data", b"id,prompt\n1,x\n", "rows that are not JSON Lines need their suffix"),
        ("p.jsonl", b'{\n  "id": "1",\n  "prompt": "x"\n}\n', "a row is one line"),
        ("p.jsonl", CHINESE.encode("gbk"), "iconv -f GB18030 -t UTF-8"),
        ("p.txt", "請寫一篇關於秋天的散文".encode("big5"), "iconv -f BIG5 -t UTF-8"),
        ("p.csv", (FRENCH * 6).encode("cp1252"), "is not in UTF-8"),
        ("p.csv", ("id,prompt\n" + "1,日本語で短い物語を書いてください\n" * 9).encode("shift-jis"), "is not in UTF-8"),
    ],
)
def test_a_foreign_file_is_named_with_the_remedy(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInputError) as caught:
        list(read_rows(tmp_path / name, Prompt))
    assert message in str(caught.value)
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_text_in_utf_8_is_never_taken_for_another_encoding(tmp_path):
    path = tmp_path / "p.csv"
    for text in (
        "写一篇散文" * 20_000,
        "été" * 30_000,
        "\U0001f600" * 20_001,
        "Ѐ߿" * 9,
        "한국어" * 30_000,
        "\ufffd " * 9,
    ):
        for blanks in range(4):
            path.write_text(f"id,prompt\n1,{' ' * blanks}{text}\n", encoding="utf-8")
            (row,) = read_rows(path, Prompt)
            assert row.prompt == " " * blanks + text


def test_single_bad_bytes_are_replaced_and_counted(tmp_path):
    path = tmp_path / "p.csv"
    path.write_bytes(b"id,prompt\n" + b"".join(b"%d,caf\xe9 noir\n" % n for n in range(20)))
    with pytest.warns(RowsWarning, match="20 rows"):
        assert [it.prompt for it in read_rows(path, Prompt)] == ["caf\ufffd noir"] * 20


def test_a_pipe_is_refused_before_its_rows_are_lost(tmp_path):
    os.mkfifo(tmp_path / "p.jsonl")
    with pytest.raises(BadInputError, match="is a pipe"):
        list(read_rows(tmp_path / "p.jsonl", Prompt))


def test_suffixes_in_capitals_and_hidden_files_are_understood(tmp_path):
    (tmp_path / "P.CSV").write_text("id,prompt\n1,x\n")
    (tmp_path / "._P.CSV").write_bytes(b"\0\5\26\7")
    assert [it.prompt for it in read_rows(tmp_path, Prompt)] == ["x"]


def test_of_a_folder_neither_hidden_folders_nor_folders_named_like_files_are_read(tmp_path):
    for name, prompt in (("a.csv", "x"), (".ipynb_checkpoints/a.csv", "old x"), ("b.csv/part.csv", "y")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"prompt\n{prompt}\n")
    assert [it.prompt for it in read_rows(tmp_path, Prompt)] == ["x", "y"]
