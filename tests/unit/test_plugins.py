"""Plugins by module and name or by entry point: each failure is one line, and no plugin runs before training does."""

import asyncio
import sys
from importlib.metadata import version
from itertools import count

import pytest

from longform import plugins
from longform.evaluation.benchmarks.catalogue import find_benchmark, list_benchmarks
from longform.plugins import load_plugin, plugin_names
from longform.recipe.loading import load_recipe, load_stored_recipe
from longform.recipe.recipe import Recipe
from longform.records.errors import BadInputError, StoppedError
from longform.records.schemas import Prompt
from longform.rewards.plugin import PluginReward, check_signature, load_reward, try_rewards
from longform.rewards.reward import DECLINED, RewardResult
from longform.rewards.reward_set import build_rewards
from longform.rewards.settings import PluginRewardSettings
from longform.text.structure import parse_response

_NUMBERS = count()
PROMPT = Prompt(
    id="p7", prompt="Write a tale", criteria="vivid", length_range=(3, 9), meta={"topic": "rain", "step": -1}
)


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes a module into the current folder; gives its name, new for each. It belongs to none of the installed packages,
    and looking through them takes a fifth of a second.
    """
    monkeypatch.setattr(plugins, "packages_distributions", dict)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def write(source):
        name = f"written_{next(_NUMBERS)}"
        (tmp_path / f"{name}.py").write_text(source, encoding="utf-8")
        return name

    return write


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Installs a package with entry points, as pip records them."""
    site = tmp_path / "site"
    monkeypatch.syspath_prepend(str(site))

    def install(package, source, entries):
        info = site / f"{package}-2.5.dist-info"
        info.mkdir(parents=True)
        (site / f"{package}.py").write_text(source, encoding="utf-8")
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 2.5\n")
        (info / "entry_points.txt").write_text(entries)

    return install


def _reward(kind, **settings):
    chosen = PluginRewardSettings(kind=kind, settings=settings)
    return PluginReward(load_reward(chosen), chosen)


def _score(reward, text="a b c", reference="ref"):
    response = parse_response(text, "off")
    return asyncio.run(reward.score(PROMPT, response=response, reference=reference, step=4))


@pytest.mark.parametrize(
    ("source", "attribute", "message"),
    [
        ("x = 1", "haiku", r"written_\d+\.py has no 'haiku'"),
        ("def haikus(): ...", "haiku", r"did you mean 'haikus'\?"),
        (
            "\nimport nowhere_at_all",
            "haiku",
            r"ModuleNotFoundError: No module named 'nowhere_at_all' \(written_\d+\.py:2\)",
        ),
        ("\n\n1 / 0", "haiku", r"cannot be imported: ZeroDivisionError: division by zero \(written_\d+\.py:3\)"),
        ("\ndef (", "haiku", r"cannot be imported: SyntaxError: .* \(written_\d+\.py:2\)"),
        ("raise SystemExit(3)", "haiku", r"cannot be imported: SystemExit: 3"),
    ],
)
def test_what_cannot_be_loaded_is_one_line(write, source, attribute, message):
    name = write(source)
    with pytest.raises(BadInputError, match=message) as raised:
        load_plugin(f"{name}:{attribute}", "longform.rewards")
    assert str(raised.value).startswith(f"{name}:{attribute}: ")
    assert "\n" not in str(raised.value)


def test_a_module_that_is_not_there_is_named(write):
    with pytest.raises(BadInputError, match=r"^nowhere\.deep:x: there is no module 'nowhere' in the current folder"):
        load_plugin("nowhere.deep:x", "longform.rewards")
    with pytest.raises(BadInputError, match=r"a plugin is written module\.path:Name"):
        load_plugin("nowhere:", "longform.rewards")


def test_the_hash_and_version_say_where_a_plugin_came_from(write, tmp_path, install):
    name = write("def f(prompt, response, reference): return 1")
    plugin = load_plugin(f"{name}:f", "longform.rewards")
    assert (plugin.version, plugin.file) == ("", str(tmp_path / f"{name}.py"))
    before = plugin.source_sha256
    with (tmp_path / f"{name}.py").open("a") as file:
        file.write("# changed")
    assert load_plugin(f"{name}:f", "longform.rewards").source_sha256 != before
    install("verses", "def f(prompt, response, reference): return 1", "[longform.rewards]\nverse = verses:f\n")
    assert "verse" in plugin_names("longform.rewards")
    assert load_plugin("verse", "longform.rewards").version == "2.5"


def test_a_module_of_an_installed_package_has_its_version():
    assert load_plugin("yaml.nodes:Node", "longform.rewards").version == version("PyYAML")


