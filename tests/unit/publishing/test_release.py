"""What is published: exactly the files that the dry run lists, nothing private, and a card that says where it comes from."""

import json
import os
import re
import subprocess
import sys
import threading
import time
from base64 import b64decode
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import uvicorn
import yaml
from huggingface_hub import ModelCard
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from longform.cli import main
from longform.evaluation.audit.pairs import AuditedPair
from longform.publishing.hub import check_id
from longform.publishing.release import plan_policy, plan_rows
from longform.recipe.public import public_recipe
from longform.records.calls import SqliteCallLog
from longform.records.errors import BadInputError
from longform.records.files import write_rows
from longform.records.schemas import Game, Ladder, Preference, Reference, Row
from longform.viewer.serve import listen
from viewed_runs import HOSTILE, judge_call, write_run

SECRET = "https://judge.internal.example/v1"
PRIVATE = "/home/somebody/private"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with a policy, whose recipe and configuration name private places."""
    path = write_run(tmp_path / "runs" / "novelist", text="`````` A text. </details><script>x</script>")
    recipe = {
        "policy": f"{PRIVATE}/models/base",
        "models": f"{PRIVATE}/models.yaml",
        "data": {"ladders": f"{PRIVATE}/ladders.jsonl", "per_step": 4},
        "rewards": [{"kind": "pairwise", "judge": "critic"}],
        "validation": {"prompts": f"{PRIVATE}/held-out.jsonl", "judge": "exam"},
        "run": {"name": "novelist", "folder": f"{PRIVATE}/runs", "steps": 4},
    }
    (path / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    (path / "models.yaml").write_text(f"critic: {{base_url: {SECRET}}}", encoding="utf-8")
    policy = path / "checkpoints" / "step-000004" / "policy"
    policy.mkdir(parents=True)
    (policy / "config.json").write_text(json.dumps({"_name_or_path": f"{PRIVATE}/models/base", "model_type": "llama"}))
    (policy / "model.safetensors").write_bytes(b"\0" * 1000)
    (policy / "tokenizer.json").write_text("{}")
    (policy / "optimizers.pt").write_bytes(b"secret state")
    return path


def contents(run: Path, **settings: Any) -> dict[str, bytes]:
    files = plan_policy(run, **settings).files
    return {it.name: it.source.read_bytes() if it.source else it.content or b"" for it in files}


def test_only_the_policy_the_recipe_and_the_card_are_published(run: Path) -> None:
    release = plan_policy(run)
    names = {it.name for it in release.files}
    assert names == {"README.md", "config.json", "model.safetensors", "tokenizer.json", "recipe.yaml"}
    assert release.left_out == ["optimizers.pt"]


@pytest.mark.parametrize("with_texts", [False, True])
def test_no_address_and_no_folder_of_this_machine_is_published(run: Path, with_texts: bool) -> None:
    whole = b"".join(contents(run, with_texts=with_texts).values()).decode()
    assert "internal.example" not in whole
    assert "somebody" not in whole
    assert "models.yaml" not in whole
    assert "ladders.jsonl" in whole


def test_of_a_policys_folder_only_files_of_the_format_are_published_without_folders(run: Path) -> None:
    policy = run / "checkpoints" / "step-000004" / "policy"
    tokenizer = {"special_tokens_map_file": f"{PRIVATE}/map.json", "chat_template": "/think {{ x }}", "eos": "</s>"}
    (policy / "tokenizer_config.json").write_text(json.dumps(tokenizer | {"inner": [{"name_or_path": f"{PRIVATE}/m"}]}))
    for name in ("trainer_state.json", ".env.json", "notes.json"):
        (policy / name).write_text(json.dumps({"best_model_checkpoint": PRIVATE}))
    published = contents(run, base="org/base")
    assert not {"trainer_state.json", ".env.json", "notes.json"} & published.keys()
    public = json.loads(published["tokenizer_config.json"])
    assert public == tokenizer | {"special_tokens_map_file": "map.json", "inner": [{"name_or_path": "org/base"}]}


def test_an_adapter_names_a_base_that_others_can_load(run: Path) -> None:
    adapter = run / "checkpoints" / "step-000004" / "policy" / "adapter_config.json"
    adapter.write_text(json.dumps({"base_model_name_or_path": f"{PRIVATE}/base"}))
    with pytest.raises(BadInputError, match="--base"):
        plan_policy(run)
    published = contents(run, base="org/base")
    assert json.loads(published["adapter_config.json"]) == {"base_model_name_or_path": "org/base"}
    assert ModelCard(published["README.md"].decode()).data.to_dict()["library_name"] == "peft"


def test_a_card_is_shown_without_control_characters(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hostile = write_run(run.with_name("a\n# b"), text=HOSTILE)
    (run / "run.sqlite").unlink()
    for name in ("recipe.yaml", "checkpoints"):
        (run / name).rename(hostile / name)
    with pytest.raises(SystemExit, match="0"):
        main(["publish", str(hostile), "--to", "me/x", "--dry-run"])
    shown = capsys.readouterr().out
    assert "\x1b" not in shown and "\u202e" not in shown
    assert "\n# a # b\n" in shown
    assert b"\x1b" not in contents(hostile)["README.md"]


def test_prompts_are_published_only_if_texts_are_asked_for(run: Path) -> None:
    prompt = "`````` A text."
    without = contents(run)
    assert "(The prompt is not published.)" in without["README.md"].decode()
    assert "texts.jsonl" not in without
    with_texts = contents(run, with_texts=True)
    row = json.loads(with_texts["texts.jsonl"].splitlines()[0])
    assert row["prompt"].startswith(prompt)


def test_the_card_names_origin_result_and_judges_and_is_read_by_the_hub(run: Path) -> None:
    card = ModelCard(contents(run, base="Qwen/Qwen2.5-7B")["README.md"].decode())
    data = card.data.to_dict()
    assert data["base_model"] == "Qwen/Qwen2.5-7B"
    assert data["library_name"] == "transformers"
    for said in ("The examiner's mean grade rose: +4.00", "PPO, 4 steps", "critic", "examiner: exam", "cost 0.0160"):
        assert said in card.text, said


def test_the_card_names_the_models_of_the_judges_and_a_base_that_the_recipe_has(run: Path) -> None:
    with SqliteCallLog(run / "run.sqlite") as log:
        log.record(replace(judge_call("c", "7"), endpoint="critic", model="org/critic-7b"))
        log.record(replace(judge_call("e", "7"), endpoint="exam", model=f"{PRIVATE}/served/exam-9b"))
    recipe = yaml.safe_load((run / "recipe.yaml").read_text(encoding="utf-8"))
    (run / "recipe.yaml").write_text(yaml.safe_dump(recipe | {"policy": "org/base-1b"}), encoding="utf-8")
    card = ModelCard(contents(run)["README.md"].decode())
    assert card.data.to_dict()["base_model"] == "org/base-1b"
    assert "- judges: critic (org/critic-7b)\n- examiner: exam (exam-9b)" in card.text
    assert contents(run, base="org/other")["README.md"].decode().count("base_model: org/other") == 1


def test_no_text_of_a_model_leaves_its_block_in_the_card(run: Path) -> None:
    lines = contents(run, with_texts=True)["README.md"].decode().splitlines()
    inside, fence = False, ""
    for line in lines:
        if not inside and line.startswith("```"):
            inside, fence = True, line.removesuffix("text")
        elif inside and line == fence:
            inside = False
        elif "<script>" in line:
            assert inside
    assert not inside


def test_a_benchmark_is_in_the_card_without_the_address_of_its_judge(run: Path, tmp_path: Path) -> None:
    result = {
        "benchmark": "writingbench",
        "judge": {"name": "critic", "model": "a-judge", "address": SECRET},
        "tables": [{"title": "Scores", "rows": [{"model": "x", "score": {"estimate": 7.5, "low": 7.0, "high": 8.0}}]}],
    }
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "result.json").write_text(json.dumps(result))
    card = contents(run, benchmarks=[tmp_path / "bench"])["README.md"].decode()
    assert "writingbench, judged by a-judge" in card
    assert "7.500" in card
    assert "internal" not in card


@pytest.mark.parametrize("text", ["{", "[]", '{"tables": 3}', '{"benchmark": "x", "tables": [{}]}'])
def test_a_file_that_is_no_result_is_named(run: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "result.json").write_text(text)
    with pytest.raises(BadInputError, match=r"result\.json"):
        plan_policy(run, benchmarks=[tmp_path])


def test_a_policy_folder_of_a_run_is_published_with_the_runs_facts(run: Path) -> None:
    folder = run / "checkpoints" / "step-000004" / "policy"
    assert "# novelist" in plan_policy(folder).card


@pytest.mark.parametrize(("base", "problem"), [("../x", "--base"), ("one", "--base"), ("a/b/c", "--base")])
def test_a_base_must_be_an_id(run: Path, base: str, problem: str) -> None:
    with pytest.raises(BadInputError, match=problem):
        plan_policy(run, base=base)


def test_what_has_no_policy_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="neither a run directory nor a policy"):
        plan_policy(tmp_path)
    with pytest.raises(BadInputError, match="no checkpoint yet"):
        plan_policy(write_run(tmp_path / "young"))


def test_only_what_belongs_to_this_machine_is_taken_out_of_a_recipe(tmp_path: Path) -> None:
    kept = {
        "policy": "org/name",
        "generation": {"stop": ["</answer>", "END/"]},
        "rewards": [{"kind": "mine:Judge", "prompt": "Rate clarity/style from 1 to 10", "query": "hello", "weight": 1}],
    }
    private = {"models": "m.yaml", "run": {"folder": PRIVATE, "name": "r"}, "data": {"prompts": f"{PRIVATE}/p.jsonl"}}
    private |= {"plugin": {"url": SECRET, "place": f"{PRIVATE}/x"}}
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(kept | private))
    assert yaml.safe_load(public_recipe(tmp_path / "r.yaml")) == kept | {
        "run": {"name": "r"},
        "data": {"prompts": "p.jsonl"},
        "plugin": {"url": "(an address)", "place": "x"},
    }


def test_no_secret_address_or_folder_is_left_wherever_a_recipe_has_it(tmp_path: Path) -> None:
    settings = {
        "api_key": "k-PRIVATE",
        "headers": {"x-team": "PRIVATE"},
        "note": "see https://PRIVATE.corp/x, key sk-PRIVATE1",
    }
    settings |= {
        "host": "10.1.2.3:8000",
        "place": "~/PRIVATE/m",
        "turns": 3,
        "max_tokens": 9,
        "query": "a: b",
        "empty": [],
    }
    recipe = {
        "data": {"sources": [{"name": "n", "ladders": "../PRIVATE/l.jsonl", "prompts": "PRIVATE/a/p.jsonl"}]},
        "generation": {"server": {"arguments": ["--api-key", "PRIVATE", "--hf-token=PRIVATE", "--model=/PRIVATE/x/m"]}},
        "rewards": [
            {"kind": "m:R", "settings": settings},
            {"kind": "writing", "model": ["PRIVATE/a/rm", "org/name"]},
            {"kind": "format", "slop_list": "PRIVATE/a/slop.txt"},
        ],
    }
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(recipe))
    public = public_recipe(tmp_path / "r.yaml")
    assert "PRIVATE" not in public and "10.1" not in public
    read = yaml.safe_load(public)
    assert read["rewards"][1]["model"] == ["rm", "org/name"]
    assert read["generation"]["server"]["arguments"] == [
        "--api-key",
        "(a secret)",
        "--hf-token=(a secret)",
        "--model=m",
    ]
    kept = {name: read["rewards"][0]["settings"][name] for name in ("turns", "max_tokens", "query")}
    assert kept == {"turns": 3, "max_tokens": 9, "query": "a: b"}


def test_a_file_that_is_no_rows_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text("{broken")
    with pytest.raises(BadInputError, match="holds neither"):
        plan_rows(tmp_path / "x.jsonl")


def test_rows_of_a_result_may_have_different_columns(run: Path, tmp_path: Path) -> None:
    tables = [{"title": "T", "rows": [{"model": "x", "one": 1.0}, {"model": "y", "two": 2.0}]}]
    (tmp_path / "result.json").write_text(json.dumps({"benchmark": "b", "tables": tables}))
    assert "two" in contents(run, benchmarks=[tmp_path])["README.md"].decode()


def test_the_next_command_of_a_dry_run_publishes_what_was_shown(run: Path) -> None:
    tried = publish("http://127.0.0.1:9", run, "--to", "me/writer", "--dry-run", "--base", "a/b", "--with-texts")
    assert "--to me/writer --base a/b --with-texts" in tried.stdout
    refused = publish("http://127.0.0.1:9", run, "--to", "writer", "--dry-run")
    assert refused.returncode == 2
    assert "OWNER/NAME" in refused.stderr


def test_rows_are_published_only_if_texts_are_asked_for(tmp_path: Path) -> None:
    write_rows(tmp_path / "p.jsonl", [Preference(prompt=HOSTILE, chosen="a", rejected="b")])
    with pytest.raises(BadInputError, match="--with-texts"):
        plan_rows(tmp_path / "p.jsonl")
    release = plan_rows(tmp_path / "p.jsonl", with_texts=True)
    assert [it.name for it in release.files] == ["README.md", "data/train.jsonl"]
    assert "Preferences in the format" in release.card
    write_rows(tmp_path / "g.jsonl", [Game(prompt_id="p", model_a="x", model_b="y", winner="a")])
    assert plan_rows(tmp_path / "g.jsonl").kind == "dataset"
    (tmp_path / "n.jsonl").write_text('{"x": 1}\n')
    with pytest.raises(BadInputError, match="holds neither"):
        plan_rows(tmp_path / "n.jsonl")


class Hub:
    """The part of the hub's protocol that an upload in one commit uses, and reading a dataset."""

    def __init__(self, *, refuse: int = 0) -> None:
        self.refuse = refuse
        self.created: list[dict[str, Any]] = []
        self.files: dict[str, bytes] = {}
        self.tokens: set[str] = set()

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/api/repos/create", self.create, methods=["POST"]),
                Route("/api/validate-yaml", self.validate, methods=["POST"]),
                Route("/api/{kind}/{owner}/{name}/preupload/{revision}", self.preupload, methods=["POST"]),
                Route("/api/{kind}/{owner}/{name}/commit/{revision}", self.commit, methods=["POST"]),
                Route("/api/datasets/{owner}/{name}", self.info),
                Route("/api/datasets/{owner}/{name}/revision/{revision}", self.info),
                Route("/api/datasets/{owner}/{name}/tree/{revision}{path:path}", self.tree),
                Route("/api/datasets/{owner}/{name}/paths-info/{revision}", self.paths, methods=["POST"]),
                Route("/datasets/{owner}/{name}/resolve/{revision}/{path:path}", self.file),
            ]
        )

    def of(self, request: Request) -> dict[str, bytes]:
        """The files of a repository, of several by its name as a folder."""
        folder = f"{request.path_params['name']}/"
        return {name.removeprefix(folder): it for name, it in self.files.items() if name.startswith(folder)}

    async def info(self, request: Request) -> Response:
        name = "/".join(request.path_params[it] for it in ("owner", "name"))
        siblings = [{"rfilename": it} for it in self.of(request)]
        return JSONResponse({"id": name, "sha": "c0ffee", "private": False, "siblings": siblings, "tags": []})

    async def tree(self, request: Request) -> Response:
        folder = request.path_params["path"].strip("/")
        names = [it for it in self.of(request) if it.startswith(f"{folder}/" if folder else "")]
        return JSONResponse([self.entry(it, len(self.of(request)[it])) for it in names])

    async def paths(self, request: Request) -> Response:
        asked = parse_qs((await request.body()).decode())["paths"]
        files = self.of(request)
        folders = {parent for it in files for parent in map(str, Path(it).parents)}
        return JSONResponse(
            [self.entry(it, len(files[it])) for it in asked if it in files]
            + [{"type": "directory", "path": it, "oid": "d"} for it in asked if it in folders]
        )

    @staticmethod
    def entry(path: str, size: int) -> dict[str, Any]:
        return {"type": "file", "path": path, "size": size, "oid": path}

    async def file(self, request: Request) -> Response:
        content = self.of(request).get(request.path_params["path"])
        if content is None:
            return JSONResponse({"error": "no"}, 404, {"x-error-code": "EntryNotFound"})
        headers = {"etag": '"e"', "x-repo-commit": "c0ffee", "accept-ranges": "bytes"}
        if asked := re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", "")):
            first, last = int(asked[1]), min(int(asked[2] or len(content)), len(content) - 1)
            headers["content-range"] = f"bytes {first}-{last}/{len(content)}"
            return Response(content[first : last + 1], 206, headers)
        return Response(content, headers=headers)

    async def create(self, request: Request) -> Response:
        if self.refuse:
            return JSONResponse({"error": "no"}, self.refuse)
        self.tokens.add(request.headers["authorization"])
        body = await request.json()
        self.created.append(body)
        return JSONResponse({"url": f"{request.base_url}{body.get('organization', 'me')}/{body['name']}"})

    async def validate(self, request: Request) -> Response:
        return JSONResponse({"errors": [], "warnings": []})

    async def preupload(self, request: Request) -> Response:
        files = (await request.json())["files"]
        return JSONResponse(
            {"files": [{"path": it["path"], "uploadMode": "regular", "shouldIgnore": False} for it in files]}
        )

    async def commit(self, request: Request) -> Response:
        for line in (await request.body()).splitlines():
            item = json.loads(line)
            if item["key"] == "file":
                self.files[item["value"]["path"]] = b64decode(item["value"]["content"])
        where = "/".join(request.path_params[it] for it in ("owner", "name"))
        return JSONResponse({"commitOid": "c0ffee", "commitUrl": f"{request.base_url}{where}/commit/c0ffee"})


