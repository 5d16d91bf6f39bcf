"""The embedded data set's name, size and labels, for code that needs none of its pictures. Imports nothing."""

SYNTHETIC = "synthetic"  # its name as DATA
SYNTHETIC_TRAIN, SYNTHETIC_TEST = 1080, 120  # pictures, as in SIGNS
HANDS = ("0", "1", "2", "3", "4", "5")  # the labels of SIGNS: the number of raised fingers
