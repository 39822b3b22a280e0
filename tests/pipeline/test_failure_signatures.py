"""Every failure signature is provoked by a training run, with a real model and judges over HTTP; a sound run shows none.

The policy is a transformer of a few thousand weights that has learned to write strings of vivid and plain words. A sane
judge likes each vivid word once; what goes wrong is a judge or a setting. `make test` provokes one of each kind: of the
judge, of the texts, of the settings.
"""

import json
import random
from contextlib import suppress
from itertools import pairwise

import pytest
import yaml
from tokenizers import pre_tokenizers

from longform.judging.answers import read_fences
from longform.judging.pointwise import DIMENSIONS
from longform.miniature.taught import save_taught_model
from longform.monitors.watch import diagnose, unwatched
from longform.recipe.recipe import Recipe
from longform.records.errors import StoppedError
from longform.records.files import write_rows
from longform.records.run_directory import RunDirectory
from longform.records.schemas import Ladder, Prompt, Reference
from longform.training.run import train

VIVID = ["amber", "birch", "copper", "dawn", "ember", "frost"]
PLAIN = ["thing", "stuff", "nice", "some", "very", "just"]
WORDS = ["[end]", "write", *VIVID, *PLAIN]
STEPS = 9
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A model folder: weights that have seen a few thousand sentences, and a word-level tokenizer."""
    folder, split = tmp_path_factory.mktemp("start"), pre_tokenizers.WhitespaceSplit()
    return save_taught_model(folder, WORDS, _sentence, split=split, steps=100, unknown="write", hidden=16, layers=1)


def _sentence(draw):
    count = draw.randint(4, 10)
    words = [draw.choice(VIVID if draw.random() < 0.3 else PLAIN) for _ in range(count)]
    return [WORDS.index(word) for word in ["write", *words, "[end]"]]


@pytest.fixture
def run(start, tmp_path, serve):
    """`run(judge, ...)` trains with judge(ours, theirs, call) and gives findings by name, and the metrics."""

    def run_with(
        judge, *, steps=STEPS, ladder=None, reward=None, examined=False, max_tokens=20, curriculum=None, **optim
    ):
        examine = examined if callable(examined) else lambda text: 2 + worth(text)

        def answer(request, number):
            fenced = read_fences(request["messages"][-1]["content"])
            if request["model"] == "examiner":
                grade = min(10.0, max(1.0, examine(fenced["TEXT"])))
                return json.dumps({"scores": dict.fromkeys(DIMENSIONS, grade)})
            return judge(fenced["TEXT B"], fenced["TEXT A"], number)

        url = serve(answer).url
        names = {name: {"base_url": url, "model": name, "concurrency": 16} for name in ("judge", "examiner")}
        (tmp_path / "models.yaml").write_text(yaml.safe_dump(names))
        texts = ladder or [" ".join(VIVID[:count] + PLAIN[:4]) for count in range(len(VIVID) + 1)]
        references = [Reference(model=f"m{rung}", text=text, score=rung) for rung, text in enumerate(texts)]
        ladders = [
            Ladder(id=str(n), prompt="write", references=references, policy_score=0, potential=5) for n in range(64)
        ]
        write_rows(tmp_path / "ladders.jsonl", ladders)
        write_rows(tmp_path / "validation.jsonl", [Prompt(id=f"v{n}", prompt="write") for n in range(16)])
        validation = {"prompts": str(tmp_path / "validation.jsonl"), "every": 2, "judge": "examiner"}
        recipe = {
            "policy": str(start),
            "models": str(tmp_path / "models.yaml"),
            "data": {"ladders": str(tmp_path / "ladders.jsonl"), "per_step": 32},
            "rewards": [{"kind": "pairwise", "judge": "judge", **(reward or {})}],
            "validation": validation if examined else None,
            "curriculum": curriculum or {},
            "generation": {"max_tokens": max_tokens},
            "optim": {
                "lr": 3e-3,
                "critic_lr": 3e-3,
                "warmup_steps": 0,
                "critic_warmup_steps": 0,
                "mini_batch": 8,
                **optim,
            },
            "run": {"name": "run", "folder": str(tmp_path), "steps": steps, "seed": 3, "checkpoint_every": steps},
        }
        warned = []
        with suppress(StoppedError):
            train(Recipe.model_validate(recipe), on_step=lambda report: warned.extend(report.warnings))
        with RunDirectory.read(tmp_path / "run") as opened:
            series = opened.database.metrics()
        findings = diagnose(series)
        live, afterwards = ([(it.name, it.first) for it in found] for found in (warned, findings))
        assert sorted(live) == sorted(afterwards)
        return {it.name: it for it in findings}, series

    return run_with


def worth(text):
    """Vivid words, each counted once, less half a point for every word that is said again."""
    words = text.split()
    return len(set(words) & set(VIVID)) - 0.5 * (len(words) - len(set(words)))


def echoes(text):
    """How often a word follows itself."""
    words = text.split()
    return sum(one == other for one, other in pairwise(words))


def prefers(measure):
    """A judge that finds the text better of which `measure` is greater."""

    def judge(ours, theirs, call):
        ours, theirs = measure(ours), measure(theirs)
        return "[[B]]" if ours > theirs else "[[A]]" if ours < theirs else "[[C]]"

    return judge


def test_a_sound_run_shows_no_failure_though_all_are_looked_for(run):
    findings, series = run(prefers(worth), steps=16, reward={"recheck": 0.25}, examined=True)
    assert findings == {}
    assert unwatched(series) == {}
    grades = [grade for _, grade in series["validation/grade"]]
    assert grades[-1] > grades[0] + 0.3, "it is sound only if it learns"
    assert series["curriculum/mean_rung"][-1][1] > 2


def test_a_judge_that_always_says_win(run):
    findings, _ = run(lambda ours, theirs, call: "[[B]]")
    assert findings["won-too-easily"].evidence == "100.0% of 256 verdicts in steps 2 to 9 are wins (mean rung 2.0)"
    assert (findings["won-too-easily"].first, findings["won-too-easily"].last) == (1, STEPS)


@pytest.mark.full
def test_a_judge_that_always_says_loss(run):
    findings, _ = run(lambda ours, theirs, call: "[[A]]")
    assert "no prompt was promoted" in findings["never-wins"].evidence


@pytest.mark.full
def test_a_judge_that_always_says_tie(run):
    findings, _ = run(lambda ours, theirs, call: "[[C]]")
    assert "vary by only 0.000 around 0.50" in findings["flat-reward"].evidence


@pytest.mark.full
def test_a_judge_that_tosses_a_coin(run):
    draw = random.Random(5)
    findings, _ = run(lambda ours, theirs, call: draw.choice(["[[A]]", "[[B]]"]), reward={"recheck": 0.5})
    assert set(findings) == {"judge-inconsistent"}


@pytest.mark.full
def test_a_panel_that_tosses_coins(run):
    draw = random.Random(6)
    findings, _ = run(lambda ours, theirs, call: draw.choice(["[[A]]", "[[B]]"]), reward={"samples": 2})
    assert "the panel's mean disagreement" in findings["judge-inconsistent"].evidence


@pytest.mark.full
def test_a_panel_whose_votes_often_do_not_come_in(run):
    draw, sane = random.Random(8), prefers(worth)
    findings, _ = run(
        lambda ours, theirs, call: sane(ours, theirs, call) if draw.random() < 0.5 else "Well.", reward={"samples": 3}
    )
    assert "of the panel's votes" in findings["panel-incomplete"].evidence


@pytest.mark.full
def test_a_judge_that_says_nothing_to_one_word(run):
    sane = prefers(worth)

    def judge(ours, theirs, call):
        return "Well." if "very" in ours.split() else sane(ours, theirs, call)

    findings, _ = run(judge, reward={"max_judge_failure_rate": 0.9})
    assert set(findings) == {"judge-silent"}


@pytest.mark.full
def test_a_judge_that_turns_round_when_the_critic_is_sure_of_it(run):
    findings, _ = run(lambda ours, theirs, call: "[[B]]" if call <= (STEPS - 1) * 32 else "[[A]]")
    assert findings["loss-spike"].first == STEPS
    assert findings["loss-spike"].evidence.startswith("critic/loss")


def test_a_learning_rate_that_drives_the_policy_away(run):
    findings, _ = run(prefers(worth), lr=0.3)
    assert "KL to the initial policy" in findings["kl-runaway"].evidence


@pytest.mark.full
def test_the_same_without_a_reference_model(run):
    findings, series = run(prefers(worth), lr=1.0, kl_coef=0.0)
    assert "policy/kl_to_start" not in series
    assert "each update" in findings["kl-runaway"].evidence


@pytest.mark.full
def test_a_learning_rate_that_leaves_the_policy_one_word(run):
    findings, _ = run(prefers(worth), lr=1.0)
    assert "entropy-collapse" in findings


def test_a_learning_rate_that_leaves_no_finite_weight(run):
    findings, series = run(prefers(worth), lr=1e30)
    assert findings["diverged"].first == 2, "the first of four updates is the one that does it"
    assert "policy/loss" in findings["diverged"].evidence
    assert series["policy/skipped"] == [(1, 0.75), (2, 1.0), (3, 1.0)], "then the run stops"


@pytest.mark.full
def test_a_judge_that_likes_echoes(run):
    ladder = [" ".join(["very"] * count + PLAIN[:4]) for count in range(1, 24, 2)]
    findings, _ = run(prefers(echoes), steps=12, ladder=ladder, examined=True, max_tokens=32, lr=2e-2)
    assert "word 4-grams" in findings["length-by-repetition"].evidence
    assert findings["length-by-repetition"].last == 12
    assert "the self-BLEU of the responses of a step is 0." in findings["diversity-falls"].evidence


@pytest.mark.full
def test_a_judge_that_likes_length_while_the_examiner_does_not(run):
    ladder = [" ".join((PLAIN * 7)[:count]) for count in range(2, 40, 3)]
    findings, _ = run(
        prefers(lambda text: len(text.split())), steps=12, ladder=ladder, examined=True, max_tokens=40, lr=1e-2
    )
    # With nine content words to choose from, longer texts also repeat single ones.
    assert {"judge-examiner-apart"} <= set(findings) <= {"judge-examiner-apart", "keyword-stuffing"}


@pytest.mark.full
def test_a_judge_whose_examiner_sees_no_gain(run):
    """The examiner grades by chance, within a narrow band, so that its mean is known from 16 texts."""
    draw = random.Random(9)
    findings, _ = run(prefers(worth), steps=12, examined=lambda text: 5 + 0.2 * draw.random(), lr=1e-2)
    assert set(findings) == {"judge-examiner-apart"}
    assert "mean rung plus mean reward went from" in findings["judge-examiner-apart"].evidence


@pytest.mark.full
def test_rungs_that_want_ten_wins_in_a_row(run):
    ladder = [" ".join(PLAIN[:4] + VIVID[:count]) for count in (1, 3, 5)]
    findings, series = run(prefers(worth), steps=40, ladder=ladder, curriculum={"wins": 10}, lr=1e-6)
    assert set(findings) == {"plateau-between-rungs"}
    assert "the mean rung went from 0.00 to 0.0" in findings["plateau-between-rungs"].evidence
    assert series["curriculum/at_top"][-1][1] == 0


@pytest.mark.full
def test_the_same_with_one_win(run):
    ladder = [" ".join(PLAIN[:4] + VIVID[:count]) for count in (1, 3, 5)]
    findings, series = run(prefers(worth), steps=40, ladder=ladder, lr=1e-6)
    assert "plateau-between-rungs" not in findings
    assert series["curriculum/mean_rung"][-1][1] > 0.5


def test_a_token_limit_that_cuts_texts_off(run):
    findings, _ = run(prefers(worth), max_tokens=4)
    assert set(findings) == {"cut-off"}
