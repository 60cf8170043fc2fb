"""Compare a mask with its photo before both are changed together."""


def check_mask_sizes(results: dict) -> None:
    """Refuse masks of another size than their photo.

    mmcv's resize would stretch such a mask to the size that the photo gets, and a crop would cut it
    elsewhere: either way labels would silently come to lie on other pixels.

    Args:
        results: What the pipeline has gathered; ``seg_fields`` names the masks.

    Raises:
        ValueError: If a mask has another size.
    """
    height, width = results["img"].shape[:2]
    for key in results.get("seg_fields", []):
        mask_h, mask_w = results[key].shape[:2]
        if (height, width) != (mask_h, mask_w):
            raise ValueError(
                f"The mask '{results.get('seg_map_path')}' is {mask_w} x {mask_h} pixels where its "
                f"photo is {width} x {height}: they must be of one size, and loaded before any "
                "resize."
            )
