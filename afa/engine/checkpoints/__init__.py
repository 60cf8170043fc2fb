"""Read, fit and go on from checkpoints, and the config that they carry."""
