"""What each measure of repetition, rewording, stuffing and copying catches on built texts, and what it wrongly flags.

    python benchmarks/redundancy_cases.py

Padded texts are an honest passage followed by sentences that say four of its twelve again. `planted` is the share of what
was put in, which a perfect measure of its kind would find. In honest texts nothing was: what is flagged there is flagged
wrongly. All texts are our own.
"""

import argparse
import re
from collections.abc import Callable
from typing import NamedTuple

from longform.text.repetition import (
    copied_share,
    repeated_ngram_share,
    repeats,
    reworded_sentence_share,
    stuffed_share,
)
from longform.text.words import count_words, sentences


class Case(NamedTuple):
    """A text, what was built into it, and what it might be copied from."""

    name: str
    text: str
    planted: float = 0.0
    source: str = ""


ENGLISH = (
    "Margit kept the lighthouse at Skarv Point for thirty-one years and never once let the lamp go out.",
    "Every evening she carried two cans of oil up the hundred and twelve steps.",
    "Her brother had drowned off the northern reef when she was nine, and nobody spoke of it at table.",
    "In the logbook she wrote down the wind, the tide and the name of each passing ship.",
    "When the harbour froze, the villagers walked across the ice to bring her bread and salted herring.",
    "A storm in the winter of the great flood broke four panes of the lantern room.",
    "She mended them with sailcloth, wax and the lid of a tobacco tin.",
    "The inspector who arrived in spring praised the repair but fined her for the missing tin.",
    "After the railway came, fewer ships passed, and the company talked of closing the station.",
    "Margit answered their letters politely and went on polishing the brass.",
    "A young engineer was sent to install an electric lamp that needed no keeper at all.",
    "On his last night she showed him the page on which her brother's boat was the first entry.",
)
ENGLISH_PADDING = {
    "verbatim": (ENGLISH[1], ENGLISH[4], ENGLISH[5], ENGLISH[10]),
    "one word changed": (
        "Every evening she carried two cans of petrol up the hundred and twelve steps.",
        "When the harbour froze, the villagers walked across the ice to bring her cheese and salted herring.",
        "A storm in the winter of the great flood smashed four panes of the lantern room.",
        "A young mechanic was sent to install an electric lamp that needed no keeper at all.",
    ),
    "clauses reordered": (
        "Up the hundred and twelve steps she carried two cans of oil every evening.",
        "The villagers walked across the ice to bring her bread and salted herring when the harbour froze.",
        "In the winter of the great flood, four panes of the lantern room were broken by a storm.",
        "To install an electric lamp that needed no keeper at all, a young engineer was sent.",
    ),
    "light paraphrase": (
        "Each evening two heavy cans of oil were carried by her up all of the hundred and twelve steps.",
        "With the harbour frozen over, villagers would walk over the ice carrying bread and herring to her.",
        "During the great flood that winter, a storm had shattered four of the lantern room's panes.",
        "They sent a young engineer, and he was to fit an electric lamp which had no need of a keeper.",
    ),
    "full paraphrase": (
        "Night after night, fuel for the light went up that long staircase in her arms.",
        "Neighbours came on foot over the frozen bay with food whenever boats could not get through.",
        "Several windows at the top of the tower were lost to a gale in the year the rivers rose.",
        "The firm dispatched a technician to fit a modern bulb that could run by itself.",
    ),
}
ENGLISH_HONEST = {
    "plain passage": " ".join(ENGLISH),
    "poem with a refrain": """The nets are hung along the wall,
the gulls have gone to rest,
and still the bell of Aldermoor
is calling from the west.

My father mended all these nets
and laid them on the quay,
and still the bell of Aldermoor
is calling out to me.

My mother salted silver fish
and sang above the foam,
and still the bell of Aldermoor
is calling no one home.

And I, who never learned to swim,
now listen for the rest,
and still the bell of Aldermoor
is calling from the west.""",
    "dialogue tags": """"You took the early train," said the old woman quietly.

"There was no other," said the young man quietly.

"You could have written first," said the old woman, shaking her head.

"I wrote in March and again in May," said the young man, shaking his head.

"Nothing came to this house," said the old woman quietly.

"Then somebody kept my letters," said the young man after a while.

"I don't think so," she said. "I don't think so at all."

"I don't know," he said. "I don't know any more."

"Sit down," she said. "Sit down and eat."

"Thank you," he said.""",
    "parallel sentences": (
        "On Monday the mill ground wheat for the baker. On Tuesday the mill ground rye for the monks. "
        "On Wednesday the mill ground barley for the brewer. On Thursday the wheel stood still for want of water. "
        "She remembered the smell of flour in her father's coat. She remembered the noise of the stones in her sleep. "
        "She remembered the miller's dog that feared the sacks. The first year they were poor. "
        "The second year they were less poor. The third year they bought a second wheel."
    ),
    "essay that returns to its topic": (
        "Public libraries lend more than books. In many towns the library is the only warm room that asks nothing of "
        "those who enter it. Critics of public libraries point to falling loans, and the figures are real. Yet loans were "
        "never the best measure of what a library gives to its town. A child who learns to read on the library floor "
        "leaves no trace in the statistics. Neither does the widower who comes for the newspaper and stays for the "
        "company. If towns close "
        "their public libraries, they will save less than one percent of their budgets. They will pay for it elsewhere, in "
        "lonely evenings and in longer queues at the surgery. So the question is not whether we can afford "
        "libraries. It is whether we have understood what they cost us when they are gone."
    ),
}
ENGLISH_REQUEST = (
    "Write a short story about a lighthouse keeper who is to be replaced by an electric lamp, and let a page of her logbook "
    "decide the ending."
)
KEYWORD = "quantum"

