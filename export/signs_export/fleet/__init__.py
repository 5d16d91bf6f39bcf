"""Many devices at once: what each found of itself, read and summed up."""
