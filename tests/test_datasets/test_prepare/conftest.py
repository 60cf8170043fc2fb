from collections.abc import Callable
from pathlib import Path

import pytest
from toy_voc import VOCTree

from afa.datasets.prepare import voc12_sources


@pytest.fixture
def voc_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> VOCTree:
    """A whole set of six images: the published sizes are set to its own."""
    sizes = dict(train_aug=4, train=2, val=2, trainval=4, test=1)
    monkeypatch.setattr(voc12_sources, "NUM_IMAGES", sizes)
    monkeypatch.setattr(voc12_sources, "NUM_SBD", dict(train=3, val=2))
    tree = VOCTree(tmp_path)
    tree.make()
    return tree


@pytest.fixture
def contents() -> Callable[[Path], dict[str, bytes]]:
    """Every file below a folder, by its path."""

    def read(root: Path) -> dict[str, bytes]:
        files = (path for path in root.rglob("*") if path.is_file())
        return {str(path.relative_to(root)): path.read_bytes() for path in files}

    return read
