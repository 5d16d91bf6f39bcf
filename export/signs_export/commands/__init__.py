"""The commands that export, compare and evaluate. Keras is imported only when a command runs."""
