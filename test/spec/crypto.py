"""SHA-256, RIPEMD-160, secp256k1 and strict DER, in plain Python."""

import hashlib
import hmac
from functools import lru_cache


class Malformed(Exception):
    """Bytes that are not what they should be."""


# ---- Hashes


def sha256(data):
    return hashlib.sha256(data).digest()


def sha256d(data):
    return sha256(sha256(data))




def _ripemd_tables():
    left = list(range(16))
    rho = [7, 4, 13, 1, 10, 6, 15, 3, 12, 0, 9, 5, 2, 14, 11, 8]
    right = [(9 * i + 5) % 16 for i in range(16)]
    order_left, order_right = [], []
    for _ in range(5):
        order_left.append(left)
        order_right.append(right)
        left, right = [rho[i] for i in left], [rho[i] for i in right]
    return order_left, order_right


RIPEMD_ORDER = _ripemd_tables()
# The shifts belong to message words, not to steps: row = round, column = word.
RIPEMD_SHIFT = (
    (11, 14, 15, 12, 5, 8, 7, 9, 11, 13, 14, 15, 6, 7, 9, 8),
    (12, 13, 11, 15, 6, 9, 9, 7, 12, 15, 11, 13, 7, 8, 7, 7),
    (13, 15, 14, 11, 7, 7, 6, 8, 13, 14, 13, 12, 5, 5, 6, 9),
    (14, 11, 12, 14, 8, 6, 5, 5, 15, 12, 15, 14, 9, 9, 8, 6),
    (15, 12, 13, 13, 9, 5, 8, 6, 14, 11, 12, 11, 8, 6, 5, 5),
)
RIPEMD_K = (0, 0x5A827999, 0x6ED9EBA1, 0x8F1BBCDC, 0xA953FD4E)
RIPEMD_K2 = (0x50A28BE6, 0x5C4DD124, 0x6D703EF3, 0x7A6D76E9, 0)
RIPEMD_F = (
    lambda x, y, z: x ^ y ^ z,
    lambda x, y, z: (x & y) | (~x & z),
    lambda x, y, z: (x | ~y) ^ z,
    lambda x, y, z: (x & z) | (y & ~z),
    lambda x, y, z: x ^ (y | ~z),
)


def ripemd160(data):
    """hashlib may lack it: OpenSSL 3 counts it as legacy."""
    mask = 0xFFFFFFFF
    state = [0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0]
    padded = data + b"\x80" + bytes(-(len(data) + 9) % 64) + (8 * len(data)).to_bytes(8, "little")
    for at in range(0, len(padded), 64):
        words = [int.from_bytes(padded[at + 4 * i : at + 4 * i + 4], "little") for i in range(16)]
        lines = []
        for side in (0, 1):
            a, b, c, d, e = state
            for r in range(5):
                f = RIPEMD_F[r if side == 0 else 4 - r]
                k = (RIPEMD_K if side == 0 else RIPEMD_K2)[r]
                for w in RIPEMD_ORDER[side][r]:
                    t = (a + f(b, c, d) + words[w] + k) & mask
                    s = RIPEMD_SHIFT[r][w]
                    t = ((t << s | t >> (32 - s)) + e) & mask
                    a, e, d, c, b = e, d, (c << 10 | c >> 22) & mask, b, t
            lines.append((a, b, c, d, e))
        (a, b, c, d, e), (a2, b2, c2, d2, e2) = lines
        s = state
        state = [
            (s[1] + c + d2) & mask,
            (s[2] + d + e2) & mask,
            (s[3] + e + a2) & mask,
            (s[4] + a + b2) & mask,
            (s[0] + b + c2) & mask,
        ]
    return b"".join(v.to_bytes(4, "little") for v in state)


@lru_cache(None)
def hash160(data):
    return ripemd160(sha256(data))


# ---- secp256k1: SEC 2, ECDSA, RFC 6979, BIP 66


P = 2**256 - 2**32 - 977
N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
G = (
    0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798,
    0x483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8,
)


def jacobian_double(p):
    x, y, z = p
    if not y:
        return (0, 1, 0)
    yy = y * y % P
    s = 4 * x * yy % P
    m = 3 * x * x % P
    x3 = (m * m - 2 * s) % P
    return (x3, (m * (s - x3) - 8 * yy * yy) % P, 2 * y * z % P)


def jacobian_add(p, q):
    """p: Jacobian, q: affine."""
    x1, y1, z1 = p
    if not z1:
        return (q[0], q[1], 1)
    zz = z1 * z1 % P
    u2, s2 = q[0] * zz % P, q[1] * zz * z1 % P
    h, r = (u2 - x1) % P, (s2 - y1) % P
    if not h:
        return jacobian_double(p) if not r else (0, 1, 0)
    hh = h * h % P
    hhh, v = h * hh % P, x1 * hh % P
    x3 = (r * r - hhh - 2 * v) % P
    return (x3, (r * (v - x3) - y1 * hhh) % P, z1 * h % P)


