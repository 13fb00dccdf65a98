"""Damage for fuzzing: of bytes, of text, and of what a text in JSON holds."""

import json

# What parsers stumble over, as text: numbers at the ends of every type, words, and signs that open or end something.
TOKENS = (
    *"0 -0 1 -1 2 255 256 65536 2147483647 -2147483648 4294967296 9223372036854775807 18446744073709551616 .5".split(),
    *"1e308 1e309 -1e999 1e-400 nan NaN inf -Infinity 0x7fffffff 0b1 0o7 1_000 +1 5. 1,5 1.000,5 true null".split(),
    *"None none NA n/a 1979-05-27T07:32:00Z 07:32:00 2020-01-01 ' \" ''' [ ] [[ ]] { } ( ) , ; : = # / ..".split(),
    *"\\ \\u0000 \\ud800 \\x1b ../ {input} {0} %s __class__ é ∂ 日本".split(),
    *('"""', "", " ", "\t", "\n", "\r", "\r\n", "\0", "\ufeff", "\x1b[2J"),
    *("9" * 400, "9" * 5000, "[" * 3000, "{" * 999, "a" * 5000),
)
WORDS = tuple(
    value.to_bytes(n, order, signed=True)
    for n in (1, 2, 4, 8)
    for value in (0, 1, -1, 2 ** (8 * n - 1) - 1, -(2 ** (8 * n - 1)), 16)
    for order in ("little", "big")
)
VALUES = (
    None, True, False, 0, 1, -1, 2, 3, 7, 10**6, 2**31, 2**63, 2**64, 10**30, 10**400, 0.0, -0.0, 0.5, 1e308, 1e-320,
    float("inf"), float("-inf"), float("nan"), "", "a", "1", "nan", "inf", "\0", "\ud800", "\x1b[2J", "a" * 3000, "[/]",
    [], {}, [[]], [0], [None], [True], ["a"], [[1, 2], [3]], {"a": 1}, list(range(300)),
)  # fmt: skip


def damaged(random, data, others=(), tokens=TOKENS):
    """Bytes with a few changes, of one to eight places."""
    data = bytearray(data)
    for _ in range(min(8, 1 + int(random.expovariate(0.7)))):
        data = bytearray(_changed(random, data, others, tokens))
    return bytes(data)


def _changed(random, data, others, tokens):
    at = random.randrange(len(data) + 1)
    length = min(len(data) - at, int(random.expovariate(1 / 12)))
    kind = random.randrange(10)
    if kind == 0 and data:  # a bit
        place = random.randrange(len(data))
        return data[:place] + bytes([data[place] ^ (1 << random.randrange(8))]) + data[place + 1 :]
    if kind == 1:  # left out
        return data[:at] + data[at + length :]
    if kind == 2:  # twice
        return data[: at + length] + data[at : at + length] + data[at + length :]
    if kind == 3:  # cut off
        return data[:at]
    if kind == 4:  # noise
        return data[:at] + random.randbytes(length) + data[at + length :]
    if kind == 5:  # another number
        word = random.choice(WORDS)
        return data[:at] + word + data[at + len(word) :]
    if kind == 6 and others:  # the rest of another
        other = random.choice(others)
        return data[:at] + other[random.randrange(len(other) + 1) :]
    if kind == 7:  # a stretch elsewhere
        to = random.randrange(len(data) + 1)
        return data[:to] + data[at : at + length] + data[to:]
    token = random.choice(tokens).encode("utf-8", "surrogatepass")
    if kind == 8:  # a token between
        return data[:at] + token + data[at:]
    return _with_another_number(random, data, token)


def _with_another_number(random, data, token):
    """A token in the place of a number or a word of a text."""
    starts = [i for i in range(len(data)) if data[i : i + 1].isalnum() and not data[max(i - 1, 0) : i].isalnum()]
    if not starts or len(data) > 20_000:
        return data + token
    start = end = random.choice(starts)
    while end < len(data) and (data[end : end + 1].isalnum() or data[end : end + 1] in b".-+_"):
        end += 1
    return data[:start] + token + data[end:]


def damaged_value(random, value):
    """What JSON holds, with one place changed."""
    place = random.random()
    if isinstance(value, dict) and value and place < 0.85:
        key = random.choice(sorted(value))
        changed = dict(value)
        how = random.random()
        if how < 0.12:
            del changed[key]
        elif how < 0.2:
            changed[random.choice(("a", "", key + "x", "__class__", "a" * 300))] = changed[key]
        else:
            changed[key] = damaged_value(random, value[key])
        return changed
    if isinstance(value, list) and value and place < 0.8:
        at = random.randrange(len(value))
        how = random.random()
        if how < 0.15:
            return value[:at] + value[at + 1 :]
        if how < 0.25:
            return value[:at] + value[at : at + 1] * random.choice((2, 3, 100)) + value[at + 1 :]
        return [*value[:at], damaged_value(random, value[at]), *value[at + 1 :]]
    if random.random() < 0.05:
        for _ in range(random.choice((2, 30, 900))):
            value = [value]
        return value
    return random.choice(VALUES)


def damaged_json(random, value):
    """A text that holds nearly that, mostly still JSON."""
    text = json.dumps(value)
    for _ in range(min(4, 1 + int(random.expovariate(1.5)))):
        value = damaged_value(random, value)
        try:
            text = json.dumps(value)
        except RecursionError:  # nested deeply twice; `json` writes no deeper, so the text before stays
            break
    how = random.random()
    if how < 0.08:  # a key twice
        text = text.replace('{"', '{"values": 1, "values": 2, "', 1)
    elif how < 0.25:
        text = damaged(random, text.encode()).decode("utf-8", "replace")
    return text
