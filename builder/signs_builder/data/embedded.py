"""The embedded data set: its name, its size and its labels, for those who need no picture of it. Imports nothing."""

SYNTHETIC = "synthetic"  # what to give as DATA
SYNTHETIC_TRAIN, SYNTHETIC_TEST = 1080, 120  # pictures, as in SIGNS
HANDS = ("0", "1", "2", "3", "4", "5")  # the labels of SIGNS: hands that show so many fingers
