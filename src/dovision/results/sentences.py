"""The sentences of findings, with their headings in the order of the page: a number stands where {a name} is."""

USES, ATTACKED, BETTER, LIMITS = "uses", "attacked", "better", "limits"
HEADINGS = {
    USES: "What the network uses",
    ATTACKED: "What the attack changed",
    BETTER: "Which is better",
    LIMITS: "What this cannot say",
}
NETWORK = "The network"
GUESSING = "The network, not shown to be better than chance,"
USED, NOT_USED = "uses", "is not shown to use"

# Of a zone; "in the centre" and the like otherwise.
WHERE = {"top": "at the top", "bottom": "at the bottom", "left": "on the left", "right": "on the right"}
MOST_GROUPS = "{verb} P({label}) in {hits} of {clusters} {groups} {share}, median {median}, from {least} to {most}"
ZONE = (
    "{network} {uses} the {zone} of the image: a {unit} there, {done}, {spread}; one elsewhere in the same images "
    "changes it by {elsewhere} on average. It lowers the log-odds of {odds} by {size}, {beyond} beyond one elsewhere "
    "({count}), and changes P({label}) by {there} on average{predicted}."
)
ZONE_PREDICTED = ", P(predicted class) by {there} ({elsewhere} elsewhere)"
BEYOND_FRAME = " Beyond what its frame alone does, it changes them by {frame}."
CHOSEN_AMONG = "chosen among {count:,} effects, so at {level}; "
STRONGEST_ZONE = "the strongest of the image's zones, so at {level}; "
NO_ZONE = (
    "{network} is not shown to use the {zone} of the image more than the rest: a {unit} there, {done}, {spread}. It "
    "changes the log-odds of {odds} by {size}, by {beyond} beyond one elsewhere ({count})."
)
NOTHING = "No {unit}, {done}, changes P({label}): each effect is 0.000 ({count})."
RELIES, NOT_RELIES = "relies on", "is not shown to rely on"
FEW_UNITS = (
    "{network} {relies} {few} of {units} units: chosen on half of the images, they have {share} of the size of all "
    "effects on the other half ({equal:.2f} if all units mattered alike). Setting the first, {unit}, {spread}; it "
    "changes the log-odds of {odds} by {size}, P({label}) by {effect} on average ({count})."
)
OBJECT = (
    "{network} {uses} the {object}: {doing} {spread}. It {change} the log-odds of {label} by {size}{control} "
    "({count}); P({label}) changes by {probability} on average."
)
BEYOND_UNITS = ", {beyond} beyond {unit}s that touch no object"
MINUS_UNITS = " (minus {unit}s that touch no object, {beyond})"
NO_UNITS_BEYOND = " (no control: too few images have a {unit} that touches no object)"
TRUE_OBJECT = "taking it away"
PAINTED_BOX = "painting its box{fill}, beyond boxes of its size elsewhere,"
PAINTED_UNIT = "the {unit} over it, {done},"
CHANGE_VERBS = {1: "raises", -1: "lowers", 0: "changes"}
STAYS = "does not change"
MASK_AMONG = "the largest on P of {count:,}, so at {level}; "
MASK = (
    "{network} {uses}: {done}, it {spread}; {where}, the median is {outer}. Sizes of effects on the log-odds of "
    "{label}, inside minus {where}, paired: {difference} ({count}); on P({label}): {probability} on average."
)
MASK_USES = {
    1: "uses {mask} more than {other}",
    0: "is not shown to use {mask} more than {other}",
    -1: "uses {mask} less than {other}",
}
MASK_OTHERS = {"moved": ("the same mask moved elsewhere", "moved"), "outside": ("all outside it", "outside")}
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
STRONGER, WEAKER, REVERSED, AS_BEFORE = "grows", "shrinks", "is reversed", "is not shown to change"
AUROC = (
    "On successfully attacked images |expected effect| is {how} that on the same images when clean (AUROC {paired}; "
    "{area} against all clean ones, of which the same images have {twins}; {attack}; {count})."
)
AUROC_HOW = {1: "larger than", -1: "smaller than", 0: "not shown to differ from"}
AUROC_COUNT = "n = {images:,} successfully attacked images against {clean:,} clean ones, no control for noise"
ATTACK = "{attack} at {norm} epsilon {eps}"

