"""How a request is put to a writer that is to think first, and what is made of what it wrote."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longform.records.errors import BadInputError
from longform.records.schemas import Prompt
from longform.text.structure import Thinking
from longform.writers.settings import GenerationSettings
from longform.writers.think import ThinkPrompt, build_response

HOSTILE = "Write {request} about {0} and {}, {{x}}, %s, </answer>"


def _prompt(*messages):
    rows = [{"role": role, "content": content} for role, content in messages]
    return Prompt.model_validate({"id": "p", "prompt": rows})


@pytest.mark.parametrize(("value", "means"), [(True, "on"), (False, "off"), ("on", "on"), ("direct", "direct")])
def test_yaml_switches_are_read_as_words(value, means):
    assert GenerationSettings.model_validate({"think": value}).think == means


@pytest.mark.parametrize("bad", [{"think": 1}, {"think": "yes"}, {"think": None}, {"think_prompt": "a.txt"}])
def test_a_setting_that_means_nothing_is_refused(bad):
    with pytest.raises(ValueError, match="think"):
        GenerationSettings.model_validate(bad)


@pytest.mark.parametrize("thinking", ["on", "direct"])
def test_instruction_and_request_are_one_user_message(thinking):
    (message,) = ThinkPrompt(thinking).messages(Prompt(id="p", prompt="Write a fable."))
    assert message["role"] == "user"
    assert message["content"].endswith("\n\nWrite a fable.")
    assert "<answer>" in message["content"]
    assert ("<think>" in message["content"]) == (thinking == "on")


@pytest.mark.parametrize("thinking", ["on", "direct"])
@pytest.mark.parametrize(
    ("request_", "chinese"),
    [
        ("Write.", False),
        ("写一篇散文。", True),
        ("Write about 春.", False),
        ("帮我写 cover letter。", True),
        ("春について書いてください。", False),
        ("Écris «été»!", False),
    ],
)
def test_the_instruction_is_in_the_dominant_language_of_the_request(thinking, request_, chinese):
    prompt = Prompt(id="p", prompt=request_)
    for text in (ThinkPrompt(thinking).messages(prompt)[0]["content"], ThinkPrompt(thinking).text(prompt)):
        assert ("用户" in text) == chinese
        assert ("A user asks" in text) != chinese


def test_of_several_messages_the_last_of_the_user_is_wrapped():
    prompt = _prompt(("system", "Be brief."), ("user", "Hello."), ("assistant", "Yes?"), ("user", "Write."))
    before = prompt.messages
    messages = ThinkPrompt("on").messages(prompt)
    assert messages[:3] == before[:3]
    assert messages[3]["content"].endswith("\n\nWrite.")
    assert prompt.messages == before


def test_a_prompt_without_a_user_message_is_named():
    with pytest.raises(BadInputError, match="prompt p: has no user message"):
        ThinkPrompt("on").messages(_prompt(("system", "Be brief.")))


def test_without_a_chat_template_the_text_ends_where_the_assistant_starts():
    text = ThinkPrompt("on").text(Prompt(id="p", prompt="Write a fable."))
    assert text.endswith("\n\nUser: Write a fable.\n\nAssistant:")
    turns = ThinkPrompt("on").text(_prompt(("user", "Hello."), ("assistant", "Yes?"), ("user", "Write.")))
    assert turns.endswith("\n\nUser: Hello.\n\nAssistant: Yes?\n\nUser: Write.\n\nAssistant:")


def test_without_thinking_a_request_stays_as_it_is():
    prompt = Prompt(id="p", prompt=HOSTILE)
    assert ThinkPrompt("off").messages(prompt) == prompt.messages
    assert ThinkPrompt("off").text(prompt) == HOSTILE


@given(request=st.text(min_size=1))
def test_any_request_arrives_letter_by_letter(request):
    for text in (request, request + HOSTILE):
        prompt = Prompt(id="p", prompt=text)
        assert ThinkPrompt("on").messages(prompt)[0]["content"].endswith("\n\n" + text)
        assert ThinkPrompt("direct").text(prompt).endswith(f"\n\nUser: {text}\n\nAssistant:")
        assert ThinkPrompt("on", "a {b} {request} {c}").text(prompt) == f"a {{b}} {text} {{c}}"


def test_a_template_of_ones_own_is_the_whole_prompt(tmp_path):
    (tmp_path / "t.txt").write_text("\n<u>{request}<a>\n\n", encoding="utf-8")
    think_prompt = ThinkPrompt.read("on", tmp_path / "t.txt")
    prompt = Prompt(id="p", prompt="写。")
    assert think_prompt.text(prompt) == think_prompt.messages(prompt)[0]["content"] == "<u>写。<a>"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"Plan first.", "0 times"),
        (b"", "0 times"),
        (b"{request} {request}", "2 times"),
        (b"{ request }", "0 times"),
        (b"\xff{request}", "not UTF-8"),
        (None, "No such file"),
    ],
)
def test_a_bad_template_is_named_in_one_line(tmp_path, content, said):
    path = tmp_path / "t.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadInputError) as caught:
        ThinkPrompt.read("on", path)
    assert str(caught.value).startswith(f"{path}: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def _response(text, thinking: Thinking = "on", finish_reason="length"):
    prompt = Prompt(id="p", prompt="Write.")
    return build_response(prompt, text, thinking=thinking, model="m", sample=2, finish_reason=finish_reason)


def test_the_text_of_a_response_is_the_answer():
    response = _response("<think> plan </think>\n<answer> Once. </answer> What else?")
    assert (response.text, response.finish_reason) == ("Once.", "stop")
    assert response.meta == {"plan": "plan", "well_formed": True}
    assert response.key == ("p", "m", 2)


def test_an_answer_that_was_cut_off_says_so():
    assert _response("<answer>Once upon", "direct").finish_reason == "length"


def test_what_breaks_the_structure_is_kept_whole():
    response = _response("Once upon a time.")
    assert response.text == ""
    assert response.meta == {"plan": "", "well_formed": False, "written": "Once upon a time."}


def test_without_thinking_answer_tags_are_text():
    response = _response(" <answer>b</answer> c ", "off")
    assert (response.text, response.finish_reason, response.meta) == (" <answer>b</answer> c ", "length", {})


def test_without_thinking_the_thoughts_of_a_reasoning_model_are_not_its_text():
    response = _response("<think>a</think>\n\nb c", "off")
    assert (response.text, response.meta) == ("b c", {"thoughts": "a"})


def test_a_response_that_ends_in_its_thoughts_was_cut_off_and_has_no_text():
    response = _response("<think>a b c", "off")
    assert (response.text, response.finish_reason, response.meta) == ("", "length", {"thoughts": "a b c"})


@pytest.mark.parametrize("text", ["<answer>A day.</answer>", "<answer>\nA day.", "A day."])
def test_the_answer_of_a_model_that_was_trained_to_mark_it_is_stored_without_its_tags(text):
    """LongWriter-Zero writes `<think>...</think><answer>...</answer>` without being asked to."""
    prompt = Prompt(id="p", prompt="Write.")
    fields = {"thinking": "off", "model": "m", "sample": 0, "finish_reason": "stop"}
    assert build_response(prompt, text, thoughts="hm", **fields).text == "A day."
    assert build_response(prompt, f"<think>hm</think>\n{text}", **fields).text == "A day."
    assert build_response(prompt, text, **fields).text == text
