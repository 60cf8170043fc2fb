import warnings
from pathlib import Path

import pytest
from mmengine.logging import MMLogger

from afa.engine import console as module
from afa.engine.console import filter_console, warnings_in_log
from afa.engine.runner import build_runner

PACKAGE = "/opt/lib/site-packages/x/y.py"


def _log(runner):
    return Path(runner.log_dir, f"{runner.timestamp}.log").read_text()


def test_a_training_begins_with_the_users_affairs_and_the_log_has_the_rest(toy_cfg, capfd):
    toy_cfg.optim_wrapper.paramwise_cfg = dict(bias_lr_mult=2.0)
    runner = build_runner(toy_cfg)
    runner.train()
    said, errors = capfd.readouterr()
    lines = said.splitlines()
    assert f"results go to {toy_cfg.work_dir}, all settings" in lines[0]
    assert lines[0].endswith(f"{runner.timestamp}.log")
    assert "Training on 12 images of 3 classes, 6 iterations of" in lines[1]
    assert any("Iter(train) [1/6]" in line or "[6/6]" in line for line in lines)
    assert "toy/accuracy" in said
    log = _log(runner)
    # Environment, config, parameter groups, how layers were drawn, hooks; torch's schedulers.
    only_there = ("System environment", "train_dataloader = ", "paramwise_options", "toy_head.")
    for text in (*only_there, "Hooks will be executed", "will be deprecated"):
        assert text in log and text not in said
    assert "UserWarning" not in errors and "optimizer.step()" not in said


def test_on_resume_the_checkpoint_is_named(toy_cfg, capfd):
    toy_cfg.train_cfg.max_iters = 3
    build_runner(toy_cfg).train()
    toy_cfg.train_cfg.max_iters = 6
    capfd.readouterr()
    build_runner(toy_cfg, resume="auto").train()
    said = capfd.readouterr().out
    assert "Load checkpoint from" in said and "resumed epoch: 0, iter: 3" in said


def _say(logger, filename, level="info"):
    """Log as if from a line of a file."""
    exec(compile(f"logger.{level}('{level}')", filename, "exec"), dict(logger=logger))


@pytest.mark.parametrize(
    ("filename", "shown", "later"),
    [
        (PACKAGE, ["error"], ["info", "error"]),
        ("/home/me/my_parts.py", ["info", "warning", "error"], ["info", "warning", "error"]),
        (str(module._OWN / "x.py"), ["info", "warning", "error"], ["info", "warning", "error"]),
    ],
)
def test_who_speaks_decides(tmp_path, capsys, filename, shown, later):
    name = f"console {tmp_path}"
    logger = MMLogger.get_instance(name, log_file=str(tmp_path / "a.log"))
    found = filter_console(logger)
    for wanted in (shown, later):
        for handler in logger.handlers:  # mmengine says no warning twice
            for one in handler.filters:
                getattr(one, "seen", set()).clear()
        for level in ("info", "warning", "error"):
            _say(logger, filename, level)
        lines = capsys.readouterr().out.splitlines()
        assert [line.split(" - ")[-1] for line in lines] == wanted
        found.started = True
    assert (tmp_path / "a.log").read_text().count("\n") == 6


def test_warnings_of_libraries_go_to_the_log_and_others_stay(tmp_path, capsys):
    logger = MMLogger.get_instance(f"warned {tmp_path}", log_file=str(tmp_path / "a.log"))
    filter_console(logger)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        told: list[str] = []
        warnings.showwarning = shown = lambda message, *given: told.append(str(message))
        with warnings_in_log(logger):
            warnings.warn_explicit("a step too early", UserWarning, PACKAGE, 7)
            warnings.warn_explicit("look here", UserWarning, "/home/me/my_parts.py", 8)
        assert warnings.showwarning is shown
    said = capsys.readouterr()
    assert said.out + said.err == "" and told == ["look here"]
    log = (tmp_path / "a.log").read_text()
    assert f"{PACKAGE}:7: UserWarning: a step too early" in log and "look here" not in log
