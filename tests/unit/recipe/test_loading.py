import pytest

from longform.recipe.loading import check_working_directory, dump_recipe, load_recipe
from longform.recipe.recipe import Recipe
from longform.records.errors import BadInputError

GOOD = """
policy: some/model
data: {ladders: l.jsonl, per_step: 16}
rewards: [{kind: pairwise, judge: qwen}]
validation: {prompts: v.jsonl, judge: other}
run: {name: a, steps: 10}
"""


def _load(tmp_path, text, *overrides):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    return load_recipe(path, Recipe, overrides)


def _error(tmp_path, text, *overrides):
    with pytest.raises(BadInputError) as caught:
        _load(tmp_path, text, *overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_dumped_recipe_loads_as_the_same_recipe(tmp_path):
    recipe = _load(tmp_path, GOOD, "optim.lr=1e-5", "curriculum.wins=2")
    assert _load(tmp_path, dump_recipe(recipe)) == recipe


def test_overrides_reach_lists_and_sections_that_are_not_there(tmp_path):
    recipe = _load(tmp_path, GOOD, "rewards.0.position=first", "optim.lr=2e-6", "optim.dual_clip=null", "run.steps=3")
    assert recipe.rewards[0].model_dump()["position"] == "first"
    assert (recipe.optim.lr, recipe.ppo.dual_clip, recipe.run.steps) == (2e-6, None, 3)


@pytest.mark.parametrize(
    ("text", "overrides", "message"),
    [
        (GOOD + "optm: {lr: 1}\n", [], "optm: unknown key; did you mean 'optim'?"),
        (GOOD.replace("policy:", "base:"), [], "base: unknown key; 'policy' is missing; known here: method, engine"),
        (GOOD.replace("policy:", "polcy:"), [], "polcy: unknown key; did you mean 'policy'?"),
        (GOOD + "optim: {learning: 1}\n", [], "optim.learning: unknown key; known here: lr, warmup_steps"),
        (GOOD, ["curriculum.wns=2"], "curriculum.wns: unknown key; did you mean 'wins'?"),
        (GOOD, ["rewards.0.jugde=x"], "rewards.0.jugde: unknown key; did you mean 'judge'?"),
        (GOOD, ["rewards.0.kind=pairwize"], "rewards.0.kind: unknown reward 'pairwize'; available: pairwise, "),
        (GOOD, ["rewards.0.values=official"], "rewards.0.values: Input should be 'paper' or 'released'"),
        (GOOD, ["curriculum.wins=0"], "curriculum.wins: Input should be greater than or equal to 1"),
        (
            GOOD,
            ["rewards.0={kind: 'mine:haiku', setings: {}}"],
            "rewards.0.setings: unknown key; did you mean 'settings'?",
        ),
        (
            GOOD,
            ["rewards.0={kind: 'mine:'}"],
            "rewards.0.kind: 'mine:': a reward of your own is written module.path:Name",
        ),
        (GOOD, ["rewards.0={weight: 1}"], "rewards.0: needs a `kind`"),
        (GOOD, ["rewards.0={kind: pointwise}"], "rewards.0.judge: Field required"),
        (GOOD, ["rewards.0.judge=[1, 2]"], "rewards.0.judge"),
        (GOOD, ["rewards.0.judge=[]"], "rewards.0.judge"),
        (GOOD, ["rewards.0.judge=[a, b, a]"], "rewards.0.judge: names a judge twice"),
        (GOOD, ["curriculum.wins=[]"], "curriculum.wins"),
        (GOOD, ["optim.betas=[0.9]"], "optim.betas"),
        (GOOD, ["optim.betas=[1.0, 0.999]"], "optim.betas.0: Input should be less than 1"),
        (GOOD, ["optim.lr=.inf"], "optim.lr: Input should be a finite number"),
        (GOOD, ["run.seed=99999999999999999999"], "run.seed: Input should be less than"),
        (GOOD, ["run.steps=ten"], "recipe.yaml with run.steps=ten: run.steps: Input should be a valid integer"),
        (GOOD, ["method=grpp"], "method: Input should be 'ppo'"),
        (GOOD, ["method=grpo"], "data.group: must be at least 2 with grpo, which compares the responses of a group"),
        (GOOD, ["method=grpo", "data.group=4", "optim.critic_lr=1"], "optim.critic_lr: unknown key; known here: lr,"),
        (GOOD, ["optim.clip_high=0.3"], "optim.clip_high: unknown key; did you mean 'clip'?"),
        (GOOD, ["rewards=[]"], "rewards: List should have at least 1 item"),
        (GOOD, ["rewards=[{kind: length}, {kind: length}]"], "rewards: duplicate reward length"),
        (GOOD, ["rewards=[{kind: length, judge: x}]"], "rewards.0.judge: unknown key"),
        (GOOD, ["rewards.length.weight=2"], "rewards.0.length: unknown key"),
        (GOOD, ["data.ladders=null"], "data: name either `ladders` or `prompts`"),
        (GOOD, ["data.prompts=p.jsonl"], "data: name either `ladders` or `prompts`"),
        (GOOD, ["data={prompts: p.jsonl, per_step: 16}"], "data.ladders: required by the pairwise reward"),
        (GOOD, ["advantages=summed"], "advantages: only valid with method: grpo"),
        (GOOD, ["rewards=[{kind: length, required: 1}]"], "rewards: `required` is only valid with method: grpo"),
        (
            GOOD,
            ["method=grpo", "data.group=4", "generation.temperature=0"],
            "generation.temperature: must not be 0 with grpo",
        ),
        (GOOD, ["rewards.weight=0"], "rewards.0.weight: Input should be greater than 0"),
        (GOOD, ["optim.mini_batch=17"], "optim.mini_batch: 17 exceeds the 16 rollouts of a step"),
        (GOOD, ["validation.judge=qwen"], "validation.judge: 'qwen' also gives the reward"),
        (GOOD, ["curriculum.reference=best"], "`reference`: only valid with mode: fixed"),
        (GOOD, ["steps"], "--set steps: needs KEY=VALUE"),
        (GOOD, ["policy.x.y=1"], "--set policy.x.y=1: no such key in the recipe"),
        (GOOD, ["rewards.7.judge=x"], "--set rewards.7.judge=x: no such key in the recipe"),
        (GOOD, ["run.name=../escape"], "run.name: String should match pattern"),
        (GOOD + "optim: {kl: 0.1}\n", [], "recipe.yaml: optim.kl was renamed to optim.kl_coef"),
        (
            GOOD,
            ["rewards.max_no_verdict=0.1"],
            "rewards.0.max_no_verdict was renamed to rewards.max_judge_failure_rate",
        ),
        (GOOD, ["memory.micro_tokens=64"], "memory.micro_tokens was renamed to memory.max_tokens_per_microbatch"),
        (
            GOOD,
            ["engine=cluster", "cluster.patience_hours=2"],
            "patience_hours was renamed to cluster.stall_timeout_hours",
        ),
        (GOOD, ["optim.critic_epochs=2"], "optim.critic_epochs was removed; leave it out"),
        (
            GOOD,
            ["rewards=[{kind: format, redundancy_measure: minhash}]"],
            "rewards.0.redundancy_measure was removed; use `repetition` (near copies); no measure of paraphrase agreed",
        ),
        (
            GOOD,
            ["rewards=[{kind: length}, {kind: format, embeddings: m}]"],
            "rewards.1.embeddings was removed; use `repetition` (near copies); no measure of paraphrase agreed",
        ),
        (
            GOOD,
            ["rewards=[{kind: format, redundancy: 1}]"],
            "rewards.0.redundancy was removed; use `repetition` (near copies); no measure of paraphrase agreed",
        ),
        (GOOD, ["data.micro_tokens=64"], "data.micro_tokens: unknown key"),
        ("policy: [", [], "not YAML"),
        ("", [], "not a recipe: expected a YAML mapping"),
        ("policy: x\n", [], "data: Field required"),
    ],
)
def test_a_bad_recipe_is_one_line_that_names_the_field(tmp_path, text, overrides, message):
    assert message in _error(tmp_path, text, *overrides)


GROUPS = ["method=grpo", "data.group=4", "rewards=[{kind: group, judge: qwen, by: peer}]"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["method=ppo"], "rewards: kind: group is only valid with method: grpo, which has groups; use pairwise"),
        (["rewards=[{kind: group, judge: qwen}]"], "rewards.0.by: Field required"),
        (
            ["rewards.by=pairs"],
            "rewards.0.by: Input should be 'peer', 'anchors', 'list', 'round-robin' or 'elimination'",
        ),
        (["rewards.by=list", "rewards.position=both"], "rewards.0: by: list compares no pairs; leave out"),
        (["rewards.anchors=2"], "rewards.0: `anchors` is only valid with by: anchors"),
        (["rewards.by=anchors", "data={prompts: p.jsonl, group: 4}"], "data.ladders: required by the group reward"),
        (["data.flat_groups=judge"], "data.flat_groups: needs a reward of kind: group, and others that show which"),
        (["rewards=[{kind: length}]", "data.flat_groups=judge"], "data.flat_groups: needs a reward of kind: group"),
        (["data={prompts: p.jsonl, group: 4}", "curriculum.promote_by=sample"], "data.ladders: required by the group"),
        (
            ["rewards.by=anchors", "curriculum.promote_by=sample"],
            "curriculum.promote_by: sample is for a reward of kind",
        ),
        (
            ["curriculum={promote_by: sample, mode: mixed}"],
            "curriculum.promote_by: sample is only valid with mode: dynamic",
        ),
        (
            ["rewards=[{kind: pairwise, judge: qwen}]", "curriculum.promote_by=sample"],
            "curriculum.promote_by: sample is for a reward of kind: group",
        ),
    ],
)
def test_what_groups_need_is_said_in_one_line(tmp_path, overrides, message):
    assert message in _error(tmp_path, GOOD, *GROUPS, *overrides)