def test_a_name_that_two_packages_offer_has_to_be_chosen(install):
    install("one", "f = 1", "[longform.rewards]\nsame = one:f\n")
    install("two", "f = 1", "[longform.rewards]\nsame = two:f\n")
    with pytest.raises(
        BadInputError, match=r"several packages offer it in longform[.]rewards; choose one of one:f, two:f"
    ):
        load_plugin("same", "longform.rewards")


def test_an_unknown_name_gets_the_nearest_one(install):
    install("three", "f = 1", "[longform.judges]\nverses = three:f\n")
    with pytest.raises(BadInputError, match=r"available: verses, or module\.path:Name; did you mean 'verses'\?"):
        load_plugin("verse", "longform.judges")


def test_reading_a_recipe_does_not_import_its_plugin(write, tmp_path):
    name = write("raise RuntimeError('imported')")
    text = "policy: p\ndata: {prompts: x}\nrun: {name: r, steps: 1}\n"
    text += f"rewards: [{{kind: '{name}:f', settings: {{a: 1}}}}]"
    (tmp_path / "recipe.yaml").write_text(text)
    for load in (load_recipe, load_stored_recipe):
        (reward,) = load(tmp_path / "recipe.yaml", Recipe).rewards
        assert isinstance(reward, PluginRewardSettings)
        assert (reward.kind, reward.settings) == (f"{name}:f", {"a": 1})
    assert name not in sys.modules


def test_a_stored_recipe_may_name_a_reward_that_is_not_installed_here(tmp_path):
    (tmp_path / "recipe.yaml").write_text(
        "policy: p\ndata: {prompts: x}\nrun: {name: r, steps: 1}\nrewards: [{kind: gone}]"
    )
    assert load_stored_recipe(tmp_path / "recipe.yaml", Recipe).rewards[0].kind == "gone"
    with pytest.raises(BadInputError, match="unknown reward 'gone'"):
        load_recipe(tmp_path / "recipe.yaml")


def test_functions_and_classes_sync_and_async_are_rewards(write):
    name = write(
        """
from longform import RewardResult
import threading
def sync(prompt, response, reference): return len(response.split()) / 10
async def later(prompt, response, reference, *, factor): return factor * len(response)
class Kept:
    built = 0
    def __init__(self, base): Kept.built += 1; self.base = base
    def __call__(self, prompt, response, reference, **meta): return self.base + len(meta)
class Later:
    async def __call__(self, prompt, response, reference): return RewardResult(0.25, "win")
def where(prompt, response, reference): return float(threading.current_thread() is threading.main_thread())
def none(prompt, response, reference): return None
def seen(prompt, response, reference, step, topic, *, criteria):
    return RewardResult(1.0, cause=f"{prompt}|{response}|{reference}|{step}|{topic}|{criteria}")
"""
    )
    assert _score(_reward(f"{name}:sync")).score == 0.3
    assert _score(_reward(f"{name}:later", factor=2)).score == 10
    kept = _reward(f"{name}:Kept", base=3)
    assert [_score(kept).score for _ in range(3)] == [3 + 5] * 3  # prompt_id, step, criteria, length_range, topic
    assert sys.modules[name].Kept.built == 1
    assert _score(_reward(f"{name}:Later")) == RewardResult(0.25, "win")
    assert _score(_reward(f"{name}:where")).score == 0, "a sync reward runs in a thread"
    assert _score(_reward(f"{name}:none")) == RewardResult(None, cause=DECLINED)
    assert _score(_reward(f"{name}:seen")).cause == "Write a tale|a b c|ref|4|rain|vivid"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return 'good'", r"returned str; expected a finite number, None or a RewardResult \(written_\d+\.py:1\)"),
        ("return True", "returned bool"),
        ("return float('nan')", r"returned nan \(float\)"),
        ("return float('inf')", r"returned inf \(float\)"),
        ("\n  x = {}\n  return x['a']", r"KeyError: 'a' \(written_\d+\.py:3\)"),
        ("raise StopIteration", r"StopIteration \(written_\d+\.py:1\)"),
        ("raise SystemExit(2)", r"SystemExit: 2 \(written_\d+\.py:1\)"),
        ("raise ValueError('two\\nlines')", "ValueError: two lines"),
    ],
)
@pytest.mark.parametrize("prefix", ["", "async "])
def test_a_reward_that_fails_stops_the_run_with_one_line(write, body, message, prefix):
    if prefix and "StopIteration" in body:
        message = "RuntimeError: coroutine raised StopIteration"
    name = write(f"{prefix}def f(prompt, response, reference): {body}")
    with pytest.raises(StoppedError, match=message) as raised:
        _score(_reward(f"{name}:f"))
    assert str(raised.value).startswith(f"reward {name}:f: ")
    assert "\n" not in str(raised.value)
    with pytest.raises(BadInputError, match=message):
        try_rewards([PluginRewardSettings(kind=f"{name}:f")], PROMPT)


