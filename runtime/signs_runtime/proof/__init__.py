"""What a device is asked to prove a bundle, what it found, and what it proved before."""
