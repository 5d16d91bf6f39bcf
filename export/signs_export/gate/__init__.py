"""What Keras says of the pictures, and whether an export says the same."""
