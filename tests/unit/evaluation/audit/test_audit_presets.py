"""Published sets of preferences, in small files of the same shape; the real ones are used where they are at hand."""

import json
import random
from collections import Counter
from itertools import combinations
from pathlib import Path
from statistics import fmean

import pytest
import yaml

from longform.evaluation.audit.groups import audit_groups
from longform.evaluation.audit.presets import PRESETS, read_preset_groups, read_preset_pairs
from longform.evaluation.audit.run import audit
from longform.judging.answers import read_fences
from longform.records.errors import BadInputError, RowsWarning

DATA = Path(__file__).parents[5] / "shared" / "data"
needs_data = pytest.mark.skipif(
    not (DATA / "wpb_zh_responses.jsonl").exists(), reason="../shared/data with the wpb_zh files is not there"
)


def dump(path, rows):
    path.write_text("".join(json.dumps(it, ensure_ascii=False) + "\n" for it in rows), encoding="utf-8")
    return path


def stories(count=40):
    return [
        {
            "prompt": f"[WP] Story {number}.",
            "chosen_story": f"A fine story {number}, long and longer." if number % 4 else f"Fine story {number}.",
            "rejected_story": f"A dull story {number}.",
            "chosen_comment_id": f"c{number}",
            "rejected_comment_id": f"r{number}",
            "chosen_upvotes": 90,
        }
        for number in range(count)
    ]


def scored_texts(prompts=12, models=4):
    """Requests, and the texts of several models: what they are worth stands in them."""
    draw = random.Random(1)
    texts = []
    for number in range(prompts):
        for model, score in enumerate(draw.sample(range(models), models)):
            text = f"正文{model}，质量{score}。"
            row = {"prompt_id": f"p{number}", "model": f"m{model}", "response": text, "human_scores": [score, score]}
            texts.append(row)
    return [{"prompt_id": f"p{number}", "prompt": f"写一篇文章{number}。"} for number in range(prompts)], texts


def judge_spec(folder, server):
    spec = {"base_url": server.url, "model": "m", "retries": 0}
    (folder / "models.yaml").write_text(yaml.safe_dump({"judge": spec}))
    return folder / "models.yaml"


def worth(text):
    return int(text.partition("质量")[2][0])


def test_a_label_says_nothing_about_the_place_of_the_chosen_story(tmp_path):
    pairs = read_preset_pairs("litbench", [dump(tmp_path / "test.jsonl", stories(200))])
    assert [it.id for it in pairs[:2]] == ["c0-r0", "c1-r1"]
    assert all("fine" in (it.response_a if it.label == "a" else it.response_b).lower() for it in pairs)
    assert 60 < Counter(it.label for it in pairs)["a"] < 140
    again = read_preset_pairs("litbench", [tmp_path / "test.jsonl"])
    assert again == pairs


def test_a_judge_on_litbench_has_agreement_position_and_length_bias(tmp_path, serve):
    def longer(request, number):
        texts = read_fences(request["messages"][0]["content"])
        return "[[A]]" if len(texts["TEXT A"]) > len(texts["TEXT B"]) else "[[B]]"

    server = serve(longer)
    settings = {"models": judge_spec(tmp_path, server), "out": tmp_path / "out.jsonl", "attacks": 0, "resamples": 100}
    file = dump(tmp_path / "test.jsonl", stories())
    (judged,) = audit([file], judges=["judge"], preset="litbench", **settings).audit.judges
    figures = judged.figures
    assert figures.consistent_and_correct is not None and figures.consistency is not None
    assert figures.consistent_and_correct.value.estimate == 0.75
    assert figures.consistency.value.estimate == 1.0
    assert figures.first_lead is not None and figures.first_lead.value.estimate == 0.0
    assert figures.longer_wins is not None and figures.longer_wins.value.estimate == 1.0
    assert figures.humans_longer_wins is not None and figures.humans_longer_wins.value.estimate == 0.75
    assert len(server.requests) == 2 * 40
    audit([file], judges=["judge"], preset="litbench", **settings)
    assert len(server.requests) == 2 * 40


def test_stories_that_were_taken_down_are_left_out_and_counted(tmp_path):
    rows = stories(4)
    rows[0]["chosen_story"], rows[1]["rejected_story"] = "[deleted]", None
    with pytest.warns(RowsWarning, match="left out 2 rows without a text"):
        pairs = read_preset_pairs("litbench", [dump(tmp_path / "test.jsonl", rows)])
    assert [it.id for it in pairs] == ["c2-r2", "c3-r3"]


def test_comment_ids_without_stories_are_refused_with_the_remedy(tmp_path):
    rows = [{"chosen_comment_id": "c", "rejected_comment_id": "r"}]
    with pytest.raises(BadInputError, match=r"test.jsonl: the rows name comments without their texts; .* rehydrate.py"):
        read_preset_pairs("litbench", [dump(tmp_path / "test.jsonl", rows)])


@pytest.mark.parametrize("wrap", [str, lambda text: {"text": text, "model": f"by-{text}", "score": 2}])
def test_pairs_of_writingpreferencebench_are_texts_or_objects(tmp_path, wrap):
    row = {"prompt": "Write.", "chosen": wrap("good"), "rejected": wrap("bad"), "language": "en"}
    (pair,) = read_preset_pairs("writingpreferencebench", [dump(tmp_path / "en.jsonl", [row])])
    better, model = (pair.response_a, pair.model_a) if pair.label == "a" else (pair.response_b, pair.model_b)
    assert better == "good"
    assert model == (None if wrap is str else "by-good")
    (group,) = read_preset_groups("writingpreferencebench", [tmp_path / "en.jsonl"])
    assert {it.text: it.score for it in group.responses} == {"good": 1, "bad": 0}


