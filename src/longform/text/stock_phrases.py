"""Words and phrases that language models use in fiction far more often than people do. English, lower case.

The lists are our own, based on what readers complain about, and short. They penalize texts that need a listed word, so use
them to compare models on the same requests.
"""

WORDS = frozenset(
    """
    tapestry tapestries testament labyrinth labyrinthine kaleidoscope symphony cacophony crescendo cadence
    shimmer shimmers shimmered shimmering glimmer glimmers glimmered glimmering glint glinted glinting gleamed gleaming
    whisper whispers whispered whispering murmur murmurs murmured murmuring hushed susurrus
    ethereal ephemeral iridescent luminous luminescent bioluminescent resplendent radiant incandescent opalescent
    gossamer velvety crystalline obsidian alabaster porcelain cerulean crimson azure amber
    unspoken unyielding unwavering unbidden unfathomable inexorable inexorably ineffable palpable tangible
    delve delves delved delving tethered untethered interwoven intertwined entwined woven weaving
    resonate resonates resonated resonating reverberate reverberated reverberating thrum thrummed thrumming
    pulsed pulsing pulsating flicker flickered flickering danced dancing coalesce coalesced coalescing
    beckon beckoned beckoning unfurl unfurled unfurling unravel unraveled unraveling unravelling
    cascade cascaded cascading swirl swirled swirling spiraled spiralling tendril tendrils
    bittersweet wistful wistfully poignant profound profoundly visceral solace reverie
    fleeting timeless eternal eternity ancient primordial eldritch arcane enigmatic
    mosaic canvas beacon crucible sanctuary sentinel sentinels relic relics shards fractured fragile fragility
    defiance defiant resilience steely stoic piercing smirk smirked chuckled quirked
    ozone petrichor sandalwood bergamot lavender
    lingered lingering loomed looming etched imbued laced tinged steeped cloaked shrouded veiled
    echo echoes echoed echoing yearning longing ache ached aching hollow
    elara lyra kael thorne seraphina elias aria isolde voss chen blackwood ravenwood eldoria aethel
    """.split()  # noqa: SIM905
)

PAIRS = frozenset(
    tuple(phrase.split())
    for phrase in """
    barely audible
    barely contained
    barely perceptible
    barely visible
    breath caught
    breath hitched
    deep breath
    shaky breath
    shuddering breath
    eyes widened
    eyes sparkling
    eyes glistening
    eyes gleaming
    knowing smile
    sad smile
    wry smile
    faint smile
    ghost smile
    heart pounding
    heart hammering
    heart raced
    pulse quickened
    jaw clenched
    knuckles white
    fists clenched
    unshed tears
    single tear
    tears streaming
    voice trembling
    voice thick
    voice cracked
    hung heavy
    hung thick
    air thick
    silence stretched
    deafening silence
    heavy silence
    comfortable silence
    dust motes
    golden light
    dappled sunlight
    pale moonlight
    setting sun
    long shadows
    neon lights
    rain soaked
    rain slicked
    weathered hands
    calloused hands
    trembling hands
    delicate dance
    intricate dance
    intricate patterns
    rich tapestry
    ancient secrets
    untold stories
    forgotten dreams
    whispered secrets
    cosmic dance
    silent promise
    silent plea
    newfound sense
    newfound determination
    newfound purpose
    quiet determination
    grim determination
    steely resolve
    renewed sense
    growing sense
    profound sense
    strange sense
    creeping dread
    bone deep
    long forgotten
    hard won
    something else
    something deeper
    something ancient
    something shifted
    """.strip().split("\n")
)

TRIPLES = frozenset(
    tuple(phrase.split())
    for phrase in """
    above a whisper
    a testament to
    a symphony of
    a tapestry of
    a kaleidoscope of
    a cacophony of
    a flicker of
    a glimmer of
    a pang of
    a wave of
    a surge of
    a sliver of
    a whisper of
    a ghost of
    a hint of
    a shiver down
    shivers down his
    shivers down her
    down his spine
    down her spine
    down my spine
    sent a shiver
    let out a
    breath she didn
    breath he didn
    breath i didn
    been holding in
    caught in his
    caught in her
    in her throat
    in his throat
    in my chest
    in her chest
    in his chest
    the weight of
    the scent of
    the hum of
    air was thick
    thick with the
    heavy with the
    hung in the
    seemed to hold
    seemed to pulse
    couldn t help
    couldn t shake
    t help but
    little did they
    little did she
    little did he
    never be the
    not just a
    in that moment
    the world outside
    the dance of
    dance of light
    voice barely above
    voice a low
    eyes never leaving
    eyes locked on
    sun dipped below
    below the horizon
    bathed in the
    casting long shadows
    cast long shadows
    etched into the
    lost in thought
    whatever came next
    something akin to
    the silence between
    """.strip().split("\n")
)

COMMON_WORDS = frozenset(
    """
    said says asked told made make makes making took take takes taken taking came come comes coming went gone going goes
    gave give given giving found find finding knew know known knows knowing thought think thinking felt feel feeling feels
    looked look looks looking seen seeing sees heard hear hearing kept keep keeping left leave leaving turned turn turning
    like liked want wanted wants need needed needs let lets back away around together ahead apart
    something anything nothing everything someone anyone everyone nobody somewhere
    time times day days night nights year years week weeks month months hour hours minute minutes moment moments morning
    afternoon evening today tomorrow yesterday
    people person man woman men women child children boy girl family friend friends mother father brother sister
    home house room door window table chair floor wall street road town city place places world life lives
    hand hands face head eyes voice body arms arm feet foot mouth hair side
    thing things word words name names story question answer part kind work money book water food light
    good better best great small little large long short high right wrong same different first last next second third early
    late young full open close closed hard easy real sure true black white
    really almost already maybe quite rather later soon since enough instead always often sometimes
    began begin started start stopped stop tried trying used using help helped called call stood stand standing walked walk
    walking sat sitting moved moving held hold holding brought bring pulled pushed
    believe remember understand happened happen became become seemed seems sound sounds wait waited waiting
    half three four five hundred thousand
    """.split()  # noqa: SIM905
)
"""Content words that are common in any prose; they are excluded from the search for overused words."""
