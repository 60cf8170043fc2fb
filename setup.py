"""Put configs and tools into a wheel, as ``afa/.mim``; all else of the package is in setup.cfg."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithConfigs(build_py):
    """Copy configs/ and tools/ beside the modules, but not what only serves to change afa."""

    def run(self) -> None:
        """Build, then copy."""
        super().run()
        if self.editable_mode:
            return
        unwanted = shutil.ignore_patterns("__pycache__", "benchmarks", "dev", "*.sh")
        for name in ("configs", "tools"):
            target = Path(self.build_lib, "afa/.mim", name)
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(name, target, ignore=unwanted)


setup(cmdclass={"build_py": BuildWithConfigs})
