"""The HTML report: whatever a model wrote stays text."""

import re
from html.parser import HTMLParser

import pytest
import yaml

from longform.records.calls import CallRecord, SqliteCallLog
from longform.records.database import Promotion, ValidationText
from longform.records.errors import BadInputError
from longform.records.run_directory import RunDirectory
from longform.report.page import MAX_TEXTS, write_report

HOSTILE = (
    "<script>alert('x')</script></div></section><img src=x onerror=alert(1)> & &amp; \"quoted\" {{ 7 * 7 }} {% raw %} "
    "\u202egnp.exe\u202c \u2066left\u2069 \x1b[31mred\x07 ]]> <!-- -->"
)


class _Page(HTMLParser):
    """Tags, attributes and the text of the elements of one class, as a browser would read them."""

    def __init__(self, source):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.open, self.texts = [], [], [], []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        if tag not in ("meta", "link", "img", "br"):
            self.open.append((tag, dict(attrs).get("class")))
            if self.open[-1] == ("div", "text"):  # of a plan or of an answer
                self.texts.append("")

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        if ("div", "text") in self.open:
            self.texts[-1] += data


@pytest.fixture
def run(tmp_path):
    with RunDirectory.open(tmp_path / "a run") as run:
        yield run


def _record(run, *, steps=3, text="A story.", prompt="Write.", prompts=1):
    for step in range(steps):
        texts = [ValidationText(step, f"v{i}", prompt, f"{text} after {step}", 5.0 + step) for i in range(prompts)]
        metrics = {"validation/no_grade": 0.0, "validation/grade": 5.0 + step, "reward/mean": step / 10}
        run.database.record_step(
            step, seconds=2.0, metrics=metrics, validations=texts, promotions=[Promotion(step, "p", 1)]
        )


def _page(run):
    source = write_report(run).read_text(encoding="utf-8")
    return source, _Page(source)


def test_hostile_text_stays_text(run):
    _record(run, text=HOSTILE, prompt=HOSTILE)
    run.recipe_path.write_text(f"policy: '{HOSTILE}'", encoding="utf-8")
    source, page = _page(run)
    assert not {"script", "img", "iframe", "object", "link"} & set(page.tags)
    assert not [name for name in page.attributes if name.startswith("on")]
    assert page.open == [], "every element is closed by its own tag"
    assert [text.split(" after ")[1] for text in page.texts] == ["0", "2"]
    for said in ("<script>alert('x')</script>", "</div></section>", "onerror=alert(1)", "{{ 7 * 7 }}", "& &amp;"):
        assert all(said in text for text in page.texts), said
    assert "&lt;script&gt;" in source


def test_no_control_character_reaches_the_page(run):
    _record(run, text=HOSTILE, prompt=HOSTILE)
    source, _ = _page(run)
    assert not re.findall(r"[\x00-\x08\x0b-\x1f\x7f]", source)


def test_a_text_cannot_turn_the_direction_of_what_stands_around_it(run):
    _record(run, text=HOSTILE)
    source, _ = _page(run)
    rules = re.findall(r"\.text, \.request[^{]*{[^}]*unicode-bidi: (isolate|plaintext)", source)
    assert rules, "each text is a paragraph of its own for the bidirectional algorithm"


def test_a_page_forbids_scripts_and_asks_for_nothing_outside(run):
    _record(run)
    source, page = _page(run)
    assert "default-src 'none'" in source
    assert not {"src", "href"} & set(page.attributes)
    assert not re.findall(r"url\(|@import", source)


def test_a_run_without_steps_has_a_page(run):
    source, page = _page(run)
    assert "No steps recorded yet." in source
    assert "svg" not in page.tags
    assert page.open == []


def test_a_page_shows_the_first_and_the_last_validation(run):
    _record(run, steps=4, prompts=2)
    source, page = _page(run)
    assert [text.split(" after ")[1] for text in page.texts] == ["0", "3", "0", "3"]
    assert "grade 5.00" in source
    assert "grade 8.00" in source


def test_a_text_without_a_grade_says_so(run):
    for step in range(2):
        texts = [ValidationText(step, "v", "Write.", "A story.", None)]
        run.database.record_step(step, seconds=1.0, metrics={"validation/no_grade": 1.0}, validations=texts)
    source, _ = _page(run)
    assert "grade none" in source


def _write_recipe(run, *, source="prompts", think="on"):
    recipe = {
        "method": "grpo",
        "policy": "nowhere",
        "data": {source: "rows.jsonl", "group": 2},
        "rewards": [{"kind": "length"}, {"kind": "format"}],
        "generation": {"think": think},
        "run": {"name": "run", "steps": 9},
    }
    run.recipe_path.write_text(yaml.safe_dump(recipe), encoding="utf-8")


def _record_texts(run, *texts):
    for step, text in enumerate(texts):
        metrics = {"validation/no_grade": 0.0}
        written = [ValidationText(step, "v", "Write.", text, 5.0)]
        run.database.record_step(step, seconds=1.0, metrics=metrics, validations=written)


def test_plan_and_answer_stand_apart_and_a_broken_structure_is_shown_whole(run):
    _write_recipe(run)
    _record_texts(run, "<think>An idea</think> no answer", "<think>A long plan</think><answer>A story of four</answer>")
    source, page = _page(run)
    assert page.texts == ["<think>An idea</think> no answer", "A long plan", "A story of four"]
    headings = [" ".join(it.split()) for it in re.findall(r"<h3>(.*?)</h3>", source, re.DOTALL)]
    assert headings == [
        "before · 0 words · structure broken · grade 5.00",
        "after · 4 words after a plan of 3 · grade 5.00",
    ]


