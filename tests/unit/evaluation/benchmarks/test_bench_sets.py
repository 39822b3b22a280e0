"""Sets of benchmarks: files and folders, layouts, versions, and sets that are another benchmark's; fetching them."""

import hashlib
import json
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from longform.evaluation.benchmarks.catalogue import BENCHMARKS, find_benchmark, read_set
from longform.evaluation.benchmarks.fetch import fetch_set
from longform.evaluation.benchmarks.longform_writing import LongformWriting
from longform.evaluation.benchmarks.longwrite_ruler import LongWriteRuler
from longform.evaluation.benchmarks.sets import hash_set
from longform.records.errors import BadInputError
from longform.records.files import read_rows
from longform.records.schemas import Prompt

RULER = LongWriteRuler()
ROWS = [
    {"prompt": "Write 100\u2028words.", "type": "t", "length": 100},
    {"prompt": "Write 200 words.", "type": "t", "length": 200},
]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(path):
    return [(item.id, item.prompt, item.length) for item in RULER.read(path)]


def test_a_set_is_read_alike_from_lines_an_array_parquet_and_a_folder(tmp_path):
    expected = read(write(tmp_path / "a.jsonl", LINES))  # a line separator in a text ends no line
    assert [row[1:] for row in expected] == [("Write 100\u2028words.", 100), ("Write 200 words.", 200)]
    assert read(write(tmp_path / "a.json", json.dumps(ROWS))) == expected
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet") == expected
    write(tmp_path / "folder" / "deeper" / "longwrite_ruler.jsonl", LINES)
    assert read(tmp_path / "folder") == expected


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", "", "a.jsonl: contains no rows"),
        ("a.jsonl", "\n\n", "a.jsonl: contains no rows"),
        ("a.json", "[]", "a.json: contains no rows"),
        ("a.json", '{"prompt": 1}', "a.json:1: not a row of longwrite-ruler"),
        ("a.json", "[1]", "a.json:1: Input should be an object"),
        ("a.json", "[", "a.json:1: Invalid JSON"),
        ("a.jsonl", LINES + "{", "a.jsonl:3: "),
        (
            "a.jsonl",
            LINES + '{"prompt": "p", "length": 4}',
            "a.jsonl:3: not a row of longwrite-ruler: missing type",
        ),
        ("a.jsonl", '{"id": 3, "prompt": "p", "type": "t", "length": 4}', "a.jsonl:1: id: "),
    ],
)
def test_a_set_that_cannot_be_read_is_one_line(tmp_path, name, content, said):
    with pytest.raises(BadInputError) as caught:
        RULER.read(write(tmp_path / name, content))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_set_and_a_folder_without_one_are_named(tmp_path):
    with pytest.raises(BadInputError, match=r"none.jsonl: cannot be read: No such file"):
        RULER.read(tmp_path / "none.jsonl")
    with pytest.raises(BadInputError, match=r"contains no longwrite_ruler.jsonl, the data of longwrite-ruler"):
        RULER.read(tmp_path)


def test_the_set_of_another_benchmark_is_recognised(tmp_path):
    with pytest.raises(BadInputError, match=r"a.jsonl:1: .*writingbench: missing checklist.*match longbench-write or"):
        read_set(BENCHMARKS["writingbench"], write(tmp_path / "a.jsonl", LINES))


def test_a_version_is_the_hash_of_the_files(tmp_path):
    path = write(tmp_path / "a.jsonl", LINES)
    assert hash_set(path, RULER.card) == hashlib.sha256(LINES.encode()).hexdigest()
    card = BENCHMARKS["writingbench"].card
    write(tmp_path / "w" / "benchmark_all.jsonl", "a")
    one = hash_set(tmp_path / "w", card)
    assert one == hashlib.sha256(b"a").hexdigest()
    write(tmp_path / "w" / "style_subset.jsonl", "b")
    assert hash_set(tmp_path / "w", card) not in (one, hashlib.sha256(b"b").hexdigest())


def test_an_unknown_benchmark_is_named_with_those_there_are():
    with pytest.raises(BadInputError, match=r"unknown benchmark .writing.; available: writingbench, "):
        find_benchmark("writing")


def test_every_benchmark_says_what_there_is_to_know():
    for name, benchmark in BENCHMARKS.items():
        card = benchmark.card
        assert card.name == name
        assert card.home.startswith("https://")
        assert card.files
        assert card.fields
        assert card.licence
        assert all(deviation.endswith(".") for deviation in card.deviations)