def test_a_group_reward_compares_with_references_only_where_it_is_asked_to(tmp_path):
    recipe = _load(tmp_path, GOOD, *GROUPS)
    assert not recipe.compares and recipe.asked == {"qwen"}
    assert _load(tmp_path, GOOD, *GROUPS, "rewards.by=anchors").compares
    assert _load(tmp_path, GOOD, *GROUPS, "curriculum.promote_by=sample").compares
    assert _load(tmp_path, GOOD, *GROUPS, "data={prompts: p.jsonl, group: 4}").data.prompts is not None


def test_the_reward_judge_may_validate_only_when_asked_to(tmp_path):
    assert _load(tmp_path, GOOD, "validation.judge=qwen", "validation.same_judge=true").validation


@pytest.mark.parametrize("name", ["..", ".", ".hidden", "-flag", "a/b", "a b", ""])
def test_a_run_keeps_to_a_folder_of_its_own(tmp_path, name):
    assert "run.name" in _error(tmp_path, GOOD, f"run.name='{name}'")


def test_a_key_that_stands_twice_is_refused(tmp_path):
    assert _error(tmp_path, GOOD + "policy: other\n").endswith(":7: policy: duplicate key")


def test_text_that_looks_like_a_number_stays_text(tmp_path):
    assert _load(tmp_path, GOOD, "run.name=1e5", "optim.lr=1e-5").run.name == "1e5"


