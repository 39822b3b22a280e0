"""Every page in a real browser, narrow and wide, light and dark: quiet, whole, accessible, and deaf to hostile texts."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qsl, quote

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Response, expect
from served import serving

from longform.evaluation.audit.pairs import AuditedPair
from longform.evaluation.audit.people import measure_people
from longform.evaluation.estimates import Bootstrap
from longform.evaluation.labelling.labels import Answer
from longform.evaluation.labelling.run import PairSource, open_labels
from longform.records.errors import BadInputError
from longform.records.files import write_rows
from longform.records.rollout_search import RolloutIndex, find_rollouts
from longform.records.run_directory import RunDirectory
from longform.report.page import write_report
from longform.viewer.bundle import write_bundle
from longform.viewer.rollout_pages import read_filter
from viewed_runs import HOSTILE, rollout, write_run

REPRESENTATIVE = pytest.mark.representative
HOSTILE_RUN = quote("hostile <img src=x onerror=alert(1)>", safe="")
ADDRESSES = (
    "/",
    pytest.param("/run/calm", marks=REPRESENTATIVE),
    "/run/calm/rollouts",
    "/run/calm/rollouts?step=2&q=lantern",
    "/run/calm/rollout/2/1?step=2&at=1",
    "/run/calm/prompt?id=p0",
    f"/overlay?run=calm&run={HOSTILE_RUN}",
    f"/run/{HOSTILE_RUN}",
    f"/run/{HOSTILE_RUN}/rollouts",
    pytest.param(f"/run/{HOSTILE_RUN}/rollout/1/0", marks=REPRESENTATIVE),
    f"/run/{HOSTILE_RUN}/prompt?id=p0",
    "/study/curriculum.findings.json",
    *(f"/file/{name}.jsonl" for name in ("prompts", "responses", "grades", "games", "ladders", "pairs")),
    "/nothing",
)
WIDTHS = (420, 1400)
SCHEMES = ("light", "dark")


@contextmanager
def opened(browser: Browser, address: str, *, width: int = 1400, scheme: str = "light") -> Iterator[Page]:
    """A page; whatever goes wrong in it fails the test."""
    faults: list[str] = []
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    page.on("pageerror", lambda error: faults.append(f"script error: {error}"))
    page.on("console", lambda it: faults.append(f"console: {it.text}") if it.type in ("error", "warning") else None)
    page.on("dialog", lambda it: (faults.append(f"dialog: {it.message}"), it.dismiss()))
    site = re.match(r"(http://[^/]+/|file://)", address)
    assert site is not None
    page.on("request", lambda it: None if it.url.startswith(site[1]) else faults.append(f"asked for {it.url}"))
    answer: Response | None = page.goto(address)
    if answer is not None and answer.status == 404:
        faults.clear()  # which the console reports
    yield page
    context.close()
    assert faults == []


def check(page: Page) -> None:
    """Nothing to complain of for a screen reader, nothing wider than the window, no element that a text brought."""
    assert page.evaluate("document.scrollingElement.scrollWidth") <= page.evaluate("window.innerWidth")
    assert page.locator("img, iframe, object").count() == 0
    results = Axe().run(page)
    assert results.violations_count == 0, results.generate_report()


@pytest.mark.parametrize("address_path", ADDRESSES)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_page_is_quiet_whole_and_accessible(browser, address, address_path, width, scheme) -> None:
    with opened(browser, address + address_path, width=width, scheme=scheme) as page:
        check(page)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", ["calm", "hostile <img src=x onerror=alert(1)>"])
def test_a_report_is_quiet_whole_and_accessible(browser, folder: Path, tmp_path: Path, name, width, scheme) -> None:
    with RunDirectory.read(folder / name) as run:
        run.report_path = tmp_path / "report.html"
        address = write_report(run).as_uri()
    with opened(browser, address, width=width, scheme=scheme) as page:
        check(page)


def test_a_bundle_opens_from_files(browser, folder: Path, tmp_path: Path) -> None:
    write_bundle([folder], tmp_path / "bundle", with_texts=True)
    for path in sorted((tmp_path / "bundle").iterdir()):
        with opened(browser, path.as_uri()) as page:
            check(page)


@REPRESENTATIVE
def test_a_bundle_finds_the_rollouts_that_the_viewer_finds(browser, folder: Path, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", steps=9, rows=8)
    with RunDirectory.open(run) as opened_run:
        text = "Ein Fluß, a café — 河边的老磨坊 and <b>İstanbul</b>"
        missing = {"reward": None, "outcome": None, "cause": "no_verdict", "disagreement": None}
        rollouts = [rollout(10, row, text=text, **missing) for row in range(2)]
        opened_run.database.record_step(10, seconds=1.0, metrics={"text/count": 2}, rollouts=rollouts)
    RolloutIndex(run).update()
    write_bundle([run], tmp_path / "bundle", with_texts=True)
    queries = ["", "step=2&to=4", "step=3", "outcome=win&sort=-words", "outcome=none", "cause=any", "cause=no_verdict"]
    queries += ["min_reward=0.5&max_reward=0.5", "sort=reward", "sort=-reward", "sort=latest&at=50", "prompt=p1"]
    queries += ["sort=words&max_words=16", "sort=-disagreement&at=50", "min_disagreement=0.3&sort=-disagreement"]
    queries += [
        "q=LANTERN",
        "q=cafe",
        "q=lantern+river",
        "q=河边",
        "q=unknown",
        "q=step+6&outcome=win",
        "q=constructor",
    ]
    queries += ["min_words=x"]
    with opened(browser, (tmp_path / "bundle" / "rollouts-run.html").as_uri()) as page:
        for query in queries:
            page.evaluate("query => { location.hash = query; }", query)
            expected = expected_rollouts(run, query)
            page.wait_for_function("text => document.getElementById('count').textContent === text", arg=expected[0])
            links = page.locator("#choices tr.choice a").evaluate_all(
                "links => links.map((it) => it.getAttribute('href'))"
            )
            assert links == expected[1], query
        expect(page.get_by_role("alert")).to_have_text("words from: 'x' is not a number")
        page.get_by_role("link", name="all", exact=True).click()
        page.locator("input[name=q]").fill("lantern")
        page.keyboard.press("Enter")
        expect(page.locator("#choices tr.choice")).to_have_count(18)
        page.keyboard.press("Tab")
        page.locator("#choices a").first.click()
        expect(page.locator("section:target")).to_contain_text("lantern")
        page.get_by_role("link", name="all texts for p0").first.click()
        expect(page.get_by_role("heading", level=1)).to_have_text("p0")
        page.locator("#choices a").first.click()
        expect(page.locator("section:target")).to_be_visible()


def expected_rollouts(run: Path, query: str) -> tuple[str, list[str]]:
    """How many rollouts the viewer finds, in words, and the pages of those on the list's first page, in a bundle."""
    asked = dict(parse_qsl(query))
    try:
        at = int(asked.get("at", 0))
        found = find_rollouts(run, read_filter(asked), offset=at)
    except BadInputError:
        return "0 found", []
    shown = f"; {at + 1} to {at + len(found.rollouts)} are shown" if found.rollouts else ""
    links = [f"run-run-step-{it.step:06d}.html#row-{it.row}" for it in found.rollouts]
    return f"{found.total} found{shown}", links


