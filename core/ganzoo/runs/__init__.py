"""What a training leaves: run folders, checkpoints and model cards, and how they are found and read."""