def test_texts_with_peoples_scores_are_groups_and_every_two_of_them_a_pair(tmp_path):
    requests, texts = scored_texts()
    files = [dump(tmp_path / "responses.jsonl", texts), dump(tmp_path / "prompts.jsonl", requests)]
    groups = read_preset_groups("writingpreferencebench", files)
    assert [len(it.responses) for it in groups] == [4] * 12
    assert all(it.score == worth(it.text) for group in groups for it in group.responses)
    pairs = read_preset_pairs("writingpreferencebench", files)
    assert len(pairs) == 12 * 6
    for pair in pairs:
        assert pair.label == ("a" if worth(pair.response_a) > worth(pair.response_b) else "b")
        assert pair.response_a.startswith(f"正文{pair.model_a[-1]}" if pair.model_a else "?")


def test_several_texts_of_one_model_keep_their_own_scores(tmp_path):
    rows = [{"prompt_id": "p", "prompt": "Write."}]
    rows += [{"prompt_id": "p", "model": "m", "response": f"t{n}", "human_scores": [n]} for n in range(3)]
    file = dump(tmp_path / "all.jsonl", rows)
    (group,) = read_preset_groups("writingpreferencebench", [file])
    assert [it.score for it in group.responses] == [0, 1, 2]
    pairs = read_preset_pairs("writingpreferencebench", [file])
    assert [it.id for it in pairs] == ["p 1-2", "p 1-3", "p 2-3"]


def test_scores_may_lie_in_a_file_of_their_own(tmp_path):
    requests, texts = scored_texts(prompts=2)
    scores = [{key: row[key] for key in ("prompt_id", "model", "human_scores")} for row in texts]
    scores.append({"prompt_id": "p0", "model": "unseen", "human_scores": [3]})
    bare = [{key: value for key, value in row.items() if key != "human_scores"} for row in texts]
    files = [dump(tmp_path / f"{n}.jsonl", rows) for n, rows in enumerate((requests, bare, scores))]
    assert read_preset_groups("writingpreferencebench", files) == read_preset_groups(
        "writingpreferencebench", [dump(tmp_path / "all.jsonl", [*requests, *texts])]
    )


def test_ways_to_compare_are_measured_on_groups_that_people_scored(tmp_path, serve):
    def right(request, number):
        texts = {
            label[-1]: it for label, it in read_fences(request["messages"][0]["content"]).items() if "TEXT" in label
        }
        ranked = sorted(texts, key=lambda letter: -worth(texts[letter]))
        return f"[[{' > '.join(ranked)}]]" if "X > Y = Z" in request["messages"][0]["content"] else f"[[{ranked[0]}]]"

    server = serve(right)
    requests, texts = scored_texts()
    files = [dump(tmp_path / "prompts.jsonl", requests), dump(tmp_path / "responses.jsonl", texts)]
    settings = {"models": judge_spec(tmp_path, server), "out": tmp_path / "by.jsonl", "resamples": 100}
    settings |= {
        "preset": "writingpreferencebench",
        "judges": ["judge"],
        "methods": ("list", "round-robin"),
        "repeats": 0,
    }
    audited = audit_groups(files, **settings)
    assert [it.agreement is not None and it.agreement.value.estimate for it in audited.figures] == [1.0, 1.0]
    asked = len(server.requests)
    audit_groups(files, **settings)
    assert len(server.requests) == asked


def test_scores_of_hellobench_are_said_to_be_a_judges(tmp_path):
    rows = [
        {"id": "h", "instruction": "Write."},
        {"prompt_id": "h", "model": "x", "response": "text x", "score": 0.75},
        {"prompt_id": "h", "model": "y", "response": "text y", "checklist_scores": [0.5, 1.0]},
    ]
    with pytest.warns(RowsWarning, match="GPT-4o's by the checklists"):
        (group,) = read_preset_groups("hellobench", [dump(tmp_path / "h.jsonl", rows)])
    assert [it.score for it in group.responses] == [0.75, 0.75]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"prompt_id": "p", "response": "text", "human_scores": [1]}], "no file has the request of 'p'"),
        ([{"prompt_id": "p", "prompt": "Write."}], "no pair of texts"),
        ([{"name": "x"}], r"f.jsonl:1: not a row of writingpreferencebench: needs prompt_id"),
        ([{"prompt_id": "p", "response": "t", "human_scores": ["high"]}], "human_scores: not a number or a list"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(tmp_path, rows, message):
    with pytest.raises(BadInputError, match=message):
        read_preset_pairs("writingpreferencebench", [dump(tmp_path / "f.jsonl", rows)])


def test_presets_are_those_of_the_command_line():
    assert PRESETS == ("litbench", "writingpreferencebench", "hellobench")


def _rows(name):
    return [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").split("\n") if line]


@needs_data
def test_the_real_chinese_part_is_read_whole():
    files = [DATA / f"wpb_zh_{name}.jsonl" for name in ("prompts", "responses")]
    groups = read_preset_groups("writingpreferencebench", files)
    assert (len(groups), sum(len(it.responses) for it in groups)) == (112, 672)
    scores = {(it["prompt_id"], it["model"]): fmean(it["human_scores"]) for it in _rows("wpb_zh_human_scores.jsonl")}
    assert all(scores[group.id, str(it.model)] == it.score for group in groups for it in group.responses)
    pairs = read_preset_pairs("writingpreferencebench", files)
    assert len(pairs) == 112 * 15
    decided = sum(one.score != other.score for group in groups for one, other in combinations(group.responses, 2))
    assert sum(it.label != "tie" for it in pairs) == decided
