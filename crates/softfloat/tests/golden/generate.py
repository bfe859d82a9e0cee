#!/usr/bin/env python3
"""Writes transcendental.txt: correctly rounded results of the x87's transcendental instructions, from mpmath at 500 bits.

Line: instruction, RC, ST(0), ST(1), result (sign and exponent, dot, significand). Arguments of FSIN, FCOS and FPTAN above
pi/4 are first reduced with the 66-bit pi of SDM Vol. 1, 8.3.8.
"""
import random
from mpmath import mp, mpf, sin, cos, tan, atan2, log, floor, pi

mp.prec = 500
random.seed(1)
PI66 = mpf(0x3243F6A8885A308D3) / 2**64


def value(f):
    se, m = f
    v = mpf(m) * mpf(2) ** ((se & 0x7FFF) - 16383 - 63)
    return -v if se >> 15 else v


def rounded(v, rc):
    negative = v < 0
    a = abs(v)
    e = int(floor(log(a, 2)))
    if a < mpf(2) ** e:
        e -= 1
    if a >= mpf(2) ** (e + 1):
        e += 1
    scaled = a * mpf(2) ** (63 - e)
    m = int(floor(scaled))
    rest = scaled - m
    if rest > 0 and (rc == 0 and rest > 0.5 or rc == 1 and negative or rc == 2 and not negative):
        m += 1
    if m >> 64:
        m >>= 1
        e += 1
    if not 1 <= e + 16383 < 32767:
        return None
    return (negative << 15 | e + 16383, m)


def reduce(x):
    a = abs(x)
    if a < mpf(0.5):
        return x, 0
    q = int(floor(a / (PI66 / 2) + mpf(0.5)))
    r = a - q * PI66 / 2
    return (-r, -q) if x < 0 else (r, q)


def f_sin(x, y):
    r, q = reduce(x)
    return [sin(r), cos(r), -sin(r), -cos(r)][q % 4]


def f_cos(x, y):
    r, q = reduce(x)
    return [cos(r), -sin(r), -cos(r), sin(r)][q % 4]


def f_tan(x, y):
    r, q = reduce(x)
    return tan(r) if q % 2 == 0 else -1 / tan(r)


def number(low, high, sign=None):
    s = random.getrandbits(1) if sign is None else sign
    m = random.getrandbits(64) | 1 << 63
    kind = random.randrange(4)
    if kind == 0:
        m = m >> 40 << 40
    elif kind == 1:
        m = (1 << 63) + random.getrandbits(8)
    elif kind == 2:
        m = (1 << 64) - 1 - random.getrandbits(8)
    return (s << 15 | 16383 + random.randint(low, high), m)


TABLE = {
    "fsin": (f_sin, lambda: (number(-34, 62), (0x3FFF, 1 << 63))),
    "fcos": (f_cos, lambda: (number(-34, 62), (0x3FFF, 1 << 63))),
    "fptan": (f_tan, lambda: (number(-34, 62), (0x3FFF, 1 << 63))),
    "fpatan": (lambda x, y: atan2(y, x), lambda: (number(-20, 20), number(-20, 20))),
    "f2xm1": (lambda x, y: mpf(2) ** x - 1, lambda: (number(-66, -1), (0x3FFF, 1 << 63))),
    "fyl2x": (lambda x, y: y * log(x) / log(mpf(2)), lambda: (number(-9, 9, 0), number(-40, 40))),
    "fyl2xp1": (lambda x, y: y * log(1 + x) / log(mpf(2)), lambda: (number(-66, -3), number(-40, 40))),
}

with open("transcendental.txt", "w") as out:
    for name, (function, operands) in TABLE.items():
        for i in range(300):
            st0, st1 = operands()
            result = rounded(function(value(st0), value(st1)), i % 4)
            if result:
                text = ["%04x.%016x" % f for f in (st0, st1, result)]
                print(name, i % 4, *text, file=out)
