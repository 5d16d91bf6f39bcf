"""What goes onto a device: a bundle with all that it needs there."""
