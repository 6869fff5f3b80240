"""The sentences of findings, with their headings in the order of the page: a number stands where {a name} is."""

from types import MappingProxyType

USES, ATTACKED, BETTER, LIMITS = "uses", "attacked", "better", "limits"
HEADINGS = MappingProxyType(
    {
        USES: "What the network uses",
        ATTACKED: "What the attack changed",
        BETTER: "Which is better",
        LIMITS: "What this cannot say",
    }
)
NETWORK = "The network"
GUESSING = "The network, not shown to be better than chance,"
USED, NOT_USED = "uses", "is not shown to use"

WHERE = MappingProxyType(  # of a zone; "in the centre" and the like otherwise
    {"top": "at the top", "bottom": "at the bottom", "left": "on the left", "right": "on the right"}
)
ZONE = (
    "{network} {uses} the {zone} of the image: a {unit} there, {done}, lowers the log-odds of {odds} by {size}, "
    "{beyond} beyond one elsewhere in the same images ({count}). P({label}) changes by {there} there and by "
    "{elsewhere} elsewhere{predicted}."
)
ZONE_PREDICTED = "; P(predicted class) by {there} and {elsewhere}"
BEYOND_FRAME = " Beyond what its frame alone does, it changes them by {frame}."
NO_ZONE = (
    "No zone of the image is shown to matter more than the rest: a {unit} {where}, {done}, where the effect is "
    "strongest, changes the log-odds of {odds} by {size}, by {beyond} beyond one elsewhere ({count})."
)
NOTHING = "No {unit}, {done}, changes P({label}): each effect is 0.000 ({count})."
FEW_UNITS = (
    "{network} relies on {few} of {units} units: chosen on half of the images, they have {share} of the size of all "
    "effects on the other half ({equal:.2f} if all units mattered alike). Setting the first, {unit}, changes the "
    "log-odds of {odds} by {size}, P({label}) by {effect} ({count})."
)
OBJECT = "{network} {uses} the {object}: {doing} {change}{control}; P({label}) changes by {probability} ({count})."
BEYOND_UNITS = ", {beyond} beyond {unit}s that touch no object"
MINUS_UNITS = " (minus {unit}s that touch no object, {beyond})"
TRUE_OBJECT = "taking it away"
PAINTED_BOX = "painting its box{fill}, beyond boxes of its size elsewhere,"
PAINTED_UNIT = "the {unit} over it, {done},"
MASK = (
    "{network} {uses}: {done}, the log-odds of {label} change in size by {difference} inside minus {where}, "
    "paired ({count}); P({label}) by {inside} inside and {outer} {where}, difference {probability}."
)
MASK_USES = MappingProxyType(
    {
        1: "uses {mask} more than {other}",
        0: "is not shown to use {mask} more than {other}",
        -1: "uses {mask} less than {other}",
    }
)
MASK_OTHERS = MappingProxyType(
    {"moved": ("the same mask moved elsewhere", "moved"), "outside": ("all outside it", "outside")}
)
CELLS_OF_PICTURE = (
    "{name}: {cells} {where}, {done}, {take} off P({label}) = {control}; the other {rest} change it by {elsewhere} "
    "on average (one picture, so no interval)."
)
NO_CELLS_OF_PICTURE = (
    "{name}: no {unit}, {done}, takes more than {size} off P({label}) = {control} (one picture, so no interval)."
)

SUCCESS = "{attack} succeeds on {share} of the images that were predicted rightly before ({count})."
SUCCESS_UNLABELLED = "{attack} changes the predicted class of {share} of the images ({count})."
CHANGED = (
    "Under {attack} the effect of {subject} on the log-odds of {odds} {verdict}: {clean} becomes {attacked}, change "
    "{change}, paired ({count})."
)
STRONGER, WEAKER, AS_BEFORE = "grows", "shrinks", "is not shown to change"
AUROC = (
    "On successfully attacked images |expected effect| is {how} that on clean ones (AUROC {area}; {attack}; {count})."
)

AGAINST_RANDOM = "Against a random map, paired: {verdicts} ({count})."
RANDOM_VERDICTS = MappingProxyType({1: "better", 0: "not shown to be better", -1: "worse"})
AT_CHANCE = (
    "Whether the network has learnt its classes: it is not shown to be better than chance ({number}; {count}){maps}."
)
AT_CHANCE_MAPS = ", so none of its maps is named the better one"
NO_LABELS = "Whether the network is right about these images: they have no labels."
NO_AVERAGE = "What it uses on average: too few images for one ({count}), so each sentence is about one picture."
ONE_FILL = "Whether another fill agrees: one alone was painted, {fill}. A refuter tries a second one."
NO_REFUTER = "Whether the effects stand: no refuter was run."
NO_NOISE = "Whether noise of the same size changes effects as the attack does: no noise was measured."
NO_ADAPTIVE = "Whether an attacker who knows the detector gets past it: no adaptive attack was run."
NO_RANDOM_MAP = "Whether the maps are better than no explanation: there is no random map among them."
NO_ROWS = "What it uses in which image: no effect was stored image by image."

JOBS_AT_CHANCE = "Classifiers not shown to be better than chance, so that their maps are not compared: {jobs}."
OVERLAP = "; their intervals overlap: no difference shown"
INTERACTION = "From {factor} {least} to {most} the {metric} rises with {rises}, and falls with {falls}{note}."
NOT_COMPLETED = "{count} of {jobs} jobs, left out of every number: {named}."
SLOW = "{job} took {seconds:,.0f} s, the median job {median:,.0f} s."
