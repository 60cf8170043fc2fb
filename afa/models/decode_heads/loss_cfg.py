"""The loss that a segmentation head has when its config names none."""


def loss_or_default(loss_decode: dict | list | None) -> dict | list:
    """Give the config of the loss, by default cross-entropy over the labelled pixels.

    mmseg's own default divides by all pixels, those with label 255 too.
    """
    return loss_decode or dict(type="CrossEntropyLoss", avg_non_ignore=True)