def test_a_section_that_is_null_can_be_filled_and_a_sole_reward_needs_no_number(tmp_path):
    resolved = dump_recipe(_load(tmp_path, GOOD))
    recipe = _load(tmp_path, resolved, "lora.rank=8", "rewards.max_judge_failure_rate=0.9")
    assert recipe.lora is not None and recipe.lora.rank == 8
    assert recipe.judge_failure_limit == (0.9, "rewards.pairwise.max_judge_failure_rate")


def test_each_method_has_its_own_defaults(tmp_path):
    ppo = _load(tmp_path, GOOD).ppo
    assert (ppo.kl_coef, ppo.entropy_coef, ppo.dual_clip) == (0.001, 0.001, 3.0)
    grpo = _load(tmp_path, GOOD, "method=grpo", "data.group=4").grpo
    assert (grpo.kl_coef, grpo.entropy_coef, grpo.clip, grpo.loss) == (0.0, 0.0, 0.2, "sequence")


def test_one_of_several_rewards_is_named_by_its_place_or_its_kind(tmp_path):
    several = "rewards=[{kind: length}, {kind: pairwise, judge: qwen}]"
    changes = ("rewards.pairwise.position=both", "rewards.0.weight=2", "rewards.length.max_words=9")
    recipe = _load(tmp_path, GOOD, several, *changes)
    assert recipe.model_dump()["rewards"][1]["position"] == "both"
    assert recipe.weights == [2.0, 1.0]
    assert recipe.model_dump()["rewards"][0]["max_words"] == 9
    assert _load(tmp_path, GOOD, "rewards.pairwise.weight=2").weights == [2.0]


def test_a_file_beside_the_recipe_that_is_not_in_the_working_directory_is_told(tmp_path, monkeypatch):
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    path = folder / "recipe.yaml"
    path.write_text(GOOD.replace("v.jsonl", "own.jsonl"))
    check_working_directory(path)
    (folder / "own.jsonl").write_text("")
    message = r"prompts: own\.jsonl is not here, but beside .* run the command in .*project"
    with pytest.raises(BadInputError, match=message):
        check_working_directory(path)
    # names are no paths
    check_working_directory(path, ["validation.prompts=elsewhere.jsonl", "run.name=own.jsonl", "policy_name=own.jsonl"])
    monkeypatch.chdir(folder)
    check_working_directory(path)