CHINESE = (
    "老周在渡口撑了四十年的船，从来没有让一个客人落过水。",
    "每天天不亮，他就把船板擦得干干净净，再烧一壶浓茶。",
    "他的妻子年轻时跟着戏班走了，镇上没有人当着他的面提起。",
    "账本上记着每一位赊账的乡亲，他却一次也没有去讨过。",
    "发大水的那年夏天，渡口的木桩被冲走了三根。",
    "他用旧门板和麻绳重新搭了一个码头，又用了十几年。",
    "县里来的干部夸他手艺好，临走却罚了他两块钱。",
    "后来上游修了大桥，过河的人一天比一天少。",
    "儿子从省城写信来，劝他把船卖掉，搬到楼房里去住。",
    "他把信折好压在茶壶底下，第二天照样下河。",
    "有个学画的姑娘连着来了半个月，坐在船头画对岸的芦苇。",
    "临别的时候，她把一张画送给他，画里只有一把空着的椅子。",
)
CHINESE_PADDING = {
    "verbatim": (CHINESE[1], CHINESE[4], CHINESE[8], CHINESE[10]),
    "one word changed": (
        "每天天不亮，他就把船板擦得干干净净，再烧一壶热水。",
        "发大水的那年秋天，渡口的木桩被冲走了三根。",
        "儿子从省城写信来，劝他把船卖掉，搬到平房里去住。",
        "有个学画的姑娘连着来了半个月，坐在船尾画对岸的芦苇。",
    ),
    "clauses reordered": (
        "他天不亮就烧一壶浓茶，再把船板擦得干干净净，每天如此。",
        "渡口的木桩被冲走了三根，那是发大水的那年夏天。",
        "劝他把船卖掉、搬到楼房里去住的信，是儿子从省城写来的。",
        "坐在船头画对岸的芦苇，有个学画的姑娘连着来了半个月。",
    ),
    "light paraphrase": (
        "天还没亮他就起来擦船板，擦得干干净净以后再烧上一壶浓茶。",
        "那年夏天发了大水，把渡口的三根木桩都冲走了。",
        "省城的儿子来信劝他卖掉船，搬去楼房里住。",
        "一个学画的姑娘半个月里天天来，在船头坐着画对岸的芦苇。",
    ),
    "full paraphrase": (
        "清晨的第一件事，永远是收拾甲板、泡好一壶酽茶。",
        "洪水泛滥的季节，岸边的柱子损失了好几处。",
        "远方的孩子来函，希望老人放弃这门营生，过上城里的日子。",
        "那位习艺的少女接连十几日前来，对着水边的野草写生。",
    ),
}
CHINESE_HONEST = {
    "plain passage": "".join(CHINESE),
    "poem with a refrain": """渔网晾在矮墙边，
海鸟都已睡去，
远处钟楼的钟声啊，
还在西风里响起。

父亲补过这些网，
一张张铺在码头，
远处钟楼的钟声啊，
还在催我回头。

母亲腌过银色的鱼，
唱着歌走过沙滩，
远处钟楼的钟声啊，
还在等谁靠岸。

只有我不会游泳，
坐在这里听潮汐，
远处钟楼的钟声啊，
还在西风里响起。""",
    "dialogue tags": """“你是坐早班车来的吧。”老太太低着头轻声说道。

“没有别的车了。”年轻人低着头轻声说道。

“你可以先写封信来。”老太太摇了摇头说。

“三月写过，五月又写过。”年轻人摇了摇头说。

“这屋里什么也没收到。”老太太低着头轻声说道。

“那就是有人把信留下了。”年轻人过了一会儿才说。

“我不知道。”她说，“我真的不知道。”

“我也不知道。”他说，“我也真的不知道。”""",
    "parallel sentences": (
        "星期一，磨坊替面包铺磨小麦。星期二，磨坊替寺里磨黑麦。星期三，磨坊替酒坊磨大麦。星期四没有水，轮子停了一天。"
        "她记得父亲外套上面粉的味道。她记得睡梦里石磨的响声。她记得那条害怕麻袋的狗。"
        "头一年，他们很穷。第二年，他们没有那么穷了。第三年，他们添了一个轮子。"
    ),
    "essay that returns to its topic": (
        "公共图书馆借出去的不只是书。在许多小城里，图书馆是唯一不问来意的温暖房间。反对的人说，借书量年年下降，数字并没有错。"
        "可是借书量从来不是衡量图书馆的好办法。一个在图书馆地板上学会认字的孩子，不会出现在统计表里。"
        "来看报纸、留下来聊天的老人，也不会出现在那里。如果关掉图书馆，城市省下的钱不到预算的百分之一。"
        "别的地方却要把这笔钱付出去，付在孤单的夜晚，付在医院的长队里。所以问题不是养不养得起图书馆，"
        "而是我们有没有弄明白，失去它以后要付多少代价。"
    ),
}
CHINESE_REQUEST = "请写一个短篇故事，主人公是一位在渡口撑船的老人，大桥修好以后他面临失业，请用一张画来结束全文。"
CHINESE_KEYWORD = "量子"


