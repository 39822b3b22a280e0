"""The viewer: what its pages show, what they keep out, and who may read them."""

import base64
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote

import pytest
import yaml
from starlette.testclient import TestClient

from longform.evaluation.audit.pairs import AuditedPair
from longform.evaluation.benchmarks.benchmark import Answers
from longform.evaluation.benchmarks.result import answer_rows
from longform.evaluation.labelling.labels import LabelStore
from longform.evaluation.labelling.run import PairSource, open_labels
from longform.records.calls import SqliteCallLog
from longform.records.errors import BadInputError
from longform.records.files import write_rows
from longform.records.rollout_search import RolloutIndex
from longform.records.run_directory import RunDirectory
from longform.records.schemas import Game, Grade, Ladder, Pair, PairWithLabels, PromptRow, Reference, Response
from longform.report.page import write_report
from longform.report.rendering import content_policy
from longform.viewer import app
from longform.viewer.app import create_app
from longform.viewer.bundle import write_bundle
from longform.viewer.labelling import LabelLinks, label_routes
from longform.viewer.security import TOKEN_HEADER
from longform.viewer.serve import local_hosts
from viewed_runs import HOSTILE, judge_call, rollout, write_run, write_study

HOST = "127.0.0.1:8000"
PAGES = (
    "/",
    "/run/a",
    "/run/a/rollouts",
    "/run/a/rollouts?step=2&outcome=win&sort=-reward",
    "/run/a/rollout/2/1",
    "/run/a/prompt?id=p0",
    "/overlay?run=a&run=b",
)