@REPRESENTATIVE
def test_a_chart_tells_values_enlarges_and_leads_to_the_texts_of_a_step(browser, address) -> None:
    with opened(browser, f"{address}/run/calm") as page:
        chart = page.locator("svg[data-chart]").first
        tip = page.locator(".chart .tip").first
        chart.hover(position={"x": 200, "y": 100})
        assert re.match(r"step \d+: mean reward [\d.]+", tip.inner_text())
        chart.focus()
        page.keyboard.press("ArrowRight")
        first = tip.inner_text()
        page.keyboard.press("ArrowRight")
        assert tip.inner_text() != first
        box = chart.bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + 100, box["y"] + 80)
        page.mouse.down()
        page.mouse.move(box["x"] + 200, box["y"] + 80)
        page.mouse.up()
        assert re.match(r"steps \d+ to \d+", tip.inner_text())
        page.locator("#smoothing").fill("0.9")
        page.keyboard.press("Escape")
        chart.focus()
        page.keyboard.press("Escape")
        page.keyboard.press("Enter")
        page.wait_for_url("**/rollouts?step=*")
        assert page.locator("#choices tr.choice").count() == 4


@REPRESENTATIVE
def test_rollouts_are_moved_through_by_keys(browser, address) -> None:
    with opened(browser, f"{address}/run/calm/rollouts?outcome=win") as page:
        page.keyboard.press("j")
        page.keyboard.press("j")
        page.keyboard.press("k")
        page.keyboard.press("Enter")
        page.wait_for_url("**/rollout/**")
        first = page.url
        page.keyboard.press("j")
        page.wait_for_url(lambda url: url != first)
        page.keyboard.press("k")
        page.wait_for_url(first)


@REPRESENTATIVE
def test_a_running_page_shows_a_new_step(browser, address, folder: Path) -> None:
    write_run(folder / "growing", steps=2)
    with opened(browser, f"{address}/run/growing/rollouts?sort=latest") as page:
        assert page.locator("#choices tr.choice").count() == 8
        write_run(folder / "growing", first=3, steps=3)
        expect(page.locator("#choices tr.choice")).to_have_count(12, timeout=30_000)


