"""Where a model runs on this device: variant, execution provider and threads, and how that was measured."""
