"""Choose points whose attention and affinity are worth a look."""

import cv2
import numpy as np


def query_points(
    size: tuple[int, int], num_queries: int, label: np.ndarray | None = None
) -> list[tuple[int, int]]:
    """Choose query points: the inmost pixel of each class, or a diagonal without a label map.

    Foreground classes come first, the largest before the others, then the background; points that
    are still missing lie on the diagonal.

    Args:
        size: height and width of the image.
        num_queries: number of points.
        label: (H, W) true classes, 255 ignored; None if there is no mask.

    Returns:
        (y, x) of ``num_queries`` points.
    """
    height, width = size
    points: list[tuple[int, int]] = []
    if label is not None:
        classes, areas = np.unique(label[label != 255], return_counts=True)
        order = sorted(zip(classes, areas, strict=True), key=lambda pair: (pair[0] == 0, -pair[1]))
        points = [inmost_pixel(label == cls) for cls, _ in order[:num_queries]]
    for index in range(len(points), num_queries):
        share = (index + 1) / (num_queries + 1)
        points.append((int(height * share), int(width * share)))
    return points


def inmost_pixel(mask: np.ndarray) -> tuple[int, int]:
    """Return the pixel of a mask that is furthest from its edge; the image's edge counts."""
    padded = np.pad(mask.astype(np.uint8), 1)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1]
    y, x = np.unravel_index(int(distance.argmax()), distance.shape)
    return int(y), int(x)