def test_the_check_of_accessibility_finds_faults(browser, address) -> None:
    with opened(browser, f"{address}/") as page:
        page.evaluate("document.querySelector('main').append(document.createElement('button'))")
        assert Axe().run(page).violations_count == 1, "a button without a name"


def test_two_people_label_in_the_page_and_their_agreement_is_what_was_chosen(browser, tmp_path: Path) -> None:
    """Two hundred pairs; ann errs on every tenth, bob on every fourth. By hand: they agree where both or neither err."""
    pairs = [
        AuditedPair(id=f"q{number:03}", prompt="Why?", response_a=f"good {number}", response_b=f"bad {number}")
        for number in range(200)
    ]
    path = tmp_path / "pairs.jsonl"
    write_rows(path, pairs)
    with open_labels(PairSource(path=path), people=["ann", "bob"]) as store, serving([], labels=store) as address:
        for person, every in (("ann", 10), ("bob", 4)):
            with opened(browser, f"{address}/label/{person}") as page:
                page.clock.install()
                page.reload()
                for done in range(200):
                    first = page.locator(".texts .text").first.inner_text()
                    errs = int(first.split()[1]) % every == 0
                    page.clock.fast_forward(400)  # the time in which a new pair takes no input
                    page.keyboard.press("1" if first.startswith("good") != errs else "2")
                    expect(page.locator("#label[data-done]")).to_have_attribute("data-done", str(done + 1))
                page.clock.fast_forward(400)
                page.keyboard.press("u")
                expect(page.locator("#label")).to_have_attribute("data-done", "199")
                first = page.locator(".texts .text").first.inner_text()
                errs = int(first.split()[1]) % every == 0
                page.clock.fast_forward(400)
                page.keyboard.press("1" if first.startswith("good") != errs else "2")
                expect(page.locator("h1")).to_contain_text("All 200 pairs")
    people = measure_people(store.labelled_pairs(), Bootstrap(resamples=50))
    assert people is not None
    both = sum((number % 10 == 0) == (number % 4 == 0) for number in range(200))
    assert people.pairs[0].agreement.value.estimate == both / 200
    chose_b = 20 + 50
    chose_a = 400 - chose_b
    by_chance = 2 * chose_a * chose_b / (400 * 399)
    assert people.alpha_nominal is not None
    assert people.alpha_nominal.value.estimate == pytest.approx(1 - (1 - both / 200) / by_chance)


def test_a_key_that_is_held_or_pressed_twice_labels_one_pair(browser, tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    texts = {"prompt": "Why?", "response_a": "So.", "response_b": "Thus."}
    write_rows(path, [AuditedPair.model_validate({"id": f"q{number}"} | texts) for number in range(9)])
    press = "document.body.dispatchEvent(new KeyboardEvent('keydown', { key: '1', bubbles: true }))"
    click = "document.querySelector('[data-choice=first]').click()"
    with (
        open_labels(PairSource(path=path)) as store,
        serving([], labels=store) as address,
        opened(browser, f"{address}/label/me") as page,
    ):
        page.add_init_script(f"addEventListener('load', () => {press})")  # before anybody can have read the new pair
        page.reload()
        page.wait_for_timeout(400)
        assert store.count("me") == (0, 9)
        for _ in range(30):  # after the first, events that repeat, as of a key that is held down
            page.keyboard.down("1")
            page.wait_for_timeout(30)
        page.keyboard.up("1")
        expect(page.locator("#label")).to_have_attribute("data-done", "1")
        assert store.count("me") == (1, 9)
        page.evaluate(f"{click}; {click}; {press}")
        expect(page.locator("#label")).to_have_attribute("data-done", "2")
        page.wait_for_timeout(400)
        page.evaluate(f"{press.replace('1', 'u')}; {press.replace('1', 'u')}")
        expect(page.locator("#label")).to_have_attribute("data-done", "1")
        page.wait_for_timeout(400)
        assert store.count("me") == (1, 9)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_labelling_is_quiet_whole_and_accessible(browser, tmp_path: Path, width, scheme) -> None:
    path = tmp_path / "pairs.jsonl"
    pair = AuditedPair(id="q", prompt=HOSTILE, response_a=HOSTILE, response_b="Thus.")
    write_rows(path, [pair])
    with open_labels(PairSource(path=path), people=["ann", "bob"]) as store, serving([], labels=store) as address:
        for place in ("/label", "/label/ann"):
            with opened(browser, address + place, width=width, scheme=scheme) as page:
                check(page)
        store.add(Answer(person="ann", pair_id="q", choice="tie", seconds=1))
        with opened(browser, f"{address}/label/ann", width=width, scheme=scheme) as page:
            check(page)
