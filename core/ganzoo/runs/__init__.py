"""What a training writes: run folders, checkpoints and model cards, and how they are found and read."""
