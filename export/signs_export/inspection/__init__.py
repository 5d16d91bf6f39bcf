"""What a model wants to see, measured on labelled pictures: scaling, colours, reading, and the order of its labels."""
