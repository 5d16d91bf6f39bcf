"""The commands that export, compare and evaluate; Keras is imported when one runs."""
