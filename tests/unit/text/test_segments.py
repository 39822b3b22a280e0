"""Paragraphs and sentences, English and Chinese."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cost import assert_linear
from longform.text.words import paragraphs, sentences

PROSE = st.text(st.sampled_from('aA .!?…\n"”。！？，文Mr'), max_size=80)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One.\n\nTwo\nlines.\n \n\n Three.", ["One.", "Two\nlines.", "Three."]),
        ("One.\nTwo.\nThree.", ["One.", "Two.", "Three."]),
        ("One.\r\n\r\nTwo.", ["One.", "Two."]),
        ("\u3000\u3000第一段。\n\u3000\u3000第二段。", ["第一段。", "第二段。"]),
        ("  \n ", []),
        ("", []),
    ],
)
def test_paragraphs_are_parted_by_blank_lines_or_else_by_line_breaks(text, expected):
    assert paragraphs(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It rained. He left! Why? Nobody knew", ["It rained.", "He left!", "Why?", "Nobody knew"]),
        ("Mr. Smith met Dr. J. K. Jones. They talked.", ["Mr. Smith met Dr. J. K. Jones.", "They talked."]),
        ("It cost 3.14 dollars, e.g. for tea. Cheap.", ["It cost 3.14 dollars, e.g. for tea.", "Cheap."]),
        ('"Stop!" he said. "Now."', ['"Stop!" he said.', '"Now."']),
        ("“Stop.” The rain fell.", ["“Stop.”", "The rain fell."]),
        (
            "He waited... and waited. So did I. Then it came.",
            ["He waited... and waited.", "So did I.", "Then it came."],
        ),
        ("A line\nthat is wrapped. Next.\n\nEnd.", ["A line\nthat is wrapped.", "Next.", "End."]),
        ("Title\n\nIt rained.", ["Title", "It rained."]),
        ("下雨了。他走了！为什么？没人知道", ["下雨了。", "他走了！", "为什么？", "没人知道"]),
        ("“走吧！”她说。", ["“走吧！”她说。"]),
        ("「走吧！」老人笑道，「快走！」門開了。", ["「走吧！」老人笑道，「快走！」", "門開了。"]),
        ("“走吧！”门开了。“去哪儿？”“回家。”", ["“走吧！”", "门开了。", "“去哪儿？”", "“回家。”"]),
        ("“我……”她低下头。雨停了……天亮了。", ["“我……”", "她低下头。", "雨停了……天亮了。"]),
        ("一是快；二是稳；三是准。", ["一是快；二是稳；三是准。"]),
        ('"Stop…" he said. "Now."', ['"Stop…" he said.', '"Now."']),
        ("他……不知道。真的？！", ["他……不知道。", "真的？！"]),
        ("他说：“走。”然后走了。", ["他说：“走。”", "然后走了。"]),
        ("他大喊“救命！”，倒下了。雨停了。", ["他大喊“救命！”，倒下了。", "雨停了。"]),
        ("她写道：“我走了。”——只有这些。", ["她写道：“我走了。”——只有这些。"]),
        ("是吗?真的!好,走吧。", ["是吗?", "真的!", "好,走吧。"]),
        ("用C++还是Go?都行。版本是?3", ["用C++还是Go?都行。", "版本是?3"]),
        ("", []),
    ],
)
def test_sentences_end_at_their_marks(text, expected):
    assert sentences(text) == expected


@given(PROSE)
def test_nothing_that_is_written_gets_lost(text):
    def squeezed(parts):
        return "".join("".join(parts).split())

    assert squeezed(sentences(text)) == squeezed(paragraphs(text)) == squeezed([text])


@pytest.mark.parametrize("seed", [".", ". ", "\n", "\n ", "A. ", "Mr. ", "。", "”", "。”他", "……”", "a.”", "…", " "])
def test_hostile_text_is_split_in_linear_time(seed):
    assert_linear(lambda length: sentences(seed * (length // len(seed))), 5_000)