DETECTION_MEASURES = {"tpr_5": "TPR at 5%", "auroc": "AUROC against clean images", "auroc_noise": "AUROC against noise"}
BEST_DETECTOR = "{name} {point}, of successful attacks by {family}{of} (n = {count} attacked images; {attacker})."
DETECTS, HAS = "detects {shares} of clean images rejected ({real} of the test images)", "has AUROC {area}"
WEAKEST = ", its weakest of {count} families that it was not fitted to, each by itself"
FITTED_TO = " that it was fitted to"
CAUTION = {1: "", 0: ", not shown to be separated", -1: ", below chance"}
AREA_THERE = " There its AUROC is {area}."
AREAS = (
    "{paired} against the same images when clean{caution}; {area} against all clean ones, of which these have {twins}"
)
BEST_OF = " It is the best of {count} detectors."
LEVEL_OF_BEST = " Its intervals are at {level}, for the best of {count}."
BEST_AHEAD = " It is the {among} reference on a family and whose least {measure} is not below the reference's."
ONLY_ONE, BEST_ONE = "only detector that is ahead of its", "best of {count} detectors that are ahead of their"
UNBEATEN = (
    "No detector is shown to be better than its reference in {measure}. {ahead}Of all but the reference, the best is "
    "{best}, which"
)
AHEAD_BUT_LOWER = "{name} is ahead on {families}, but its least is {number} on {family}, below the reference's least. "
REFERENCE = " The reference is {reference}."
REFERENCE_LEAST = " The reference, {reference}{fit}, has a least {measure} of {number}, on {family}."
SAME_FIT = ", fitted to the same attacks"
OTHER_FIT = " (fitted to {reference}; the detector to {detector})"
ALL_OTHERS, NO_ATTACK = "all other families", "no attack"
MINUS_REFERENCE = " Minus the reference, paired, on {family}: {numbers}."
BY_FAMILY = " By family, each by itself: {verdicts}."
FAMILY_VERDICTS = {1: "higher on", -1: "lower on", 0: "not shown to differ on"}
ADAPTIVE_ATTACKER = (
    "An attacker who knows {detector} succeeds undetected, at the threshold for 5% of clean images, on {share} of the "
    "images ({budget}; {count} attacked images){others}."
)
WORST_NORM, ONLY_NORM = (
    ", the worst norm of those tried, each by itself; {others}",
    ". No other norm was tried",
)
EPSILON_OF_NORM = "{norm} epsilon {eps:.3g}"

AGAINST_RIVAL = "The {metric} of the {name} is {verdict} that of {other} ({number}, {chosen}n = {pairs:,} maps){more}."
MAP_VERDICTS = {1: "higher than", -1: "lower than", 0: "not shown to differ from"}
MAP_CHOSEN = "the best of {count} effect maps, so at {level}, "
MAP_MORE = "; {metric}: {verdict} ({number}, n = {pairs:,})"
MORE_VERDICTS = {1: "higher", -1: "lower", 0: "no difference shown"}
LOWER_IS_BETTER = " (lower is better)"
AGAINST_RANDOM_COUNT = "difference in area; n = {pairs:,} maps"
AGAINST_RANDOM = "Against a random map, paired: {verdicts} ({count})."
RANDOM_VERDICTS = {1: "better", 0: "not shown to be better", -1: "worse"}
AT_CHANCE = (
    "Whether the network has learnt its classes: it is not shown to be better than chance ({number}, chance "
    "{chance:.3g}{shown}; {count}){maps}."
)
ABOVE_CHANCE = ", above it on {above} of {count} labels"
AUROC_OF_LABEL, AUROC_ALONE, BALANCED = "largest AUROC of a label", "AUROC", "balanced accuracy"
AT_CHANCE_MAPS = ", so none of its maps is named the better one"
NO_LABELS = "Whether the network is right about these images: they have no labels."
NO_AVERAGE = "What it uses on average: too few images for one ({count}), so each sentence is about one picture."
ONE_FILL = "Whether another fill agrees: one alone was painted, {fill}. A refuter tries a second one."
NO_REFUTER = "Whether the effects stand: no refuter was run."
NO_NOISE = "Whether noise of the same size changes effects as the attack does: no noise was measured."
NO_ADAPTIVE = "Whether an attacker who knows the detector gets past it: no adaptive attack was run."
NO_RANDOM_MAP = "Whether the maps are better than no explanation: there is no random map among them."
NO_ROWS = "What it uses in which image: no effect was stored image by image."

REFUTED = " It does not stand"  # the start of the sentence on a headline that fails a refuter
FAILS = f"{REFUTED}: of {{count}} refuters it fails {{names}}{{rest}}."
PASSES = " It passes all {count} refuters ({names}){rest}."
DECIDES_NOTHING = " Its refuters decide nothing: {reason}."
NOT_RUN = "; not run or not decided: {names}"
LEFT = ", {share:.0%} left"
PASSED, FAILED, UNDECIDED = "passed", "failed", "not decided"

COMPARED_WITH = "Compared with {reference}, {metric} is {verdicts} ({number})."
COMPARED_VERDICTS = {1: "higher with", -1: "lower with", 0: "not shown to differ with"}
COMPARED_LARGEST = "largest difference: {name}, {number}; each interval by itself"
COMPARED_SAME = "Compared with {reference}, no number differs ({metrics}; {count})."

RANGE = "Of {settings} settings, {metric} ranges from {ends}{seeds}{note}; {count}."
ALL_ALIKE = "In all {settings} settings, {metric} is {number}{seeds}; {count}."
SD_OVER_SEEDS = "; ± standard deviation over {seeds} seeds"
HIGHER_LEVEL = "The estimate of {metric} is higher with {most} than with {least} {size}{pairs}."
SAME_LEVELS = "The estimate of {metric} is the same with {least} and with {most}{pairs}."
IN_PAIRS, IN_ALL_PAIRS = " on average, and higher in {above} of {alike}", " in all {alike}"
ALIKE = "{count} pairs of settings alike in all else"
JOBS_AT_CHANCE = "Classifiers not shown to be better than chance, so that their maps are not compared: {jobs}."
OVERLAP = "; their intervals overlap: no difference shown"
INTERACTION = "From {factor} {least} to {most} the {metric} rises with {rises}, and falls with {falls}{note}."
NOT_COMPLETED = "{count} of {jobs} jobs, left out of every number: {named}."
EPSILON_IN = "Epsilon is of the norm {norms}."
MEAN_OVER = "Each number is the mean over the settings of {factors}; in brackets: the least to the most, in how many."
SLOW = "{job} took {seconds:,.0f} s, the median job {median:,.0f} s."
