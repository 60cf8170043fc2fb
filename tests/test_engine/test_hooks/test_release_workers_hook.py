from types import SimpleNamespace

from afa.engine.hooks.release_workers_hook import ReleaseWorkersHook


def test_both_holders_let_the_iterator_go():
    loader = SimpleNamespace(_iterator="workers")
    loop = SimpleNamespace(dataloader_iterator=SimpleNamespace(_iterator="workers"))
    ReleaseWorkersHook().after_train(SimpleNamespace(train_dataloader=loader, train_loop=loop))
    assert loader._iterator is None
    assert loop.dataloader_iterator._iterator is None


def test_a_loop_by_epochs_has_no_iterator_of_its_own():
    loader = SimpleNamespace()
    ReleaseWorkersHook().after_train(
        SimpleNamespace(train_dataloader=loader, train_loop=SimpleNamespace())
    )
    assert not hasattr(loader, "_iterator")
