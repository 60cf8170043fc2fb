"""Label maps of a whole split, from a network or from CAMs on disk; `stages.py` is the way in.

Nothing is imported here: a worker process that imports `afa.labels.folder` stays without torch.
"""
