"""Recipes and what follows them: batches, augmentation, epochs, checkpoints, devices."""