def cases(honest: dict[str, str], padding: dict[str, tuple[str, ...]], request: str, keyword: str) -> list[Case]:
    """All cases of one language, padded ones first."""
    passage = honest["plain passage"]
    gap = " " if passage.isascii() else ""
    padded = [
        Case(f"padded: {name}", gap.join((passage, *said_again)), len(said_again) / (12 + len(said_again)))
        for name, said_again in padding.items()
    ]
    half = gap.join(sentences(passage)[:6])
    other = honest["essay that returns to its topic"]
    twice = gap.join((request, other, request))
    return [
        *padded,
        *(Case(f"stuffed: a keyword every {every} words", *stuffed(passage, keyword, every)) for every in (12, 6)),
        Case("copied: the request, twice", twice, 2 * count_words(request) / count_words(twice), request),
        Case(
            "copied: half a reference",
            gap.join((half, other)),
            count_words(half) / count_words(half + gap + other),
            passage,
        ),
        *(Case(f"honest: {name}", text, 0.0, request) for name, text in honest.items()),
    ]


def stuffed(passage: str, keyword: str, every: int) -> tuple[str, float]:
    """A passage with a keyword after every few words, or twice as many Chinese characters, and the share that it takes."""
    parts = passage.split() if passage.isascii() else re.findall(r"\w\W*", passage)
    step, gap = (every, " ") if passage.isascii() else (2 * every, "")
    mixed = [gap.join((*parts[start : start + step], keyword)) for start in range(0, len(parts), step)]
    text = gap.join(mixed)
    return text, len(mixed) * count_words(keyword) / count_words(text)


COLUMNS: dict[str, Callable[[Case], float]] = {
    "4-grams": lambda case: repeated_ngram_share(case.text),
    "sentences": lambda case: repeats(case.text).sentences,
    "paragraphs": lambda case: repeats(case.text).paragraphs,
    "minhash": lambda case: reworded_sentence_share(case.text),
    "stuffing": lambda case: stuffed_share(case.text),
    "copying": lambda case: copied_share(case.text, case.source),
}


def main() -> None:
    """Print a table for each language."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    english = cases(ENGLISH_HONEST, ENGLISH_PADDING, ENGLISH_REQUEST, KEYWORD)
    chinese = cases(CHINESE_HONEST, CHINESE_PADDING, CHINESE_REQUEST, CHINESE_KEYWORD)
    for language, table in (("English", english), ("Chinese", chinese)):
        print(f"\n{language:<40}{'planted':>8}" + "".join(f"{name:>12}" for name in COLUMNS))
        for case in table:
            shares = "".join(f"{measure(case):>12.2f}" for measure in COLUMNS.values())
            print(f"{case.name:<40}{case.planted:>8.2f}{shares}")


if __name__ == "__main__":
    main()