@pytest.fixture
def hub(request: pytest.FixtureRequest) -> Iterator[tuple[Hub, str]]:
    hub = Hub(refuse=getattr(request, "param", 0))
    with listen("127.0.0.1", 0) as listener:
        server = uvicorn.Server(uvicorn.Config(hub.app(), log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        deadline = time.monotonic() + 60
        while not server.started:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield hub, f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(timeout=30)


def publish(address: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HF_ENDPOINT": address, "HF_TOKEN": "hf_secret", "HF_HUB_DISABLE_TELEMETRY": "1"}
    command = [sys.executable, "-m", "longform", "publish", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)


def test_the_hub_gets_exactly_what_the_dry_run_lists(run: Path, hub: tuple[Hub, str]) -> None:
    served, address = hub
    tried = publish(address, run, "--to", "me/writer", "--dry-run")
    assert tried.returncode == 0, tried.stderr
    assert served.created == []
    done = publish(address, run, "--to", "me/writer")
    assert done.returncode == 0, done.stderr
    assert served.files == contents(run)
    assert all(name in tried.stdout for name in served.files)
    assert served.created[0].get("private") is True or served.created[0]["visibility"] == "private"
    assert served.tokens == {"Bearer hf_secret"}
    assert "hf_secret" not in done.stdout + done.stderr


READ = """
import sys
from pathlib import Path
from longform.evaluation.audit.pairs import AuditedPair
from longform.records.files import read_rows
from longform.records.schemas import Game, Ladder, Preference
for kind in (Ladder, Preference, Game, AuditedPair):
    name = kind.__name__.lower()
    assert list(read_rows(Path(f"me/{name}"), kind)) == list(read_rows(Path(f"{name}.jsonl"), kind)), name
"""


@pytest.mark.slow
def test_ladders_preferences_games_and_pairs_come_back_from_the_hub(tmp_path: Path, hub: tuple[Hub, str]) -> None:
    def ladder(number: int, **fields: Any) -> Ladder:
        references = [Reference(model="m", text="t", score=1), Reference(model="n", text="u", score=2.5)]
        return Ladder(id=f"p{number}", prompt="W", references=references, policy_score=0.5, potential=2.0, **fields)

    texts = {"prompt": "Why?", "response_a": "So.", "response_b": "Thus."}
    rows: list[Sequence[Row]] = [
        [
            ladder(0, meta={}),
            ladder(1, meta={"a": "x", "b": [1]}, length_range=(100, 200)),
            ladder(2, criteria="Short."),
        ],
        [
            Preference(prompt="a\u2028b", chosen="b\n", rejected="c"),
            Preference(prompt="q", chosen="b", rejected="c", margin=1),
        ],
        [
            Game(prompt_id="p", model_a="x", model_b="y", winner="a"),
            Game(
                prompt_id="p", model_a="x", model_b="y", winner="tie", order="ba", judge="j", margin=0.5, calls=("h",)
            ),
        ],
        [
            AuditedPair.model_validate({"id": "q0", "labels": {"ann": "a"}, "weight": 2.5} | texts),
            AuditedPair.model_validate({"id": "q1", "labels": {"bob": "b"}, "verdicts": {"j": {"ba": "a"}}} | texts),
        ],
    ]
    served, address = hub
    for kind, of_kind in zip(("ladder", "preference", "game", "auditedpair"), rows, strict=True):
        write_rows(tmp_path / f"{kind}.jsonl", of_kind)
        for it in plan_rows(tmp_path / f"{kind}.jsonl", with_texts=True).files:
            served.files[f"{kind}/{it.name}"] = it.source.read_bytes() if it.source else it.content or b""
    environment = {
        **os.environ,
        "HF_ENDPOINT": address,
        "HF_HOME": str(tmp_path / "hf"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", READ],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("hub", [401, 403], indirect=True)
def test_a_token_that_may_not_write_is_one_line(run: Path, hub: tuple[Hub, str]) -> None:
    refused = publish(hub[1], run, "--to", "me/writer")
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert "the hub refuses this token" in refused.stderr
    assert "hf_secret" not in refused.stderr


def test_a_hub_that_is_not_there_is_one_line(run: Path) -> None:
    failed = publish("http://127.0.0.1:9", run, "--to", "me/writer")
    assert failed.returncode == 3
    assert "cannot be reached" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_win_rates_stand_in_the_card_with_interval_and_n(run: Path, tmp_path: Path) -> None:
    winners = ["b", "b", "tie", "a"]
    games = [
        Game(prompt_id=f"p{number // 2}", model_a="start", model_b="trained", winner=winner, judge="exam")  # pyright: ignore[reportArgumentType]
        for number, winner in enumerate(winners)
    ]
    write_rows(tmp_path / "games.jsonl", games)
    card = contents(run, games=[tmp_path / "games.jsonl"])["README.md"].decode()
    (line,) = [it for it in card.splitlines() if "trained" in it and "start" in it]
    assert "0.625" in line
    assert "| 4 |" in line.replace("  ", " ")


@pytest.mark.parametrize(
    ("to", "problem"),
    [
        ("writer", "must be OWNER/NAME"),
        ("me/my writer", "Repo id must use alphanumeric chars"),
        ("a/b/c", "Repo id must be"),
    ],
)
def test_an_id_that_the_hub_would_not_take_is_one_line_before_anything_is_sent(to: str, problem: str) -> None:
    with pytest.raises(BadInputError, match=f"^--to {to}: .*{problem}") as error:
        check_id(to)
    assert "\n" not in str(error.value)


def test_damaged_files_of_a_release_are_named(run: Path, tmp_path: Path) -> None:
    policy = run / "checkpoints" / "step-000004" / "policy"
    (policy / "generation_config.json").write_text('{"do_sample": true}')
    assert contents(run)["generation_config.json"] == b'{"do_sample": true}', "as it is, without folders to leave out"
    with pytest.raises(
        BadInputError, match=r"bench/result\.json: cannot be read: No such file .*; name the --out folder"
    ):
        plan_policy(run, benchmarks=[tmp_path / "bench"])
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "result.json").write_text('{"tables": []}')
    with pytest.raises(BadInputError, match=r"result\.json: not a result of bench run: KeyError\('benchmark'\)"):
        plan_policy(run, benchmarks=[tmp_path / "bench"])
    (policy / "generation_config.json").write_text("{")
    with pytest.raises(BadInputError, match=r"generation_config\.json: not JSON: "):
        plan_policy(run)