def test_a_plan_that_has_withered_is_shown(run):
    _write_recipe(run)
    _record_texts(run, "<think></think><answer>One two</answer>", "<think>x</think><answer>One two</answer>")
    source, _ = _page(run)
    assert re.findall(r"plan of (\d)", source) == ["0", "1"]


def test_hostile_plans_and_broken_texts_stay_text(run):
    _write_recipe(run)
    _record_texts(run, HOSTILE, f"<think>{HOSTILE}</think><answer>{HOSTILE}</answer>")
    source, page = _page(run)
    assert not {"script", "img", "iframe", "object", "link", "think", "answer"} & set(page.tags)
    assert page.open == []
    assert len(page.texts) == 3
    assert all("onerror=alert(1)" in text for text in page.texts)
    assert not re.findall(r"[\x00-\x08\x0b-\x1f\x7f]", source)


def test_a_run_without_tags_shows_answer_tags_as_text_and_keeps_thoughts_out_of_it(run):
    _write_recipe(run, think="off")
    text = "<think>An idea</think><answer>A story</answer>"
    _record_texts(run, text, text)
    _, page = _page(run)
    assert page.texts == ["<answer>A story</answer>"] * 2


def test_a_run_without_ladders_shows_no_rungs(run):
    metrics = {"curriculum/mean_rung": 0.0, "reward/mean": 0.5, "reward/length/mean": 0.5, "reward/format/mean": 0.5}
    run.database.record_step(1, seconds=1.0, metrics=metrics)
    for source_of_prompts, climbs in (("ladders", True), ("prompts", False)):
        _write_recipe(run, source=source_of_prompts)
        source, _ = _page(run)
        assert ("Mean rung" in source) == ("<dt>promotions</dt>" in source) == climbs
        assert "Each reward" in source


def test_only_so_many_texts_stand_on_the_page(run):
    _record(run, prompts=MAX_TEXTS + 5)
    source, page = _page(run)
    assert len(page.texts) == 2 * MAX_TEXTS
    assert "5 more pairs" in source


def test_facts_come_from_the_records(run):
    _record(run)
    with SqliteCallLog(run.database_path) as log:
        for cost in (0.25, 0.5, None):
            log.record(CallRecord("h", 1, "judge", "m", "ok", 1, 1, cost, 0.1, "t", "stop"))
    source, _ = _page(run)
    facts = dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", source))
    assert facts == {
        "steps": "2",
        "time in steps": "6 s",
        "cost": "0.7500 (3 calls, 1 of unknown cost)",
        "promotions": "3",
    }


def test_a_report_is_written_over_the_old_one_and_leaves_nothing_else(run):
    write_report(run)
    before = {path.name for path in run.path.iterdir()}
    _record(run)
    write_report(run)
    assert {path.name for path in run.path.iterdir()} == before
    assert "A story." in run.report_path.read_text(encoding="utf-8")


def test_a_report_that_cannot_be_written_is_one_line(run):
    run.report_path.mkdir()
    with pytest.raises(BadInputError, match=r"report\.html: cannot be written"):
        write_report(run)
    assert not list(run.path.glob(".report*"))


def test_a_ruined_run_is_told_at_the_top(run):
    for step in range(1, 12):
        metrics = {"reward/mean": 0.5 + step / 30, "reward/count": 64.0, "text/count": 64.0, "text/cut_off": 0.9}
        metrics |= {"validation/grade": 8.0 - step / 2, "validation/no_grade": 0.0}
        texts = [ValidationText(step, f"v{i}", "Write.", "A story.", 8.0 - step / 2) for i in range(4)]
        run.database.record_step(step, seconds=1.0, metrics=metrics, validations=texts)
    source, _ = _page(run)
    top = source[source.index("<main") : source.index("<h2>Curves")]
    assert 'class="verdict bad"' in top
    assert "mean grade fell: -5.00" in top
    assert "cut-off" in top
    for said in re.findall(r"<dd>(.*?)</dd>", top.partition('<dl class="finding">')[2], re.DOTALL):
        assert re.fullmatch(r".*[^.]\. [A-Z].*\.", said, re.DOTALL), "sentences: evidence, advice"


def test_a_gain_within_chance_is_not_called_a_gain(run):
    for step in (0, 1):
        texts = [ValidationText(step, f"v{i}", "Write.", "Text.", 5.0 + step * (1 if i % 2 else -1)) for i in range(6)]
        run.database.record_step(step, seconds=1.0, metrics={"validation/no_grade": 0.0}, validations=texts)
    source, _ = _page(run)
    assert "did not change beyond chance: +0.00" in source
    assert 'class="verdict open"' in source


def test_curves_that_stay_the_same_are_a_line_of_text(run):
    for step in (1, 2, 3):
        outcomes = {"outcome/win": 0.0, "outcome/tie": 0.25, "outcome/loss": 0.75}
        metrics = {"reward/mean": step / 3, "no_verdict/share": 0.0} | outcomes
        run.database.record_step(step, seconds=1.0, metrics=metrics)
    source, page = _page(run)
    assert page.tags.count("svg") == 1
    constant = "outcomes (win 0, tie 0.25, loss 0.75), rollouts without a verdict 0"
    assert f"The same in every step: {constant}." in source