class Home(ThreadingHTTPServer):
    """A public home on the loopback; `withheld` bytes of each file never come."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pages: dict[str, bytes] = {}
        self.withheld = 0
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        assert isinstance(self.server, Home)
        page = self.server.pages.get(self.path)
        self.send_response(200 if page is not None else 404)
        content = b"no" if page is None else page
        self.send_header("Content-Length", str(len(content) + self.server.withheld))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format, *args):
        pass


@pytest.fixture
def home():
    server = Home()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def at(home, *names):
    benchmark = LongWriteRuler()
    benchmark.card = replace(RULER.card, files={name: f"{home.url}/{name}" for name in names})
    return benchmark


def fetch(benchmark, out):
    return fetch_set(benchmark, out, on_progress=lambda done, total, name: None)


def test_fetching_brings_the_files_that_are_there(home, tmp_path):
    home.pages = {"/set.jsonl": LINES.encode(), "/more.jsonl": b"{}\n"}
    out = tmp_path / "deep" / "set"
    fetched = fetch(at(home, "set.jsonl", "more.jsonl", "gone.jsonl"), out)
    assert (fetched.files, fetched.not_there) == (["more.jsonl", "set.jsonl"], ["gone.jsonl"])
    assert fetched.set.prompts == 2
    assert (out / "set.jsonl").read_bytes() == LINES.encode()
    assert [path.name for path in out.parent.iterdir()] == ["set"]
    assert len(at(home, "set.jsonl", "more.jsonl").read(out)) == 2


def test_the_prompts_of_a_set_stand_beside_it_under_the_ids_that_responses_name(home, tmp_path):
    home.pages = {"/set.jsonl": LINES.encode()}
    benchmark, out = at(home, "set.jsonl"), tmp_path / "set"
    fetch(benchmark, out)
    assert list(read_rows(out / "prompts.jsonl", Prompt)) == benchmark.prompts(benchmark.read(out))
    fetch(benchmark, out)  # of the same set
    (tmp_path / "other").mkdir()
    write(tmp_path / "other" / "prompts.jsonl", "mine")
    with pytest.raises(BadInputError, match=r"--out .*other: contains another prompts.jsonl"):
        fetch(benchmark, tmp_path / "other")
    assert (tmp_path / "other" / "prompts.jsonl").read_text() == "mine"


def test_of_texts_that_are_written_in_turns_no_prompts_are_put_beside_the_set(home, tmp_path):
    home.pages = {"/stories.json": b'{"1": {"writing_prompt": "Write.", "category": "Noir", "title": "T"}}'}
    benchmark = LongformWriting()
    benchmark.card = replace(LongformWriting.card, files={"stories.json": f"{home.url}/stories.json"})
    fetched = fetch(benchmark, tmp_path / "set")
    assert (fetched.files, fetched.set.prompts) == (["stories.json"], 13)
    assert [path.name for path in (tmp_path / "set").iterdir()] == ["stories.json"]


@pytest.mark.parametrize(
    ("page", "withheld", "said"),
    [
        (None, 0, "set.jsonl: cannot be fetched: HTTP 404; download a file by hand"),
        (b"<html>", 0, "https://github.com/THUDM/LongWriter: the downloaded data is invalid: set.jsonl: is a web page"),
        (b"", 0, "the downloaded data is invalid: set.jsonl: contains no rows"),
        (LINES.encode(), 10, "set.jsonl: cannot be fetched: "),
    ],
)
def test_what_does_not_come_whole_or_does_not_parse_leaves_nothing(home, tmp_path, page, withheld, said):
    home.pages, home.withheld = ({} if page is None else {"/set.jsonl": page}), withheld
    (tmp_path / "set").mkdir()
    write(tmp_path / "set" / "set.jsonl", "before")
    with pytest.raises(BadInputError) as caught:
        fetch(at(home, "set.jsonl"), tmp_path / "set")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
    assert (tmp_path / "set" / "set.jsonl").read_bytes() == b"before"


def test_without_a_network_one_line_says_so(home, tmp_path):
    home.shutdown()
    home.server_close()
    with pytest.raises(
        BadInputError, match=r"http://127.0.0.1:\d+/set.jsonl: cannot be fetched: .*; is there a network"
    ):
        fetch(at(home, "set.jsonl"), tmp_path / "set")
    assert not list(tmp_path.iterdir())


def test_a_set_is_fetched_to_the_folder_that_one_stands_in(home, tmp_path, monkeypatch):
    home.pages = {"/set.jsonl": LINES.encode()}
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    fetch(at(home, "set.jsonl"), Path())
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["here", "prompts.jsonl", "set.jsonl"]
    with pytest.raises(BadInputError, match=r"--out /: the data needs a folder of its own"):
        fetch(at(home, "set.jsonl"), Path("/"))


def test_a_folder_that_cannot_be_made_is_named(home, tmp_path):
    home.pages = {"/set.jsonl": LINES.encode()}
    write(tmp_path / "file", "x")
    with pytest.raises(BadInputError, match=r"file/set: cannot be written"):
        fetch(at(home, "set.jsonl"), tmp_path / "file" / "set")
