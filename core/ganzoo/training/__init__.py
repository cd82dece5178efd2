"""Training: the step loop, from the first step to the last."""
