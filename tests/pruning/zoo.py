"""Small networks as people write them, many with numbers in their code that a smaller network does not fit."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

T, C, H = 3, 8, 4


def weights(**shapes):
    """Random arrays by name, none of them special."""
    keys = jax.random.split(jax.random.key(7), len(shapes))
    return {n: 0.7 * jax.random.normal(k, s) for k, (n, s) in zip(keys, shapes.items(), strict=True)}


class Net(eqx.Module):
    """Arrays by name, sizes in static fields, and what is done with them."""

    w: dict[str, jax.Array]
    run: Any = eqx.field(static=True)
    heads: int = eqx.field(static=True, default=H)
    width: int = eqx.field(static=True, default=C)
    half: int = eqx.field(static=True, default=C // 2)
    scale: int = eqx.field(static=True, default=C)

    def __call__(self, x):
        return self.run(self, self.w, x)


class Own(eqx.Module):
    """Arrays and their sizes in one module, beside a factor of the same value."""

    weight: jax.Array
    width: int = eqx.field(static=True)
    scale: int = eqx.field(static=True)

    def __call__(self, x):
        h = (self.weight @ x).reshape(self.width)
        return jnp.tanh(h / self.scale)


def project(w, x, name):
    return jnp.einsum("tc,dc->td", x, w[name])


def attend(q, k, v, scale):
    """Heads on the middle axis."""
    a = jax.nn.softmax(jnp.einsum("thd,shd->hts", q, k) * scale, axis=-1)
    return jnp.einsum("hts,shd->thd", a, v)


def heads_in_code(net, w, x):
    q, k, v = (project(w, x, n).reshape(T, 4, -1) for n in "qkv")
    return attend(q, k, v, 0.7).reshape(T, -1) @ w["o"]


def heads_in_a_field(net, w, x):
    q, k, v = (project(w, x, n).reshape(T, net.heads, -1) for n in "qkv")
    return attend(q, k, v, 0.7).reshape(T, -1) @ w["o"]


def size_of_heads_in_code(net, w, x):
    q, k, v = (project(w, x, n).reshape(T, -1, 2) for n in "qkv")
    return attend(q, k, v, 0.7).reshape(T, -1) @ w["o"]


def heads_moved_to_the_front(net, w, x):
    q, k, v = (project(w, x, n).reshape(T, net.heads, -1).transpose(1, 0, 2) for n in "qkv")
    a = jax.nn.softmax(jnp.einsum("htd,hsd->hts", q, k), axis=-1)
    return jnp.einsum("hts,hsd->htd", a, v).transpose(1, 0, 2).reshape(T, -1) @ w["o"]


def heads_on_an_axis(net, w, x):
    q, k, v = (jnp.einsum("tc,hdc->thd", x, w[n]) for n in "qkv")
    return jnp.einsum("thd,hdo->to", attend(q, k, v, 0.7), w["o"])


def scale_from_the_shape(net, w, x):
    q, k, v = (jnp.einsum("tc,hdc->thd", x, w[n]) for n in "qkv")
    return jnp.einsum("thd,hdo->to", attend(q, k, v, q.shape[-1] ** -0.5), w["o"])


def scale_by_a_root_in_jax(net, w, x):
    q, k, v = (jnp.einsum("tc,hdc->thd", x, w[n]) for n in "qkv")
    return jnp.einsum("thd,hdo->to", attend(q, k, v, 1 / jnp.sqrt(jnp.asarray(q.shape[-1], x.dtype))), w["o"])


def conv(x, kernel, groups=1):
    numbers = ("NCHW", "OIHW", "NCHW")
    return jax.lax.conv_general_dilated(
        x[None], kernel, (1, 1), "SAME", dimension_numbers=numbers, feature_group_count=groups
    )[0]


def groups_in_code(net, w, x):
    return jnp.tanh(conv(jnp.tanh(conv(x, w["a"])), w["g"], 4)).ravel() @ w["o"]


def depthwise_from_the_shape(net, w, x):
    h = jnp.tanh(conv(x, w["a"]))
    return jnp.tanh(conv(h, w["d"], h.shape[0])).ravel() @ w["o"]


def depthwise_in_code(net, w, x):
    return jnp.tanh(conv(jnp.tanh(conv(x, w["a"])), w["d"], 8)).ravel() @ w["o"]


def normalised_by_groups_in_code(net, w, x):
    h = (w["a"] @ x).reshape(4, -1)
    h = (h - h.mean(1, keepdims=True)) / jnp.sqrt(h.var(1, keepdims=True) + 1e-3)
    return (h.ravel() * w["s"]) @ w["o"]


def normalised_by_groups_of_two(net, w, x):
    h = (w["a"] @ x).reshape(-1, 2)
    h = (h - h.mean(1, keepdims=True)) / jnp.sqrt(h.var(1, keepdims=True) + 1e-3)
    return (h.ravel() * w["s"]) @ w["o"]


def layer_norm(net, w, x):
    h = w["a"] @ x
    return ((h - h.mean()) / jnp.sqrt(h.var() + 1e-3) * w["s"]) @ w["o"]


def layer_norm_with_a_count(net, w, x):
    h = w["a"] @ x
    mean = h.sum() / 8
    return ((h - mean) / jnp.sqrt(((h - mean) ** 2).sum() / 8 + 1e-3) * w["s"]) @ w["o"]


def layer_norm_with_a_count_in_a_field(net, w, x):
    h = w["a"] @ x
    mean = h.sum() / net.width
    return ((h - mean) / jnp.sqrt(((h - mean) ** 2).sum() / net.width + 1e-3) * w["s"]) @ w["o"]


def mean_with_a_count(net, w, x):
    return jnp.tanh(w["a"] @ x) * w["s"] @ jnp.broadcast_to(w["one"], w["s"].shape) + (w["a"] @ x * w["s"]).sum() / 8


def mean_from_the_shape(net, w, x):
    return jnp.mean(jnp.tanh(w["a"] @ x) * w["s"])


def softmax_over_channels(net, w, x):
    return jax.nn.softmax(w["a"] @ x) @ w["o"]


def largest_channel(net, w, x):
    return jnp.max(jnp.tanh(w["a"] @ x) * w["s"])


def slice_in_code(net, w, x):
    h = w["a"] @ x
    return (h[:4] * jnp.tanh(h[4:8])) @ w["o"]


def slice_by_a_field(net, w, x):
    h = w["a"] @ x
    return (h[: net.half] * jnp.tanh(h[net.half :])) @ w["o"]


def slice_from_the_shape(net, w, x):
    h = w["a"] @ x
    return (h[: h.shape[0] // 2] * jnp.tanh(h[h.shape[0] // 2 :])) @ w["o"]


def overlapping_slices(net, w, x):
    h = jnp.tanh(w["a"] @ x)
    return h[:5] @ w["o5"] + h[3:] @ w["o5"]


def split_at_written_offsets(net, w, x):
    a, b = jnp.split(jnp.concatenate([w["a"] @ x, jnp.tanh(w["b"] @ x)]), [8])
    return a @ w["o"] + jnp.sin(b) @ w["p"]


def pixel_shuffle(net, w, x):
    h = conv(x, w["a"])
    c, height, width = h.shape
    h = h.reshape(c // 4, 2, 2, height, width).transpose(0, 3, 1, 4, 2).reshape(c // 4, 2 * height, 2 * width)
    return jnp.einsum("chw,co->o", jnp.tanh(h), w["o"])


def pixel_shuffle_in_code(net, w, x):
    h = conv(x, w["a"])
    h = h.reshape(3, -1, 2, 3, 3).transpose(0, 3, 1, 4, 2).reshape(3, -1)
    return jnp.einsum("ch,co->o", jnp.tanh(h), w["o"])


def channel_shuffle(net, w, x):
    h = (w["a"] @ x).reshape(4, -1).T.reshape(-1)
    return jnp.tanh(h) @ w["o"]


def residual(net, w, x):
    h = w["a"] @ x
    for _ in range(2):
        h = h + w["b"] @ jnp.tanh(w["c"] @ h)
    return h @ w["o"]


def layers_in_a_scan(net, w, x):
    def layer(h, pair):
        return h + pair["down"] @ jnp.tanh(pair["up"] @ h), None

    h, _ = jax.lax.scan(layer, w["a"] @ x, {"up": w["up"], "down": w["down"]})
    return h @ w["o"]


def recurrent_with_a_written_size(net, w, x):
    h, _ = jax.lax.scan(lambda h, v: (jnp.tanh(w["b"] @ h + w["a"] @ v), None), jnp.zeros(8, x.dtype), x)
    return h @ w["o"]


def recurrent_with_heads_in_code(net, w, x):
    def step(h, v):
        mixed = jnp.einsum("hd,hde->he", h.reshape(4, -1), w["m"]).ravel()
        return jnp.tanh(mixed + w["a"] @ v), None

    h, _ = jax.lax.scan(step, jnp.zeros(w["a"].shape[0], x.dtype), x)
    return h @ w["o"]


def regrouped_in_a_branch(net, w, x):
    h = w["a"] @ x

    def turned(h):
        return h.reshape(4, -1)[::-1].ravel()

    return jax.lax.cond(x[0] > 0, turned, jnp.tanh, h) @ w["o"]


def regrouped_in_a_scan(net, w, x):
    def step(h, _):
        return jnp.cos(jnp.tanh(h).reshape(4, -1) * w["s"].reshape(4, -1)).reshape(h.shape), None

    h, _ = jax.lax.scan(step, w["a"] @ x, length=2)
    return h @ w["o"]


def power_of_the_width(net, w, x):
    h = w["a"] @ x
    return (h ** h.shape[0]) @ w["o"]


def loop_over_the_width(net, w, x):
    h = w["a"] @ x
    return sum(jnp.tanh(h[i]) * w["o"][i] for i in range(h.shape[0]))


def depth_from_the_width(net, w, x):
    h = w["a"] @ x
    for _ in range(h.shape[0]):
        h = jnp.sin(h)
    return h @ w["o"]


def pairs_and_their_maximum(net, w, x):
    return (w["a"] @ x).reshape(-1, 2).max(axis=1) @ w["o4"]


def halves_and_their_maximum(net, w, x):
    return (w["a"] @ x).reshape(2, -1).max(axis=0) @ w["o4"]


def both_waves(net, w, x):
    h = w["a"] @ x
    return jnp.concatenate([jnp.sin(h), jnp.cos(h)]) @ w["o16"]


def tied(net, w, x):
    return w["a"].T @ jnp.tanh(w["a"] @ x)


@jax.custom_vjp
def damped(h):
    """The slope is divided by the width, which values do not show."""
    return jnp.tanh(h)


damped.defvjp(lambda h: (jnp.tanh(h), h), lambda h, g: (g * (1 - jnp.tanh(h) ** 2) / h.shape[0],))


@jax.custom_vjp
def clipped(h):
    """The slope is clipped, channel by channel."""
    return jnp.tanh(h)


clipped.defvjp(lambda h: (jnp.tanh(h), None), lambda _, g: (jnp.clip(g, -0.1, 0.1),))


def own_slope_by_the_width(net, w, x):
    return damped(w["a"] @ x) @ w["o"]


def own_slope(net, w, x):
    return clipped(w["a"] @ x) @ w["o"]


def bilinear(net, w, x):
    h = jnp.tanh(w["a"] @ x)
    return jnp.einsum("i,ijo,j->o", h, w["m"], w["a"] @ x)


def outer_product(net, w, x):
    h = jnp.tanh(w["a"] @ x)
    return jnp.outer(h, w["b"] @ x).ravel() @ w["o64"]


def excited(net, w, x):
    h = jnp.tanh(conv(x, w["a"]))
    gate = jax.nn.sigmoid(w["up"] @ jax.nn.relu(w["down"] @ h.mean((1, 2))))
    return jnp.einsum("chw,co->o", h * gate[:, None, None], w["o"])


def scaled_by_a_field(net, w, x):
    return jnp.tanh((w["a"] @ x) * net.scale / 8) @ w["o"]


def unit_length(net, w, x):
    h = w["a"] @ x
    return (h / jnp.sqrt(jnp.sum(h**2) + 1e-3) * w["s"]) @ w["o"]


def root_mean_square_by_the_root(net, w, x):
    h = w["a"] @ x
    return (h * h.shape[0] ** 0.5 / jnp.sqrt(jnp.sum(h**2) + 1e-3) * w["s"]) @ w["o"]


def repeated(net, w, x):
    return jnp.tile(w["a"] @ x, 2) @ w["o16"]


def padded(net, w, x):
    return jnp.pad(jnp.tanh(w["a"] @ x), (1, 2)) @ w["o11"]


ATTENTION = {"q": (8, 5), "k": (8, 5), "v": (8, 5), "o": (8, 2)}
ON_AXES = {"q": (4, 2, 5), "k": (4, 2, 5), "v": (4, 2, 5), "o": (4, 2, 2)}
DENSE = {"a": (8, 5), "s": (8,), "o": (8, 2)}
IMAGES = {"a": (8, 1, 3, 3), "o": (8 * 9, 2)}
TOKENS, VECTOR, IMAGE = (T, 5), (5,), (1, 3, 3)

# Of every network: what is done, its arrays, the shape of its input, and what pruning must do with every group:
# "equal" to the network with zeros, "mixed" where channels are reduced together, an operation that is named where it is
# refused, or "fixed" where nothing can be pruned.
ZOO = {
    f.__name__.replace("_", " "): (f, shapes, x, outcome)
    for f, shapes, x, outcome in (
        (heads_in_code, ATTENTION, TOKENS, "reshape"),
        (heads_in_a_field, ATTENTION, TOKENS, "reshape"),
        (size_of_heads_in_code, ATTENTION, TOKENS, "equal"),
        (heads_moved_to_the_front, ATTENTION, TOKENS, "reshape"),
        (heads_on_an_axis, ON_AXES, TOKENS, "equal"),
        (scale_from_the_shape, ON_AXES, TOKENS, "mul"),
        (scale_by_a_root_in_jax, ON_AXES, TOKENS, "sqrt"),
        (groups_in_code, IMAGES | {"g": (8, 2, 3, 3)}, IMAGE, "conv_general_dilated"),
        (depthwise_from_the_shape, IMAGES | {"d": (8, 1, 3, 3)}, IMAGE, "equal"),
        (depthwise_in_code, IMAGES | {"d": (8, 1, 3, 3)}, IMAGE, "conv_general_dilated"),
        (normalised_by_groups_in_code, DENSE, VECTOR, "reshape"),
        (normalised_by_groups_of_two, DENSE, VECTOR, "equal"),
        (layer_norm, DENSE, VECTOR, "mixed"),
        (layer_norm_with_a_count, DENSE, VECTOR, "div"),
        (layer_norm_with_a_count_in_a_field, DENSE, VECTOR, "mixed"),
        (mean_with_a_count, DENSE | {"one": ()}, VECTOR, "equal"),
        (mean_from_the_shape, DENSE, VECTOR, "mixed"),
        (softmax_over_channels, DENSE, VECTOR, "mixed"),
        (largest_channel, DENSE, VECTOR, "mixed"),
        (slice_in_code, {"a": (8, 5), "o": (4, 2)}, VECTOR, "slice"),
        (slice_by_a_field, {"a": (8, 5), "o": (4, 2)}, VECTOR, "equal"),
        (slice_from_the_shape, {"a": (8, 5), "o": (4, 2)}, VECTOR, "equal"),
        (overlapping_slices, {"a": (8, 5), "o5": (5, 2)}, VECTOR, "slice"),
        (split_at_written_offsets, {"a": (8, 5), "b": (4, 5), "o": (8, 2), "p": (4, 2)}, VECTOR, "split"),
        (pixel_shuffle, {"a": (8, 1, 3, 3), "o": (2, 2)}, IMAGE, "equal"),
        (pixel_shuffle_in_code, {"a": (12, 1, 3, 3), "o": (3, 2)}, IMAGE, "reshape"),
        (channel_shuffle, DENSE, VECTOR, "reshape"),
        (residual, DENSE | {"b": (8, 6), "c": (6, 8)}, VECTOR, "equal"),
        (layers_in_a_scan, DENSE | {"up": (2, 6, 8), "down": (2, 8, 6)}, VECTOR, "equal"),
        (recurrent_with_a_written_size, DENSE | {"b": (8, 8)}, TOKENS, "dot_general"),
        (recurrent_with_heads_in_code, DENSE | {"m": (4, 2, 2)}, TOKENS, "reshape"),
        (regrouped_in_a_branch, DENSE, VECTOR, "reshape"),
        (regrouped_in_a_scan, DENSE, VECTOR, "reshape"),
        (power_of_the_width, DENSE, VECTOR, "integer_pow"),
        (loop_over_the_width, DENSE, VECTOR, "equal"),
        (depth_from_the_width, DENSE, VECTOR, "other steps"),
        (pairs_and_their_maximum, {"a": (8, 5), "o4": (4, 2)}, VECTOR, "equal"),
        (halves_and_their_maximum, {"a": (8, 5), "o4": (4, 2)}, VECTOR, "equal"),
        (both_waves, {"a": (8, 5), "o16": (16, 2)}, VECTOR, "equal"),
        (tied, {"a": (8, 5)}, VECTOR, "equal"),
        (own_slope_by_the_width, DENSE, VECTOR, "custom_vjp"),
        (own_slope, DENSE, VECTOR, "equal"),
        (bilinear, {"a": (8, 5), "m": (8, 8, 2)}, VECTOR, "equal"),
        (outer_product, {"a": (8, 5), "b": (8, 5), "o64": (64, 2)}, VECTOR, "equal"),
        (excited, {"a": (8, 1, 3, 3), "down": (4, 8), "up": (8, 4), "o": (8, 2)}, IMAGE, "equal"),
        (scaled_by_a_field, DENSE, VECTOR, "equal"),
        (unit_length, DENSE, VECTOR, "equal"),
        (root_mean_square_by_the_root, DENSE, VECTOR, "mixed"),
        (repeated, {"a": (8, 5), "o16": (16, 2)}, VECTOR, "fixed"),
        (padded, {"a": (8, 5), "o11": (11, 2)}, VECTOR, "equal"),
    )
}


def animal(name, dtype=None):
    """A network of the zoo and an input."""
    run, shapes, x, _ = ZOO[name]
    network = Net(weights(**shapes), run)
    x = jax.random.normal(jax.random.key(1), x)
    return jax.tree.map(lambda a: a.astype(dtype), (network, x)) if dtype else (network, x)
