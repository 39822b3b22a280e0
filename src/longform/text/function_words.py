"""Function words, which recur in any prose and carry little meaning.

The lists are our own and short on purpose: a missing word makes a measure slightly less precise, while a content word in a
list would hide keyword stuffing. Chinese text is not segmented into words here: two neighbouring characters are taken for a
word. Such a pair is grammatical if it is a function word, if both of its characters are function characters, or if one of
them is a particle or a pronoun. A function character alone does not make it so: 来, 能 and 中 are in 未来, 智能 and 中国.

Traditional characters are replaced by simplified ones before these lists are consulted (`longform.text.chinese`).
"""

FUNCTION_WORDS = frozenset(
    """
    a an the this that these those such same other another each every either neither both all any some no none
    i me my mine myself you your yours yourself he him his himself she her hers herself it its itself
    we us our ours ourselves they them their theirs themselves one ones who whom whose which what
    and or but nor so yet for if then than as because since while when where why how though although unless until whether
    of in on at by to from with without within into onto upon over under above below between among through throughout
    during before after about against toward towards across along around behind beside beyond near off out up down
    be am is are was were been being have has had having do does did doing done will would shall should can could may might
    must not don t s d ll m re ve didn doesn isn aren wasn weren won wouldn couldn shouldn hadn hasn haven can cannot
    there here now just only also too very more most much many few less least own even still again once ever never always
    perhaps however thus
    """.split()  # noqa: SIM905
)

FUNCTION_CHARACTERS = frozenset(
    "的了着著过是在和与或也都就不没有这那一个们我你您他她它之其以于为而则且但因所被把将对从到向给让使"
    "吗呢吧啊呀嘛么很更最太又再还只才能会可要想得地里上下中来去说"
)

PARTICLES = frozenset("的了们我你您他她它这那吗呢吧啊呀嘛么")
"""Particles and pronouns, which form no content word with a neighbour, apart from `_CONTENT`."""

_CONTENT = frozenset("目的 标的 了解 了结 自我 我国 他乡 他国".split())  # noqa: SIM905
_FUNCTION_PAIRS = frozenset(
    """
    因为 所以 但是 可是 不过 然而 而且 并且 或者 以及 如果 假如 虽然 尽管 即使 无论 不管 只要 只有 除非 除了 为了
    由于 对于 关于 至于 于是 因此 然后 随后 接着 后来 最后 终于 已经 曾经 正在 刚刚 刚才 将要 现在 当时 这时 那时
    时候 此时 之后 之前 以后 以前 以来 之间 其中 其实 其他 另外 此外 甚至 仿佛 似乎 好像 如同 一样 一般 一直 一切
    一起 一边 一种 一次 一些 一下 一点 有些 有点 有的 有人 没有 不是 不会 不能 不要 不知 不再 不得 自己 什么 怎么
    怎样 如何 为何 哪里 哪些 谁也 那里 这里 每个 每次 各种 各个 许多 很多 非常 十分 特别 更加 越来 起来 出来 下来
    过来 回来 进来 上来 起去 出去 下去 过去 进去 回去 可以 可能 能够 应该 应当 必须 需要 大家 人们 通过 根据 按照
    作为 成为 以为 认为 只是 就是 还是 而是 都是 也是 还有 也有 却是 正是 便是 总是 像是 仍然 依然 依旧 突然 忽然
    渐渐 慢慢
    """.split()  # noqa: SIM905
)


def is_function_pair(one: str, other: str) -> bool:
    """Whether two neighbouring simplified characters are a function word or the border of one."""
    pair = one + other
    if pair in _CONTENT:
        return False
    return (
        one in PARTICLES
        or other in PARTICLES
        or (one in FUNCTION_CHARACTERS and other in FUNCTION_CHARACTERS)
        or pair in _FUNCTION_PAIRS
    )
