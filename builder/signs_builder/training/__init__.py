"""Training: recipes, batches, augmentation, epochs, checkpoints, devices."""
