"""Close the doors by which mmengine's file reader runs code: pickles, and objects in YAML.

`mmengine.load` picks a reader by the suffix of a file: the lists of mmengine's data sets and the
YAML files that a config may inherit from go through it. Nothing of ours is pickle or YAML.
"""

from typing import Any

import yaml
from mmengine.fileio import register_handler
from mmengine.fileio.handlers import PickleHandler, YamlHandler


class _PlainYaml(YamlHandler):
    """Read YAML as data."""

    def load_from_fileobj(self, file: Any, **kwargs: Any) -> Any:
        """Read texts, numbers, lists and mappings.

        Raises:
            ValueError: If the file is no YAML, or names a Python object to be made.
        """
        del kwargs  # a loader of the caller's choice
        try:
            return yaml.safe_load(file)
        except yaml.YAMLError as error:
            if "python/" in str(error):
                raise ValueError(
                    "a YAML file names a Python object, which would run code: only plain values "
                    "are read; write a Python config if you trust it"
                ) from error
            raise ValueError(f"a YAML file is malformed ({error})") from error


class _NoPickle(PickleHandler):
    """Write pickles, as metrics of mmengine can, and read none."""

    def load_from_fileobj(self, file: Any, **kwargs: Any) -> Any:
        """Refuse.

        Raises:
            ValueError: Always.
        """
        raise ValueError("a pickle (.pkl) can run code and is not read: convert it to JSON")


def register_file_handlers() -> None:
    """Put these readers in the place of mmengine's."""
    register_handler(["yaml", "yml"])(_PlainYaml)
    register_handler(["pickle", "pkl"])(_NoPickle)
