"""From the files as they are published to the layout that the data sets read.

Nothing is imported here: each module stands alone.
"""
