"""The commands that train and show models. Each imports Keras only when it runs."""
