"""The Triton kernels of :mod:`afa.models.refiners.par_triton`; importing this needs Triton."""

# Triton reads annotations of a kernel as types of its own: only tl.constexpr stands here.
# mypy: disable-error-code="no-untyped-def"

import triton
import triton.language as tl


@triton.jit
def par_weights(image, weights, step_y, step_x, position, H, W, inverse, K: tl.constexpr,
                BLOCK: tl.constexpr):  # fmt: skip
    """Write softmax(k_c) + position weights of a tile of BLOCK pixels: grid (tiles, B).

    Four passes over the neighbours: mean, variance, maximum with the sum of exponentials, result.
    """
    b = tl.program_id(1)
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = pixel < H * W
    y, x = pixel // W, pixel % W
    image += b * 3 * H * W
    i0 = tl.load(image + pixel, inside, 0.0)
    i1 = tl.load(image + H * W + pixel, inside, 0.0)
    i2 = tl.load(image + 2 * H * W + pixel, inside, 0.0)
    m0, m1, m2 = i0 * 0, i0 * 0, i0 * 0
    for k in range(K):
        near = _near(y, x, tl.load(step_y + k), tl.load(step_x + k), H, W)
        m0 += tl.load(image + near, inside, 0.0) - i0
        m1 += tl.load(image + H * W + near, inside, 0.0) - i1
        m2 += tl.load(image + 2 * H * W + near, inside, 0.0) - i2
    m0, m1, m2 = m0 / K, m1 / K, m2 / K
    v0, v1, v2 = i0 * 0, i0 * 0, i0 * 0
    for k in range(K):
        near = _near(y, x, tl.load(step_y + k), tl.load(step_x + k), H, W)
        d0 = tl.load(image + near, inside, 0.0) - i0 - m0
        d1 = tl.load(image + H * W + near, inside, 0.0) - i1 - m1
        d2 = tl.load(image + 2 * H * W + near, inside, 0.0) - i2 - m2
        v0, v1, v2 = v0 + d0 * d0, v1 + d1 * d1, v2 + d2 * d2
    s0 = inverse / (tl.sqrt(v0 / (K - 1)) + 1e-8)
    s1 = inverse / (tl.sqrt(v1 / (K - 1)) + 1e-8)
    s2 = inverse / (tl.sqrt(v2 / (K - 1)) + 1e-8)
    best = i0 * 0 - float("inf")
    total = i0 * 0
    for k in range(K):
        near = _near(y, x, tl.load(step_y + k), tl.load(step_x + k), H, W)
        kernel = _kernel(image, near, inside, H * W, i0, i1, i2, s0, s1, s2)
        higher = tl.maximum(best, kernel)
        total = total * tl.exp(best - higher) + tl.exp(kernel - higher)
        best = higher
    for k in range(K):
        near = _near(y, x, tl.load(step_y + k), tl.load(step_x + k), H, W)
        kernel = _kernel(image, near, inside, H * W, i0, i1, i2, s0, s1, s2)
        value = tl.exp(kernel - best) / total + tl.load(position + k)
        tl.store(weights + (b * K + k) * H * W + pixel, value, inside)


@triton.jit
def par_average(masks, weights, out, step_y, step_x, M, H, W, K: tl.constexpr, TILE: tl.constexpr,
                BLOCK: tl.constexpr):  # fmt: skip
    """Average TILE masks of a tile of BLOCK pixels over K neighbours: grid (tiles, M / TILE, B)."""
    b = tl.program_id(2)
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = tl.program_id(1) * TILE + tl.arange(0, TILE)
    inside = pixel < H * W
    y, x = pixel // W, pixel % W
    place = (b * M + mask)[:, None] * H * W
    valid = (mask < M)[:, None] & inside[None, :]
    total = tl.full((TILE, BLOCK), 0.0, tl.float32)
    for k in range(K):
        near = _near(y, x, tl.load(step_y + k), tl.load(step_x + k), H, W)
        share = tl.load(weights + (b * K + k) * H * W + pixel, inside, 0.0).to(tl.float32)
        value = tl.load(masks + place + near[None, :], valid, 0.0).to(tl.float32)
        total += share[None, :] * value
    tl.store(out + place + pixel[None, :], total, valid)


@triton.jit
def _near(y, x, dy, dx, H, W):
    """Give the index of the neighbour at a step, edges replicated."""
    near_y = tl.minimum(tl.maximum(y + dy, 0), H - 1)
    near_x = tl.minimum(tl.maximum(x + dx, 0), W - 1)
    return near_y * W + near_x


@triton.jit
def _kernel(image, near, inside, plane, i0, i1, i2, s0, s1, s2):
    """Give k_c of one neighbour."""
    d0 = (tl.load(image + near, inside, 0.0) - i0) * s0
    d1 = (tl.load(image + plane + near, inside, 0.0) - i1) * s1
    d2 = (tl.load(image + 2 * plane + near, inside, 0.0) - i2) * s2
    return -(d0 * d0 + d1 * d1 + d2 * d2) / 3
