"""The sentences of findings by kind and verdict: at most 20 words and two numbers, which stand where {a name} is."""

USES, ATTACKED, BETTER, DECIDES, LIMITS = "uses", "attacked", "better", "decides", "limits"
QUESTIONS = {  # in their order on every surface
    USES: "What does it use?",
    ATTACKED: "What did the attack change?",
    BETTER: "Which is better?",
    DECIDES: "Which setting decides?",
    LIMITS: "What can't this say?",
}
SHOWN, NOT_SHOWN, UNMOVED, GUESS = "shown", "not shown", "unmoved", "guess"
SENTENCES = {
    ("object", SHOWN): "It uses the {subject}: {done}, P({label}) {moves} in {hits}, by {size}.",
    ("object", NOT_SHOWN): "Not shown to use the {subject}: {done}, P({label}) {moves} in {hits}, by {size}.",
    ("object", UNMOVED): "Not shown to use the {subject}: {done}, P({label}) stays in {hits}.",
    ("zone", SHOWN): "It uses the {subject}: {done}, P({label}) {moves} in {hits}, by {size}.",
    ("zone", NOT_SHOWN): "Not shown to use the {subject}: {done}, P({label}) {moves} in {hits}.",
    ("zone", UNMOVED): "Not shown to use any place: P({label}) stays the same in {hits}.",
    ("units", SHOWN): "Few units decide: the strongest {subject} make up {size} of the size of all effects.",
    ("units", NOT_SHOWN): "Effects are spread: the strongest {subject} make up {size} of the size of all effects.",
    ("picture", SHOWN): "{subject}: {done} its strongest {unit}, P({label}) falls from {other} to {size}.",
    ("picture", NOT_SHOWN): "{subject}: {done} any {unit}, P({label}) stays near {other}, at {size} or more.",
    ("cells", SHOWN): "{subject}: {done} the {cells} that count most, P({label}) falls from {other} to {size}.",
    ("cells", NOT_SHOWN): "{subject}: {done} the {cells} that count most, P({label}) stays near {other}, at {size}.",
    ("picture", GUESS): "{subject} is a guess: P({label}) is {size}; the next, {rival}, {other}.",
    ("attack", SHOWN): "{subject} turned {hits} right answers.",
    ("attack", UNMOVED): "{subject} turned none of {images} right answers.",
    ("attack", "unlabelled"): "{subject} changed {hits} answers.",
    ("change", NOT_SHOWN): "Under attack the {subject} is not shown to count otherwise: {size}, {other} if clean.",
    ("change", "more"): "Under attack the {subject} counts more: {size}, against {other} in the clean images.",
    ("change", "less"): "Under attack the {subject} counts less: {size}, against {other} in the clean images.",
    ("change", "reversed"): "Under attack the {subject} counts for the opposite: {size}, against {other} when clean.",
    ("detector", SHOWN): "{subject} beats {rival}: {measure} {size} against {other} on {family}, its weakest.",
    ("detector", NOT_SHOWN): "{subject} is not shown to beat {rival}: {measure} {size} against {other} on {family}.",
    ("detector", "alone"): "{subject} has its lowest {measure}, {size}, on {family}.",
    ("adaptive", SHOWN): "An attacker who knows {subject} gets past it in {size} of the images, within {budget}.",
    ("maps", SHOWN): "{subject} beats {rival} in {metric}: {size} against {other}.",
    ("maps", NOT_SHOWN): "{subject} and {rival} are not shown to differ in {metric}: {size} and {other}.",
    ("compared", "higher"): "{subject} is higher with {rival} than with {reference}, by {size}.",
    ("compared", "lower"): "{subject} is lower with {rival} than with {reference}, by {size}.",
    ("compared", NOT_SHOWN): "{subject} is not shown to differ with {rival} and with {reference}.",
    ("compared", UNMOVED): "No number differs between {subject} and {reference}.",
    ("range", SHOWN): "{subject} is {other} to {size} over all settings.",
    ("range", UNMOVED): "{subject} is {size} in all settings.",
    ("factor", "number"): "{subject} moves {metric}: {other} at its lowest, {size} at its highest.",
    ("factor", "name"): "{subject}: {metric} is higher with {most} than with {least}, {size} against {other}.",
    ("limit", "chance"): "Whether it has learnt its classes: {subject} {size} is not shown to beat chance, {other}.",
    ("limit", "labels"): "Whether it is right about these images: they have no labels.",
    ("limit", "average"): "What it uses on average: the images are too few for that.",
    ("limit", "rows"): "What it uses in which image: no effect was stored image by image.",
    ("limit", "fill"): "Whether another fill agrees: {subject} alone was painted.",
    ("limit", "refuter"): "Whether the effects stand: no refuter was run.",
    ("limit", "noise"): "Whether noise of the same size does what the attack does: none was measured.",
    ("limit", "adaptive"): "Whether an attacker who knows the detector gets past it: no adaptive attack was run.",
    ("limit", "random map"): "Whether the maps beat no explanation: there is no random map among them.",
    ("limit", "jobs at chance"): "Which map is better in jobs not shown to beat chance: {hits}.",
    ("limit", "not completed"): "{hits} jobs are not completed, and left out of every number.",
}
MOVES = {-1: "falls", 1: "rises", 0: "stays"}
AUROC_OF_LABEL, AUROC_ALONE, BALANCED = "largest AUROC of a label", "AUROC", "balanced accuracy"
DETECTION_MEASURES = {"tpr_5": "detection rate", "auroc": "AUROC"}
PASSED, FAILED, UNDECIDED = "passed", "failed", "not decided"
EPSILON_IN = "Epsilon is of the norm {norms}."
VARIANCE = "Share of the variance over the jobs: {shares}."
