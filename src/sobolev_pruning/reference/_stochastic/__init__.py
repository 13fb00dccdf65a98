"""References that are simulated: models, schemes, payoffs, noise, and how derivatives are labelled."""
