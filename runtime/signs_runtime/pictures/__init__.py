"""The reading of pictures: from a picture file or a camera's frame to the image that a model takes."""