def affine(points):
    """All to affine with one inversion; none may be infinity."""
    products, acc = [], 1
    for p in points:
        products.append(acc)
        acc = acc * p[2] % P
    inverse = pow(acc, -1, P)
    out = []
    for p, before in zip(reversed(points), reversed(products)):
        zi = inverse * before % P
        inverse = inverse * p[2] % P
        out.append((p[0] * zi * zi % P, p[1] * zi * zi * zi % P))
    return out[::-1]


@lru_cache(None)
def multiples(point):
    """table[i][d-1] = d * 16^i * point"""
    rows, base = [], (point[0], point[1], 1)
    for _ in range(64):
        base_affine = affine([base])[0]
        row = [base]
        for _ in range(14):
            row.append(jacobian_add(row[-1], base_affine))
        rows += row
        base = jacobian_add(row[-1], base_affine)
    flat = affine(rows)
    return [flat[15 * i : 15 * i + 15] for i in range(64)]


def add_multiple(acc, k, point):
    table = multiples(point)
    for i in range(64):
        digit = k >> 4 * i & 15
        if digit:
            acc = jacobian_add(acc, table[i][digit - 1])
    return acc


@lru_cache(None)
def parse_key(key):
    """The point of a key of 33 or 65 bytes; None when it is none."""
    if len(key) == 33 and key[0] in (2, 3):
        x = int.from_bytes(key[1:], "big")
        y = pow((x * x * x + 7) % P, (P + 1) // 4, P)
        if x >= P or y * y % P != (x * x * x + 7) % P:
            return None
        return (x, y if y & 1 == key[0] & 1 else P - y)
    if len(key) == 65 and key[0] == 4:
        x, y = int.from_bytes(key[1:33], "big"), int.from_bytes(key[33:], "big")
        if x < P and y < P and y * y % P == (x * x * x + 7) % P:
            return (x, y)
    return None


def public_key(secret):
    x, y = affine([add_multiple((0, 1, 0), int.from_bytes(secret, "big"), G)])[0]
    return bytes([2 + (y & 1)]) + x.to_bytes(32, "big")


@lru_cache(None)
def verify(key, digest, rs):
    point = parse_key(key)
    r, s = rs
    if point is None or not (0 < r < N and 0 < s < N):
        return False
    w = pow(s, -1, N)
    acc = add_multiple((0, 1, 0), int.from_bytes(digest, "big") * w % N, G)
    acc = add_multiple(acc, r * w % N, point)
    return acc[2] != 0 and affine([acc])[0][0] % N == r


@lru_cache(None)
def sign(secret, digest):
    """RFC 6979 with SHA-256, low S."""
    d = int.from_bytes(secret, "big")
    h1 = (int.from_bytes(digest, "big") % N).to_bytes(32, "big")
    k, v = bytes(32), b"\1" * 32
    for mark in (b"\0", b"\1"):
        k = hmac.new(k, v + mark + secret + h1, "sha256").digest()
        v = hmac.new(k, v, "sha256").digest()
    while True:
        v = hmac.new(k, v, "sha256").digest()
        nonce = int.from_bytes(v, "big")
        if 0 < nonce < N:
            r = affine([add_multiple((0, 1, 0), nonce, G)])[0][0] % N
            s = pow(nonce, -1, N) * (int.from_bytes(digest, "big") + r * d) % N
            if r and s:
                return (r, min(s, N - s))
        k = hmac.new(k, v + b"\0", "sha256").digest()
        v = hmac.new(k, v, "sha256").digest()


def to_der(rs):
    def integer(v):
        raw = v.to_bytes(v.bit_length() // 8 + 1, "big")
        return b"\x02" + bytes([len(raw)]) + raw

    body = integer(rs[0]) + integer(rs[1])
    return b"\x30" + bytes([len(body)]) + body


def parse_der(der):
    """Strict (BIP66): the one encoding of two numbers in 1..n-1."""
    try:
        if der[0] != 0x30 or der[1] != len(der) - 2 or der[2] != 2:
            raise Malformed("not DER")
        at, numbers = 2, []
        for _ in range(2):
            if der[at] != 2:
                raise Malformed("not DER")
            numbers.append(int.from_bytes(der[at + 2 : at + 2 + der[at + 1]], "big", signed=True))
            at += 2 + der[at + 1]
    except IndexError:
        raise Malformed("not DER") from None
    rs = tuple(numbers)
    if not all(0 < v < N for v in rs) or to_der(rs) != der:
        raise Malformed("not strict DER")
    return rs


def is_low(rs):
    return rs[1] <= N // 2
