"""A source's name of a language becomes a code; a guess says no more than the text shows."""

import pytest

from longform.records.errors import BadInputError
from longform.selection.languages import language_code, parse_languages
from longform.text.languages import guess_language
from longform.wording import language_of


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("English", "en"),
        ("chinese", "zh"),
        ("zh", "zh"),
        ("zh-CN", "zh"),
        ("zh_Hans", "zh"),
        ("中文", "zh"),
        ("Mandarin", "zh"),
        ("zho", "zh"),
        ("cmn-Hans", "zh"),
        ("日本語", "ja"),
        ("Klingon", "klingon"),
        ("unknown", None),
        ("Nolang", None),
        ("", None),
        (None, None),
    ],
)
def test_a_name_becomes_a_code(name, code):
    assert language_code(name) == code


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Write a 1000-word China travel guide", "en"),
        ("对于雷锋精神的推文，200字以内", "zh"),
        ("用 Python 写一个关于天气的短篇故事 in two parts", "zh"),
        ("Translate the word 龙 into English and explain it", "en"),
        ("海の物語を書いてください", "ja"),
        ("바다 이야기를 써줘", "ko"),
        ("Écris une histoire sur un chat qui aime la mer", None),
        ("Schreibe einen Aufsatz an der Uni in Berlin", None),
        ("Напиши рассказ о море", None),
        # The dominant language of a mix.
        ("请用English写一篇essay，讨论climate change", "zh"),
        ("帮我写cover letter", "zh"),
        ("帮我写一封 cover letter for a software engineer position at Google", "zh"),
        ("写一篇关于 machine learning 和 deep learning 的 blog post", "zh"),
        ("为《ノルウェイの森》写一篇书评，800字左右", "zh"),
        ("介绍动画「となりのトトロ」的创作背景", "zh"),
        ("請寫一篇關於夢想的散文", "zh"),
        ("请翻译：The quick fox jumps over the lazy dog. It was a sunny day and the fox was happy to be there.", "zh"),
        ("请用日语写：こんにちは、私は学生です。毎日学校に行きます。", "zh"),
        ("写一篇한국 드라마的影评", "zh"),
        ("英语作文：My Holiday", "zh"),
        ("写真の撮り方について", "ja"),
        ("翻訳してください", "ja"),
        ("将来の夢について書いてください", "ja"),
        ("写一篇关于韩国演员김수현的文章", "zh"),
        ("Write an essay about the Chinese character 道", "en"),
        ("Write a story titled 红楼梦 Reimagined, set in modern Beijing", "en"),
        ("红楼梦 is one of the great novels of China. Write an essay about it in English for a college class.", "en"),
        ("漢字とは何か、二千字程度で論じてください", "ja"),
        ("日本の経済成長についてレポートを書いてください", "ja"),
        ("夏目漱石「こころ」の書評", "ja"),
        ("韓國의 傳統 文化에 대한 글을 써 주세요", "ko"),
        ("한국어로 수필을 써 주세요 (漢字 포함)", "ko"),
        (
            "Please write a menu for my restaurant. "
            + "Noodles 12 yuan, garlic oil 2 yuan, fruit beer 9 yuan, hand pulled buns 8 yuan. " * 3,
            "en",
        ),
        ("Tulis cerita tentang kucing yang suka laut dan ibu yang menunggu di rumah", None),
        ("Napisz opowiadanie o kotach nad morzem dla dzieci", None),
        ("Напиши эссе об иероглифе 道", None),
        ("12345 !!", None),
        ("", None),
    ],
)
def test_a_language_is_guessed_only_where_the_text_shows_it(text, code):
    assert guess_language(text) == code


@pytest.mark.parametrize(
    ("request_", "language"),
    [
        ("漢字とは何か、二千字程度で論じてください", "en"),
        ("韓國의 傳統 文化에 대한 글을 써 주세요", "en"),
        ("Write an essay about the Chinese character 道", "en"),
        ("帮我写一封 cover letter", "zh"),
    ],
)
def test_questions_are_asked_in_the_dominant_language_or_in_english(request_, language):
    assert language_of(request_) == language


@pytest.mark.parametrize("name", ["中文", "Mandarin", "zho", "zh-CN", "Chinese", "汉语"])
def test_every_usual_name_of_chinese_keeps_chinese_prompts(name):
    assert parse_languages([name]) == {"zh"}


@pytest.mark.parametrize(
    ("name", "words"),
    [("zh-Hant", "without their script"), ("繁體中文", "without their script"), ("Klingon", "needs a code such as en")],
)
def test_a_name_that_would_drop_everything_is_refused_in_one_line(name, words):
    with pytest.raises(BadInputError, match=f"--language {name}: .*{words}"):
        parse_languages(["en", name])
