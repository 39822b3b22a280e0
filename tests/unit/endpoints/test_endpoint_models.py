"""models.yaml: what it may say, and how it is refused."""

import pytest

from longform.endpoints.models import ModelSpec, find_model, read_models
from longform.endpoints.request import ChatRequest
from longform.records.errors import BadInputError

WHOLE = """
judge:
  base_url: https://example.org/v1/
  model: big-judge
  key_env: JUDGE_KEY
  prices: {prompt: 0.5, completion: 1.5}
  rpm: 60
  tpm: 100000
  context: 32768
  concurrency: 4
  timeout_seconds: 30
  retries: 2
writer: {base_url: "http://localhost:8000/v1", model: w}
"""


def read(tmp_path, content):
    path = tmp_path / "models.yaml"
    path.write_text(content, encoding="utf-8")
    return read_models(path)


def test_a_file_of_models_is_read_with_its_defaults(tmp_path):
    models = read(tmp_path, WHOLE)
    assert list(models) == ["judge", "writer"]
    assert models["judge"].base_url == "https://example.org/v1"
    assert models["judge"].prices is not None
    assert models["judge"].prices.cost(prompt_tokens=2_000_000, completion_tokens=1_000_000) == 2.5
    assert (models["writer"].concurrency, models["writer"].retries, models["writer"].key_env) == (16, 4, None)


def test_a_template_stands_beside_the_file_that_names_it(tmp_path):
    given = f"{{base_url: 'http://h/v1', model: m, template: {tmp_path}/b.txt}}"
    models = read(tmp_path, f"a: {{base_url: 'http://h/v1', model: m, template: in/a.txt}}\nb: {given}\n{WHOLE}")
    assert models["a"].template == tmp_path / "in" / "a.txt"
    assert models["b"].template == tmp_path / "b.txt"
    assert models["judge"].template is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a: {model: m}", "a.base_url: Field required"),
        ("a: {base_url: 'localhost:8000', model: m}", "a.base_url"),
        (
            "a: {base_url: 'http://h/v1', model: m, timeout: 3}",
            "a.timeout: unknown key; did you mean 'timeout_seconds'",
        ),
        ("a: {base_url: 'http://h/v1', model: m, prices: {promt: 1}}", "a.prices"),
        ("a: {base_url: 'http://h/v1', model: m, retries: -1}", "a.retries"),
        ("a: {base_url: 'http://h/v1', model: m, zzz: 1}", "known here: base_url"),
        ("a: {base_url: 'http://[', model: m}", "a.base_url: needs an address such as http://localhost:8000/v1"),
        ("a: {base_url: 'http://h:99999/v1', model: m}", "a.base_url: needs an address"),
        (
            "a: {base_url: 'http://h/v1?api-version=1', model: m}",
            "a.base_url: holds a query; write its parameters under",
        ),
        (
            "a: {base_url: 'http://h/v1', model: m, headers: {'X Org': o}}",
            "a.headers: 'X Org' is not the name of a header",
        ),
        ('a: {base_url: "http://h/v1", model: m, headers: {X-Org: "a\\nb"}}', "the value of 'X-Org' cannot be sent"),
        (
            "models: {a: {base_url: 'http://h/v1', model: m}}",
            "models: not needed; write the names of the models at the top",
        ),
        ("a: 3", "a."),
        ("- a", "defines no models"),
        ("", "defines no models"),
        ("a: [", "not YAML"),
    ],
)
def test_a_wrong_file_is_one_line_naming_file_and_field(tmp_path, content, words):
    with pytest.raises(BadInputError) as caught:
        read(tmp_path, content)
    message = str(caught.value)
    assert message.startswith(str(tmp_path / "models.yaml"))
    assert words in message
    assert "\n" not in message


def test_a_template_that_is_gone_is_named_where_its_content_decides(tmp_path):
    (judge, _) = read(tmp_path, WHOLE.replace("model: big-judge", "model: big-judge\n  template: own.txt")).values()
    with pytest.raises(BadInputError, match=r"own\.txt: the template cannot be read: No such file"):
        _ = judge.settings_of_answers
    (tmp_path / "own.txt").write_text("{request} {text}")
    assert len(judge.settings_of_answers["template_sha256"]) == 1


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(BadInputError, match=r"nowhere\.yaml: cannot be read: .*`longform init` writes an example"):
        read_models(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize("field", ["key", "key_env"])
def test_a_key_written_into_the_file_is_refused_and_not_shown(tmp_path, field):
    with pytest.raises(BadInputError) as caught:
        read(tmp_path, f"a: {{base_url: 'http://h/v1', model: m, {field}: sk-secret-0123}}")
    assert "key_env" in str(caught.value)
    assert "sk-secret" not in str(caught.value)


def test_an_address_is_shown_without_what_is_secret_in_it():
    spec = ModelSpec(base_url="https://user:password@example.org:81/v1", model="m", query={"token": "t"})
    assert spec.address == "https://example.org:81/v1"


def test_an_unknown_name_gets_a_suggestion(tmp_path):
    models = read(tmp_path, WHOLE)
    assert find_model(models, "judge", path="models.yaml").model == "big-judge"
    with pytest.raises(BadInputError, match="did you mean 'judge'"):
        find_model(models, "jugde", path="models.yaml")
    with pytest.raises(BadInputError, match="it defines judge, writer"):
        find_model(models, "xyz", path="models.yaml")


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("batch: true, stream: true", "judge.batch: .*not streamed"),
        ("body: {n: 3}", "judge.body: .*'n' is set by each question"),
        ("body: {messages: []}", "judge.body: .*'messages' is set by each question"),
        ("body: {max_new_tokens: 9}", "judge.body: .*`max_tokens` with `token_parameter: max_new_tokens`"),
    ],
)
def test_what_a_question_sets_itself_or_a_batch_cannot_do_is_refused(tmp_path, keys, said):
    (tmp_path / "models.yaml").write_text(f"judge: {{base_url: 'http://h/v1', model: m, {keys}}}")
    with pytest.raises(BadInputError, match=said):
        read_models(tmp_path / "models.yaml")


def test_several_samples_differ_in_their_seed_although_body_states_one():
    spec = ModelSpec(base_url="http://h/v1", model="m", body={"seed": 7})
    seeds = [
        ChatRequest.build(spec, [], temperature=0, max_tokens=5, sample=sample).parameters["seed"]
        for sample in range(3)
    ]
    assert seeds == [7, 8, 9]
