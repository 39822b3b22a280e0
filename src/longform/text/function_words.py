"""Function words, which recur in any prose and carry little meaning.

The lists are our own and short on purpose: a missing word makes a measure slightly less precise, while a content word in a
list would hide keyword stuffing. Chinese text is not segmented into words here, so the Chinese list consists of characters
that are grammatical in almost every word that contains them.
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
    "的了着过是在和与或也都就不没有这那一个们我你您他她它之其以于为而则且但因所被把将对从到向给让使"
    "吗呢吧啊呀嘛么很更最太又再还只才能会可要想得地里上下中来去说"
)
