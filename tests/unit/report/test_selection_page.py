"""The page of a selection: the numbers add up, the ladders are the right ones, and whatever a model wrote stays text."""

import re
from html.parser import HTMLParser

import pytest

from longform.records.errors import BadInputError
from longform.records.files import write_rows
from longform.records.schemas import Grade, Prompt, Response
from longform.report.selection_page import (
    FIRST_LADDERS,
    LAST_LADDERS,
    CompetitorRow,
    best_competitors,
    write_selection_page,
)
from longform.selection.select import select
from longform.selection.settings import Floor, SelectionSettings

HOSTILE = "<script>alert('x')</script></table></section><img src=x onerror=alert(1)> {{ 7 * 7 }} \x1b[31mred\x07"


class _Page(HTMLParser):
    """Tags, attributes, text, and the cells of every table, as a browser would read them."""

    def __init__(self, source):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.open, self.text, self.tables = [], [], [], "", []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        if tag != "meta":
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if self.open and self.open[-1] in ("td", "th"):
            self.tables[-1][-1][-1] += data


@pytest.fixture
def page(tmp_path):
    """`page(scores, ...)`: the page of a selection from {prompt id: {model: score}}."""

    def page(scores, *, text="A story.", meta=None, **rule):
        write_rows(
            tmp_path / "p.jsonl",
            [Prompt(id=id_, prompt=f"{text} {id_}", meta=(meta or {}).get(id_, {})) for id_ in scores],
        )
        rows = [(id_, model, score) for id_, models in scores.items() for model, score in models.items()]
        write_rows(tmp_path / "r.jsonl", [Response(prompt_id=i, model=m, text=f"{text} by {m}") for i, m, _ in rows])
        write_rows(tmp_path / "g.jsonl", [Grade(prompt_id=i, model=m, score=s) for i, m, s in rows])
        settings = SelectionSettings("me", **rule)
        selection = select(
            prompts=tmp_path / "p.jsonl",
            responses=[tmp_path / "r.jsonl"],
            grades=[tmp_path / "g.jsonl"],
            settings=settings,
        )
        write_selection_page(tmp_path / "page.html", selection, settings)
        return selection, _Page((tmp_path / "page.html").read_text(encoding="utf-8"))

    return page


TWENTY = {f"p{i:02d}": {"me": 2.0, "a": i / 2, "b": 6.0} for i in range(20)}


def test_the_table_says_what_became_of_every_prompt(page):
    _, shown = page({**TWENTY, "lonely": {"me": 1.0}}, top_k=5, floor=Floor(6.5))
    header, row = shown.tables[0]
    cells = dict(zip(header[1:], row[1:], strict=True))
    assert cells == {
        "prompts": "21",
        "chosen": "5",
        "no grade of a competitor": "1",
        "fell below the floor": "13",
        "beyond top-k": "2",
        "floor": "6.5",
        "judges": "unnamed",
    }


def test_groups_have_a_row_and_a_picture_each_and_a_sum(page):
    meta = {id_: {"kind": "odd" if i % 2 else "even"} for i, id_ in enumerate(TWENTY)}
    _, shown = page(TWENTY, meta=meta, top_k=3, group_by="meta.kind", floor=Floor(10, is_percentile=True))
    header, *rows = shown.tables[0]
    assert header[0] == "meta.kind"
    assert [row[:3] for row in rows] == [["even", "10", "3"], ["odd", "10", "3"], ["all", "20", "6"]]
    assert shown.tags.count("svg") == 3
    assert "Learning potential against difficulty: odd" in shown.text


def test_the_first_and_the_last_ladders_are_shown_best_text_first(page):
    selection, shown = page(TWENTY)
    ids = [ladder.id for ladder in selection.ladders]
    found = re.findall(r"(\d+) · (p\d\d) · potential", shown.text)
    expected = list(enumerate(ids, 1))
    assert [(int(place), id_) for place, id_ in found] == expected[:FIRST_LADDERS] + expected[-LAST_LADDERS:]
    assert [row[:2] for row in shown.tables[2]] == [["9.5", "a"], ["6", "b"], ["2", "me"]]


@pytest.mark.parametrize("count", [1, FIRST_LADDERS, FIRST_LADDERS + 1])
def test_no_ladder_is_shown_twice(page, count):
    _, shown = page(dict(list(TWENTY.items())[:count]))
    assert len(re.findall(r"· potential", shown.text)) == count
    assert ("Last ladders" in shown.text) == (count > FIRST_LADDERS)


def test_best_competitors_are_counted_over_all_prompts_with_scores(page):
    selection, shown = page(
        {"p": {"me": 1.0, "a": 3.0}, "q": {"me": 1.0, "a": 2.0, "b": 5.0}, "r": {"me": 2, "a": 5}}, top_k=1
    )
    assert best_competitors(selection) == [CompetitorRow("a", 2, 0, 2.5), CompetitorRow("b", 1, 1, 4.0)]
    assert shown.tables[1][1:] == [["a", "2", "0", "2.5"], ["b", "1", "1", "4"]]


def test_hostile_text_stays_text(page, tmp_path):
    scores = {HOSTILE: {"me": 1.0, HOSTILE: 5.0}}
    _, shown = page(scores, text=HOSTILE, meta={HOSTILE: {"kind": HOSTILE}}, group_by="meta.kind")
    assert not {"script", "img", "iframe", "object", "link", "a"} & set(shown.tags)
    assert not [name for name in shown.attributes if name.startswith("on")]
    assert shown.open == [], "every element is closed by its own tag"
    for said in ("<script>alert('x')</script>", "onerror=alert(1)", "{{ 7 * 7 }}"):
        assert shown.text.count(said) >= 4, "in the prompt, the id, the model's name and its text"
    assert "\x1b" not in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_nothing_is_loaded_from_elsewhere_and_scripts_are_forbidden(page, tmp_path):
    page(TWENTY)
    source = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "default-src 'none'" in source
    assert not re.search(r"""(src|href)\s*=""", source)


def test_the_order_of_the_files_rows_does_not_matter(page, tmp_path):
    sources = []
    for scores in (TWENTY, dict(reversed(TWENTY.items()))):
        page(scores, top_k=7)
        sources.append((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert sources[0] == sources[1]


def test_a_page_that_cannot_be_written_is_named(page, tmp_path):
    selection, _ = page(TWENTY)
    with pytest.raises(BadInputError, match=r"nowhere/page\.html: cannot be written"):
        write_selection_page(tmp_path / "nowhere" / "page.html", selection, SelectionSettings("me"))
