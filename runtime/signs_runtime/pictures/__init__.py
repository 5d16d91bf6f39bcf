"""A picture file, or a camera's frame, to the pixels that a model takes."""
