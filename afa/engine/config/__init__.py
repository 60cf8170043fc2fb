"""Read and check a config."""

from afa.engine.config.load import load_config
