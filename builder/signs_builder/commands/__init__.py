"""The commands that train and look at models; Keras is imported when one runs."""