class Page(HTMLParser):
    """Tags, attributes and text of a page as a browser reads them."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def client_of(folder: Path, **settings: object) -> TestClient:
    app = create_app([folder], token="the token", hosts=[HOST], **settings)  # pyright: ignore[reportArgumentType]
    return TestClient(app, base_url=f"http://{HOST}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_run(tmp_path / "runs" / "a")
    write_run(tmp_path / "runs" / "b", steps=2)
    return tmp_path / "runs"


@pytest.mark.parametrize("address", PAGES)
def test_every_page_is_shown(folder: Path, address: str) -> None:
    answer = client_of(folder).get(address)
    assert answer.status_code == 200
    assert "longform" in Page(answer.text).text


@pytest.mark.parametrize("address", PAGES)
def test_hostile_texts_stay_text_on_every_page(tmp_path: Path, address: str) -> None:
    for name in "ab":
        write_run(tmp_path / name, text=HOSTILE)
        (tmp_path / name / "recipe.yaml").write_text(yaml.safe_dump({"policy": HOSTILE}), encoding="utf-8")
    source = client_of(tmp_path).get(address).text
    page = Page(source)
    assert page.tags.count("script") == 1, "our own"
    assert not {"img", "iframe", "object", "link"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert "\x1b" not in source and "\x07" not in source


def test_a_name_that_is_not_utf_8_and_a_recipe_that_cannot_be_read_hide_nothing(tmp_path: Path) -> None:
    named = tmp_path / "runs" / os.fsdecode(b"caf\xe9")
    write_run(named)
    (named / "recipe.yaml").write_bytes(b"\xff\x00")
    write_run(tmp_path / "runs" / "b")
    (tmp_path / "runs" / "b" / "recipe.yaml").mkdir()
    client = client_of(tmp_path / "runs")
    assert client.get("/").status_code == 200
    for name in ("caf\N{REPLACEMENT CHARACTER}", "b"):
        assert "The examiner's mean grade rose" in Page(client.get(f"/run/{quote(name)}").text).text
    write_bundle([tmp_path / "runs"], tmp_path / "bundle", with_texts=True)
    for path in (named, tmp_path / "runs" / "b"):
        with RunDirectory.read(path) as run:
            assert "The examiner's mean grade rose" in Page(write_report(run).read_text(encoding="utf-8")).text


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    name = "<img src=x onerror=alert(1)>'\"&"
    write_run(tmp_path / name)
    client = client_of(tmp_path)
    page = Page(client.get("/").text)
    assert name in page.text
    assert "img" not in page.tags
    address = next(value for key, value in page.attributes if key == "href" and value and value.startswith("/run/"))
    assert name in Page(client.get(address).text).text


def test_the_policy_names_script_and_style_by_hash_and_forbids_all_else(folder: Path) -> None:
    source = client_of(folder).get("/run/a").text
    script = re.search(r"<script>(.*)</script>", source, re.DOTALL)
    assert script is not None
    policy = content_policy(script[1], served=True)
    assert f'content="{policy}"' in source
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert " style=" not in source, "which the policy would ignore"


def test_a_rollout_shows_texts_reward_judge_and_group(folder: Path) -> None:
    page = Page(client_of(folder).get("/run/a/rollout/2/1").text)
    assert "The lantern of step 2." in page.text
    assert "and nobody came" in page.text
    assert "[[B]]" in page.text
    assert "I compare them." in page.text
    assert "100 + 10 tokens" in page.text
    group = page.text.partition("Others of its group")[2]
    assert "The river of step 2." in group, "row 0"
    marks = [value for name, value in page.attributes if name == "class"]
    assert "value" in marks, "the verdict that was read"
    assert any("copied" in str(it) for it in marks), "the passage that it took from the reference"


def test_a_rollout_without_a_verdict_shows_why_and_what_is_wrong_with_its_text(tmp_path: Path) -> None:
    path = write_run(tmp_path / "runs" / "a", steps=1, rows=1)
    sentence = "The old lighthouse keeper counted the ships that passed along the coast at night."
    stuffed = "River river river river river river river river river river river river river river river river."
    text = f"{sentence} {stuffed} {sentence}"
    changes = {"text": text, "reference": "", "outcome": None, "reward": None, "cause": "timeout", "calls": ()}
    with RunDirectory.open(path) as run:
        wrong = rollout(2, 0, **changes, finish_reason="length", consistent=False, think_words=4)
        run.database.record_step(2, seconds=1.0, metrics={}, rollouts=[wrong, rollout(2, 1, consistent=True)])
    client = client_of(tmp_path / "runs")
    shown = Page(client.get("/run/a/rollout/2/0").text).text
    for fact in ("none", "timeout", "cut off at max_tokens", "after a plan of 4", "another verdict"):
        assert fact in shown, fact
    assert "1 repeated sentence (" in shown and "stuffed words (" in shown
    assert "same verdict" in Page(client.get("/run/a/rollout/2/1").text).text


@pytest.mark.parametrize("address", ["/run/a/rollouts", "/run/a/prompt?id=p0", "/run/a/rollout/2/1"])
def test_numbers_of_a_listing_have_the_label_of_their_column_where_narrow_pages_hide_the_header(
    folder: Path, address: str
) -> None:
    table = re.search(r'<table[^>]*class="listing">(.*?)</table>', client_of(folder).get(address).text, re.DOTALL)
    assert table is not None
    header, row = (re.findall(r"<t([hd])([^>]*)>(.*?)</t", it) for it in table[1].split("<tr")[1:3])
    names = [name for _, _, name in header]
    numbers = {
        name: re.search(r'data-label="(\w+)"', cell[1])
        for name, cell in zip(names, row, strict=True)
        if "number" in cell[1]
    }
    assert {name: label and label[1] for name, label in numbers.items()} == {name: name for name in numbers}
    assert {"reward", "words"} <= numbers.keys()


def test_curves_of_several_runs_are_named_by_their_paths(tmp_path: Path) -> None:
    for name in "ab":
        write_run(tmp_path / "arms" / name)
    text = client_of(tmp_path).get("/overlay?run=arms~a&run=arms~b").text
    assert re.search(r'"label":"arms/b"', text.replace("&quot;", '"'))
    assert "arms~b</text>" not in text


def test_a_run_shows_its_result_first(folder: Path) -> None:
    text = Page(client_of(folder).get("/run/a").text).text
    assert "The examiner's mean grade rose: +4.00" in text
    assert text.index("examiner's mean grade") < text.index("Curves")
    assert "writing" in text[text.index("Time and cost by phase") :]
    timed = r"writing\s*6 s\s*75%\s*1.5 s\s*everything else\s*2 s\s*25%\s*0.5 s"
    assert re.search(timed + r"\s*0.0040\s*waiting for the judge\s*0.0120", text), (
        "four steps of 2 s, 16 calls for 0.001 each"
    )


def test_a_search_finds_words_once_they_are_indexed(folder: Path) -> None:
    client = client_of(folder)
    assert "not indexed yet" in client.get("/run/a/rollouts?q=lantern").text
    RolloutIndex(folder / "a").update()
    text = Page(client.get("/run/a/rollouts?q=lantern").text).text
    assert "4 found" in text


def test_the_list_is_indexed_while_the_viewer_runs(folder: Path) -> None:
    with client_of(folder) as client:
        deadline = time.monotonic() + 60
        while "4 found" not in client.get("/run/a/rollouts?q=lantern").text:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_neighbours_are_those_of_the_list_that_a_rollout_was_chosen_from(folder: Path) -> None:
    client = client_of(folder)
    listed = re.findall(r'href="(/run/a/rollout/[^"]+)"', client.get("/run/a/rollouts?outcome=win").text)
    first = client.get(listed[0].replace("&amp;", "&")).text
    later = re.search(r'rel="next" href="([^"]+)"', first)
    assert later is not None
    assert later[1] == listed[1]
    assert 'rel="prev"' not in first


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("step=x", "step: 'x' is not a whole number"),
        ("min_reward=nan", "reward from: 'nan' is not a number"),
        ("min_reward=high", "reward from: 'high' is not a number"),
        ("step=2&to=4&max_reward=0.2", "4 found"),
        ("sort=sideways", "order: 'sideways' is unknown"),
        ("outcome=draw", "outcome: 'draw' is none of"),
    ],
)
def test_a_bad_condition_is_named(folder: Path, query: str, problem: str) -> None:
    answer = client_of(folder).get(f"/run/a/rollouts?{query}")
    assert answer.status_code == 200
    assert problem in Page(answer.text).text


def test_causes_of_a_missing_verdict_are_offered_as_the_run_has_them(folder: Path) -> None:
    with RunDirectory.open(folder / "a") as run:
        metrics = {"no_verdict/share": 0.5, "no_verdict/refused": 1.0, "no_verdict/words_100": 1.0}
        run.database.record_step(
            9, seconds=1.0, metrics=metrics, rollouts=[rollout(9, 0, outcome=None, cause="refused")]
        )
    client = client_of(folder)
    source = client.get("/run/a/rollouts?cause=refused").text
    select = source[source.index('<select name="cause">') :].partition("</select>")[0]
    assert re.findall(r"<option[^>]*>([^<]*)<", select) == ["all rollouts", "any cause", "refused"]
    for query in ("cause=refused", "cause=any"):
        assert "1 found" in Page(client.get(f"/run/a/rollouts?{query}").text).text


@pytest.mark.parametrize(
    "address", ["/run/none", "/run/a/rollout/99/0", "/file/none", "/nothing", "/run/..%2F..%2Fetc", "/file/..%2Fpasswd"]
)
def test_what_does_not_exist_is_not_found(folder: Path, address: str) -> None:
    assert client_of(folder).get(address).status_code == 404


def test_a_damaged_run_is_listed_with_its_problem_and_hides_no_other(folder: Path) -> None:
    (folder / "broken").mkdir()
    (folder / "broken" / "run.sqlite").write_bytes(b"nonsense" * 1000)
    client = client_of(folder)
    text = Page(client.get("/").text).text
    assert "damaged" in text
    assert client.get("/run/a").status_code == 200
    assert client.get("/run/broken").status_code == 409
    assert client.get("/overlay?run=a&run=broken").status_code == 409


def test_a_run_that_begins_later_appears(folder: Path) -> None:
    client = client_of(folder)
    write_run(folder / "later")
    assert "/run/later" in client.get("/").text


def test_the_state_changes_with_each_step(folder: Path) -> None:
    client = client_of(folder)
    before = client.get("/run/b/state").json()
    write_run(folder / "b", first=3, steps=3)
    assert client.get("/run/b/state").json() != before


@pytest.mark.parametrize(("address", "content_of"), [("/run/b", "run_content"), ("/run/b/rollouts", "list_content")])
def test_a_step_recorded_while_a_page_is_made_is_not_missed(folder: Path, monkeypatch, address, content_of) -> None:
    content = getattr(app, content_of)

    def overtaken(*arguments, **options):
        found = content(*arguments, **options)
        write_run(folder / "b", first=3, steps=3)
        return found

    monkeypatch.setattr(app, content_of, overtaken)
    client = client_of(folder)
    (named,) = re.findall(r'data-state="(.*?)"', client.get(address).text)
    assert client.get("/run/b/state").json()["state"] != named


def test_a_list_from_an_index_that_is_behind_is_fetched_again_once_it_is_not(folder: Path) -> None:
    client, index = client_of(folder), RolloutIndex(folder / "b")
    index.update()
    write_run(folder / "b", first=3, steps=3)
    text = client.get("/run/b/rollouts?sort=latest").text
    (named,) = re.findall(r'data-state="(.*?)"', text)
    index.update()
    assert client.get("/run/b/state").json()["state"] != named


def test_files_of_results_show_the_texts_behind_each_row(tmp_path: Path) -> None:
    write_rows(tmp_path / "prompts.jsonl", [PromptRow(id="p", prompt="Write about rain.", length_range=(10, 20))])
    write_rows(tmp_path / "responses.jsonl", [Response(prompt_id="p", model=m, text=f"Rain by {m}.") for m in "xy"])
    write_rows(
        tmp_path / "grades.jsonl", [Grade(prompt_id="p", model="x", score=7, judge="critic", dimensions={"depth": 6})]
    )
    write_rows(tmp_path / "games.jsonl", [Game(prompt_id="p", model_a="x", model_b="y", winner="b", judge="critic")])
    ladder = Ladder(
        id="p",
        prompt="Write about rain.",
        references=[Reference(model="y", text="It rains.", score=3)],
        policy_score=2,
        potential=1,
    )
    write_rows(tmp_path / "ladders.jsonl", [ladder])
    pair = PairWithLabels(
        id="q",
        prompt="Why?",
        response_a="So.",
        response_b="Thus.",
        label="a",
        labels={"ann": "tie"},
        verdicts={"critic": {"ab": "b", "ba": None}},
    )
    write_rows(tmp_path / "pairs.jsonl", [pair])
    client = client_of(tmp_path)
    shown = {
        name: Page(client.get(f"/file/{name}.jsonl").text).text for name in ("grades", "games", "ladders", "pairs")
    }
    assert all(it in shown["grades"] for it in ("Rain by x.", "Write about rain.", "critic", "depth"))
    assert all(it in shown["games"] for it in ("Rain by x.", "Rain by y.", "winner"))
    assert all(it in shown["ladders"] for it in ("It rains.", "y, score 3"))
    assert all(it in shown["pairs"] for it in ("So.", "Thus.", "ab: b, ba: none"))
    assert all(it in shown["pairs"] for it in ("label of ann", "tie"))
    prompts = Page(client.get("/file/prompts.jsonl").text).text
    assert all(it in prompts for it in ("Write about rain.", "length_range", "[10, 20]"))
    found = Page(client.get("/file/responses.jsonl?q=by%20Y").text).text
    assert "Rain by y." in found
    assert "Rain by x." not in found


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1:9", ""])
def test_a_foreign_host_is_refused(folder: Path, host: str) -> None:
    assert client_of(folder).get("/", headers={"host": host}).status_code == 403


@pytest.mark.parametrize("origin", ["http://evil.example", "null", f"http://{HOST}.evil.example"])
def test_a_foreign_origin_is_refused(folder: Path, origin: str) -> None:
    assert client_of(folder).get("/", headers={"origin": origin}).status_code == 403


def test_what_writes_needs_the_token_of_this_start(folder: Path) -> None:
    client = client_of(folder)
    assert client.post("/run/a", headers={"origin": f"http://{HOST}"}).status_code == 403
    assert client.post("/run/a", headers={TOKEN_HEADER: "another"}).status_code == 403
    refused = client.post("/run/a", headers={TOKEN_HEADER: "the token"})
    assert refused.status_code == 405, "there is nothing to write"
    assert "GET" in refused.headers["allow"]


def test_on_the_port_of_http_a_host_without_a_port_is_this_machine() -> None:
    assert "127.0.0.1" in local_hosts(80)
    assert "127.0.0.1" not in local_hosts(8000)


def test_a_password_is_asked_for_where_others_can_reach_the_address(folder: Path) -> None:
    client = TestClient(create_app([folder], token="t", password="open sesame"))
    assert client.get("/").status_code == 401
    for word, status in (("wrong", 401), ("open sesame", 200)):
        encoded = base64.b64encode(f"longform:{word}".encode()).decode()
        assert client.get("/", headers={"authorization": f"Basic {encoded}"}).status_code == status
    assert client.get("/", headers={"authorization": "Basic !!"}).status_code == 401


def test_no_page_may_be_framed_or_kept(folder: Path) -> None:
    headers = client_of(folder).get("/").headers
    assert headers["x-frame-options"] == "DENY"
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"


def test_a_bundle_opens_from_files_and_holds_texts_only_if_asked(folder: Path, tmp_path: Path) -> None:
    bare = write_bundle([folder], tmp_path / "bare")
    full = write_bundle([folder], tmp_path / "full", with_texts=True)
    assert bare.files < full.files
    assert full.size == sum(it.stat().st_size for it in (tmp_path / "full").iterdir())
    texts = {it.name: it.read_text(encoding="utf-8") for it in (tmp_path / "bare").iterdir()}
    assert not [name for name, text in texts.items() if "lantern" in text or "Text 0 after" in text or "[[B]]" in text]
    pages = {it.name: it.read_text(encoding="utf-8") for it in (tmp_path / "full").iterdir()}
    assert any("lantern" in text and "[[B]]" in text for text in pages.values())
    for name, text in pages.items():
        addresses = [value for key, value in Page(text).attributes if key in ("href", "src", "action") and value]
        missing = [it for it in addresses if it.partition("#")[0] not in pages]
        assert not missing, name


@pytest.fixture
def labelling(tmp_path: Path) -> Iterator[tuple[TestClient, LabelStore]]:
    pairs = [
        Pair(id=f"q{number}", prompt=HOSTILE, response_a=f"{HOSTILE} one", response_b="Other.", model_a="secret model")  # pyright: ignore[reportCallIssue]
        for number in range(3)
    ]
    write_rows(tmp_path / "pairs.jsonl", pairs)
    store = open_labels(PairSource(path=tmp_path / "pairs.jsonl"), people=["ann", "bob & co"], overlap=1.0)
    routes = label_routes(store, token="the token", links=LabelLinks())
    app = create_app([], token="the token", hosts=[HOST], more_routes=routes)
    with store:
        yield TestClient(app, base_url=f"http://{HOST}"), store


def key_of(client: TestClient, person: str) -> str:
    """What the page of a person calls the pair that it shows."""
    return dict(Page(client.get(f"/label/{quote(person)}").text).attributes)["data-pair"] or ""


def test_labelling_is_blind_and_hostile_texts_stay_text(labelling) -> None:
    client, _ = labelling
    source = client.get("/label/ann").text
    page = Page(source)
    assert "secret model" not in source
    assert "Text 1" in page.text
    assert page.tags.count("script") == 1
    assert "img" not in page.tags


def test_a_page_does_not_tell_the_id_of_its_pair(tmp_path: Path) -> None:
    row = {"id": "p/model-x/model-y/0", "prompt": "Why?", "response_a": "So.", "response_b": "Thus."}
    write_rows(tmp_path / "g.jsonl", [Pair.model_validate(row)])
    with open_labels(PairSource(path=tmp_path / "g.jsonl")) as store:
        routes = label_routes(store, token="the token", links=LabelLinks())
        app = create_app([], token="the token", hosts=[HOST], more_routes=routes)
        client = TestClient(app, base_url=f"http://{HOST}")
        assert "model-x" not in client.get("/label/me").text
        headers = {TOKEN_HEADER: "the token"}
        body = {"person": "me", "pair_id": key_of(client, "me"), "choice": "first", "seconds": 1}
        assert client.post("/labels", json=body, headers=headers).status_code == 200
        assert store.count("me") == (1, 1)
        assert "model-x" not in client.post("/labels/undo", json={"person": "me"}, headers=headers).text


def test_pages_of_labelling_lead_back_to_its_people_and_not_to_a_list_of_runs(labelling) -> None:
    client, _ = labelling
    for place in ("/label", "/label/ann", "/label/eve"):
        attributes = Page(client.get(place).text).attributes
        assert ("href", "/label") in attributes, place
        assert ("href", "/") not in attributes, place


def test_a_choice_is_saved_and_the_next_pair_is_shown(labelling) -> None:
    client, store = labelling
    headers = {TOKEN_HEADER: "the token"}
    first = store.next_pair("ann").id
    body = {"person": "ann", "pair_id": key_of(client, "ann"), "choice": "first", "seconds": 1.5}
    assert client.post("/labels", json=body).status_code == 403, "without the token"
    assert store.count("ann")[0] == 0
    assert client.post("/labels", json=body, headers=headers).status_code == 200
    assert store.count("ann")[0] == 1
    assert store.next_pair("ann").id != first
    assert client.post("/labels/undo", json={"person": "ann"}, headers=headers).json() == {"done": True}
    assert store.next_pair("ann").id == first


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"person": "ann"}',
        b'{"person": "eve", "pair_id": "q0", "choice": "first", "seconds": 1}',
        b"\xff",
        b"[" * 50_000,
        b'{"reasons": "' + b"x" * 300_000 + b'"}',
        b'{"person": "ann", "pair_id": "q0", "choice": "first", "seconds": 1, "reasons": "\\ud800"}',
        b'{"person": "ann", "pair_id": "q0", "choice": "first", "seconds": 1}',  # pages do not know ids
    ],
)
def test_a_bad_choice_is_refused_with_its_reason(labelling, body: bytes) -> None:
    client, store = labelling
    answer = client.post("/labels", content=body, headers={TOKEN_HEADER: "the token"})
    assert answer.status_code == 422
    assert answer.json()["problem"]
    assert store.count("ann")[0] == 0


def test_each_person_has_a_page_and_at_the_end_their_agreement(labelling) -> None:
    client, store = labelling
    assert "bob & co" in Page(client.get("/label").text).text
    for person in ("ann", "bob & co"):
        while store.next_pair(person):
            body = {"person": person, "pair_id": key_of(client, person), "choice": "first", "seconds": 1}
            client.post("/labels", json=body, headers={TOKEN_HEADER: "the token"})
    text = Page(client.get("/label/bob%20%26%20co").text).text
    assert "All 3 pairs" in text
    assert "Agreement between people" in text
    assert client.get("/label/eve").status_code == 404


def test_a_grade_shows_what_the_judge_answered(tmp_path: Path) -> None:
    grade = Grade(prompt_id="p", model="x", score=7, judge="critic", calls=("a-hash", "lost"))
    write_rows(tmp_path / "grades.jsonl", [grade])
    with SqliteCallLog(tmp_path / "grades.jsonl.calls.sqlite") as log:
        log.record(judge_call("a-hash", 'It is deep. {"scores": {"depth": 7}}'))
    page = Page(client_of(tmp_path).get("/file/grades.jsonl").text)
    assert "It is deep." in page.text
    assert ("class", "value") in page.attributes


def test_a_pair_shows_its_authors_reasons_and_which_question_each_answer_is_to(tmp_path: Path) -> None:
    asked = [
        {"judge": "critic", "order": "ab", "verdict": "a", "calls": ["one"]},
        {"judge": "critic", "order": "ba", "sample": 1, "line": "Choose me.", "calls": ["two"]},
    ]
    pair = {"id": "q", "prompt": "Why?", "response_a": "So.", "response_b": "Thus.", "model_b": "policy"}
    labels = {"labels": {"ann": "a"}, "label_notes": {"ann": "pace; it moves"}, "asked": asked}
    write_rows(tmp_path / "pairs.jsonl", [AuditedPair.model_validate(pair | labels)])
    with SqliteCallLog(tmp_path / "pairs.jsonl.calls.sqlite") as log:
        for name in ("one", "two"):
            log.record(judge_call(name, f"Answer {name}: [[A]]"))
    text = " ".join(Page(client_of(tmp_path).get("/file/pairs.jsonl").text).text.split())
    for said in (
        "response b, policy",
        "reasons of ann",
        "pace; it moves",
        "· response a first · 100 + 10 tokens",
        "· response b first, repeat 1, with the line 'Choose me.' in the worse text · 100",
    ):
        assert said in text, said


def test_a_result_of_a_benchmark_is_shown_as_its_tables(tmp_path: Path) -> None:
    rows = [{"model": HOSTILE, "score": {"estimate": 7.5, "low": 7.0, "high": 8.0}}]
    result = {"tables": [{"title": "Scores", "rows": rows, "notes": ["set: x"]}]}
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "result.json").write_text(json.dumps(result))
    (tmp_path / "other.json").write_text("{}")
    client = client_of(tmp_path)
    page = Page(client.get("/file/bench~result.json").text)
    assert "7.500 (7.000 to 8.000)" in page.text
    assert "img" not in page.tags
    assert "other.json" not in client.get("/").text


def test_the_numbers_of_a_benchmark_lead_to_texts_and_to_what_the_judge_wrote(tmp_path: Path) -> None:
    answers = Answers({("p", "x", "0", "depth"): 7}, {("p", "x", "0", "pace"): "no_answer"})
    answers.calls.update({("p", "x", "0", "depth"): ("a-hash",), ("p", "x", "0", "pace"): ("b-hash",)})
    write_rows(tmp_path / "bench" / "answers.jsonl", answer_rows(answers))
    (tmp_path / "bench" / "result.json").write_text(json.dumps({"tables": [{"title": "T", "rows": [{"model": "x"}]}]}))
    write_rows(tmp_path / "bench" / "responses.jsonl", [Response(prompt_id="p", model="x", text="Rain by x.")])
    with SqliteCallLog(tmp_path / "bench" / "bench.calls.sqlite") as log:
        log.record(judge_call("a-hash", "It is deep: 7."))
        log.record(judge_call("b-hash", "I cannot say."))
    client = client_of(tmp_path)
    behind = [value for name, value in Page(client.get("/file/bench~result.json").text).attributes if name == "href"]
    assert "/file/bench~answers.jsonl" in behind
    text = Page(client.get("/file/bench~answers.jsonl").text).text
    for said in ("p: x: 0: depth", "It is deep: 7.", "I cannot say.", "no_answer", "Rain by x."):
        assert said in text, said


def test_texts_of_another_folder_are_shown_with_the_name_of_their_file(tmp_path: Path) -> None:
    write_rows(tmp_path / "a" / "games.jsonl", [Game(prompt_id="p", model_a="x", model_b="y", winner="b")])
    write_rows(tmp_path / "b" / "texts.jsonl", [Response(prompt_id="p", model="x", text="Rain by x.")])
    write_rows(tmp_path / "b" / "prompts.jsonl", [PromptRow(id="p", prompt="Write about rain.")])
    text = Page(client_of(tmp_path).get("/file/a~games.jsonl").text).text
    assert "winnery" in text, "by the model's name"
    for said in ("x, of b/texts.jsonl", "Rain by x.", "Write about rain.", "(its text is in no file here"):
        assert said in text, said


def test_a_study_is_shown_with_its_tables_curves_and_runs(folder: Path) -> None:
    write_study(folder.parent)
    client = client_of(folder.parent)
    assert "/study/curriculum.findings.json" in client.get("/").text
    source = client.get("/study/curriculum.findings.json").text
    page = Page(source)
    assert "8.06 (7.83 to 8.29)" in page.text
    assert source.count('data-chart="') == 1
    linked = [value for name, value in page.attributes if name == "href" and value and value.startswith("/run/")]
    assert linked == ["/run/runs~a"], "the one that has begun"
    assert client.get(linked[0]).status_code == 200


def test_names_of_a_study_stay_text(folder: Path) -> None:
    name = "<img src=x onerror=alert(1)>"
    write_study(folder, name=name.replace("/", ""), arm=name)
    client = client_of(folder)
    home = Page(client.get("/").text)
    address = next(it for key, it in home.attributes if key == "href" and it and it.startswith("/study/"))
    answer = client.get(address)
    assert answer.status_code == 200
    assert "img" not in Page(answer.text).tags + home.tags
    live = next(it for key, it in Page(answer.text).attributes if key == "data-live")
    assert client.get(str(live)).json()["state"]


def test_a_damaged_study_is_named_and_one_that_changes_has_another_state(folder: Path) -> None:
    path = write_study(folder)
    client = client_of(folder)
    before = client.get(f"/study/{path.name}/state").json()
    path.write_text("{")
    assert client.get(f"/study/{path.name}/state").json() != before
    assert client.get(f"/study/{path.name}").status_code == 409
    assert "not the findings of a study" in client.get(f"/study/{path.name}").text
    assert client.get("/study/other.findings.json").status_code == 404


def test_a_bundle_has_the_studies_without_texts_too(folder: Path, tmp_path: Path) -> None:
    write_study(folder, run="a")
    write_bundle([folder], tmp_path / "bundle")
    page = (tmp_path / "bundle" / "study-curriculum.findings.json.html").read_text()
    assert "8.06" in page
    assert 'href="run-a.html"' in page
    assert "study-curriculum" in (tmp_path / "bundle" / "index.html").read_text()


def test_an_index_that_is_deleted_while_the_viewer_runs_is_built_again(folder: Path) -> None:
    def found(client: TestClient) -> bool:
        return "4 found" in client.get("/run/a/rollouts?q=lantern").text

    with client_of(folder) as client:
        deadline = time.monotonic() + 60
        for _ in range(2):
            while not found(client):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            for path in (folder / "a").glob("index.sqlite*"):
                path.unlink()
            assert client.get("/run/a/rollouts").status_code == 200


def test_an_index_that_is_deleted_while_it_is_built_is_built_again(folder: Path, monkeypatch) -> None:
    update, updated = RolloutIndex.update, []

    def update_and_delete(index: RolloutIndex, **settings: Callable[[], bool]) -> int:
        count = update(index, **settings)
        if index.path.parent.name == "a":
            updated.append(count)
            if len(updated) <= 2:
                index.path.unlink()
        return count

    monkeypatch.setattr(RolloutIndex, "update", update_and_delete)
    monkeypatch.setattr(app, "SECONDS_BETWEEN_UPDATES", 0.01)
    with client_of(folder):
        deadline = time.monotonic() + 20
        while len(updated) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert updated[:3] == [16, 16, 16]


def test_a_damaged_index_hides_no_rollout(folder: Path) -> None:
    RolloutIndex(folder / "a").update()
    index = folder / "a" / "index.sqlite"
    whole = index.read_bytes()
    index.write_bytes(whole[:4096] + b"x" * (len(whole) - 4096))
    assert "16 found" in client_of(folder).get("/run/a/rollouts").text


@pytest.mark.parametrize("text", ["A sentence that returns. " * 20_000, "word " * 60_000])
def test_a_very_long_response_is_shown_without_marks(tmp_path: Path, text: str) -> None:
    write_run(tmp_path / "long", steps=1, rows=1, text=text)
    answer = client_of(tmp_path).get("/run/long/rollout/1/0")
    assert answer.status_code == 200
    assert "the texts are too long" in answer.text


def test_a_number_that_no_database_holds_is_not_found(folder: Path) -> None:
    assert client_of(folder).get("/run/a/rollout/99999999999999999999999/0").status_code == 404


def test_an_unknown_prompt_is_not_found(folder: Path) -> None:
    assert client_of(folder).get("/run/a/prompt?id=nobody").status_code == 404


def test_metrics_that_are_not_finite_leave_a_gap(folder: Path) -> None:
    with RunDirectory.open(folder / "a") as run:
        run.database.record_step(5, seconds=1.0, metrics={"reward/mean": float("inf")})
    page = Page(client_of(folder).get("/run/a").text)
    charts = [json.loads(value) for name, value in page.attributes if name == "data-chart" and value]
    assert charts
    assert "Infinity" not in json.dumps(charts)


@pytest.mark.parametrize(
    "row",
    [
        {"id": "p", "prompt": "x", "references": 5},
        {"prompt_id": "p", "model": "x", "score": 7, "sample": [1], "calls": 5},
        {"prompt_id": 3, "model": None, "text": {"a": 1}, "sample": "x"},
        {"id": "p", "prompt": [5], "response_a": 1, "response_b": None, "verdicts": 3, "labels": [1], "asked": [7]},
    ],
)
def test_a_row_of_unexpected_types_is_shown_as_it_is(tmp_path: Path, row: dict[str, object]) -> None:
    (tmp_path / "odd.jsonl").write_text(json.dumps(row) + "\n")
    assert client_of(tmp_path).get("/file/odd.jsonl").status_code == 200


@pytest.mark.parametrize("name", ["empty", "text.txt"])
def test_nothing_to_show_is_one_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "empty":
        path.mkdir()
    else:
        path.write_text("Just words.")
    with pytest.raises(BadInputError, match="holds neither runs"):
        write_bundle([path], tmp_path / "out")


def test_a_bundle_names_no_folder_of_this_machine(tmp_path: Path) -> None:
    write_run(tmp_path / "runs" / "a")
    recipe = {"policy": "/private/base", "models": "/private/models.yaml", "run": {"folder": "/private/runs"}}
    (tmp_path / "runs" / "a" / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    (tmp_path / "runs" / "damaged").mkdir()
    (tmp_path / "runs" / "damaged" / "run.sqlite").write_text("no database")
    write_run(tmp_path / "runs" / ("写作" * 40), steps=1)  # a name that is thrice as long in an address
    write_bundle([tmp_path / "runs"], tmp_path / "out", with_texts=True)
    assert str(tmp_path) not in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert not [it.name for it in (tmp_path / "out").iterdir() if "private" in it.read_text(encoding="utf-8")]