@pytest.mark.parametrize(
    ("source", "settings", "message"),
    [
        ("def f(prompt, response): return 1", {}, "too many positional arguments"),
        ("def f(prompt, response, reference): return 1", {"share": 2}, "unexpected keyword argument 'share'"),
        ("def f(prompt, response, reference): return 1", {"prompt": 2}, "multiple values for argument 'prompt'"),
        ("f = 3", {}, "expected a function or a class, not int"),
        ("class f:\n  def __init__(self, share): ...", {"share": 1}, "the class has no __call__"),
        (
            "class f:\n  def __call__(self, prompt, response, reference): ...",
            {"share": 1},
            "takes no arguments|unexpected",
        ),
        (
            "class f:\n  def __init__(self, a): ...\n  def __call__(self, p, r, f): ...",
            {},
            "missing a required argument: 'a'",
        ),
        ("class f:\n  def __call__(self, prompt): ...", {}, "too many positional arguments"),
    ],
)
def test_a_plugin_that_cannot_be_a_reward_is_refused_before_it_runs(write, source, settings, message):
    name = write(source)
    with pytest.raises(BadInputError, match=message):
        load_reward(PluginRewardSettings(kind=f"{name}:f", settings=settings))


def test_a_constructor_that_raises_is_named_with_its_line(write):
    name = write("class f:\n  def __init__(self):\n    1 / 0\n  def __call__(self, prompt, response, reference): ...")
    with pytest.raises(BadInputError, match=r"ZeroDivisionError: division by zero \(written_\d+\.py:3\)"):
        _reward(f"{name}:f")


def test_the_dry_run_calls_a_reward_once_and_says_what_it_returned(write):
    name = write("calls = []\ndef f(prompt, response, reference): calls.append(response); return 0.5")
    (line,) = try_rewards([PluginRewardSettings(kind=f"{name}:f")], PROMPT)
    assert sys.modules[name].calls == ["Write a tale"]
    assert line.startswith(f"reward {name}:f (source ")
    assert line.endswith("returned 0.5 for a sample of prompt 'p7'")


def test_a_worker_with_another_current_folder_finds_the_module(tmp_path, write, monkeypatch):
    name = write("def f(prompt, response, reference): return 0.5")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    settings = [PluginRewardSettings(kind=f"{name}:f")]
    rewards = build_rewards(settings, {}, secret=b"", seed=0, folder=tmp_path)
    response = parse_response("x", "off")
    results = asyncio.run(rewards.score(PROMPT, response=response, reference="", step=1))
    assert results == {f"{name}:f": RewardResult(0.5)}


BENCHMARK = """
from longform.evaluation.benchmarks.longwrite_ruler import LongWriteRuler
class Mine(LongWriteRuler): ...
class Other: ...
"""


def test_benchmarks_of_other_packages_are_found(install, write):
    name = write(BENCHMARK)
    assert type(find_benchmark(f"{name}:Mine")).__name__ == "Mine"
    with pytest.raises(BadInputError, match="expected a subclass of"):
        find_benchmark(f"{name}:Other")
    install("rulers", BENCHMARK, "[longform.benchmarks]\nruler = rulers:Mine\nbroken = rulers:Gone\n")
    assert type(find_benchmark("ruler")).__module__ == "rulers"
    found, problems = list_benchmarks()
    assert type(found[-1]).__module__ == "rulers"
    assert len(problems) == 1
    assert problems[0].startswith("broken: ")


def test_an_unknown_benchmark_is_answered_with_the_known_ones():
    with pytest.raises(BadInputError, match="unknown benchmark 'writing'; available: writingbench, "):
        find_benchmark("writing")
    assert plugins.is_attribute("a.b:C") and not plugins.is_attribute("a.b") and not plugins.is_attribute("a:b:c")


def test_a_function_that_is_not_written_in_python_is_called_with_the_three_texts_alone():
    with pytest.raises(StoppedError, match="builtins:max: returned str; expected a finite number"):
        _score(_reward("builtins:max"))
    plugin = load_plugin("builtins:max", "longform.rewards")
    check_signature(plugin, {})
    assert (plugin.version, plugin.file) == ("", "")
    with pytest.raises(BadInputError, match=r"^builtins:maxi: the module has no 'maxi'; did you mean 'max'\?$"):
        load_plugin("builtins:maxi", "longform.rewards")
