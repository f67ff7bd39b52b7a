"""The command ``kortex``: ``main`` holds the verbs together, one file each."""
