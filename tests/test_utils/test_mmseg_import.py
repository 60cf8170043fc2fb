import subprocess
import sys

from afa.utils import mmseg_import


def test_import_of_afa_is_quiet_and_imports_nothing_heavy(repo):
    heavy = {"cv2", "matplotlib", "mmcv", "mmengine", "mmseg", "numpy", "torch"}
    code = f"import afa, sys; found = {heavy} & set(sys.modules); assert not found, found"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=repo)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_import_of_mmseg_is_quiet(repo):
    code = "from afa.utils.mmseg_import import import_mmseg_quietly as q; q(); q()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=repo)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_other_output_is_passed_on(monkeypatch, capsys):
    def talk(name):
        print("Could not import OneDL")
        print(f"hello from {name}")

    monkeypatch.setattr(mmseg_import, "_done", False)
    monkeypatch.setattr(mmseg_import.importlib, "import_module", talk)
    mmseg_import.import_mmseg_quietly()
    said = capsys.readouterr().out
    assert "hello from mmseg.models" in said and "OneDL" not in said
