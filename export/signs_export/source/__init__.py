"""The Keras model as it came: what it takes, what it gives, and what it wants to see."""
