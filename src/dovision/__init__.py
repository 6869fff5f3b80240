"""do-calculus for vision models: the causal effect of interventions on image classifiers."""
