"""What a classifier's probabilities are worth: a temperature that makes them true, and below what they say nothing."""
