"""PROTOCOL.md as data: its tables, layouts and vectors; messages and transactions built from them."""

import re

from bitcoin import Reader, compact_size, push, script_number
from crypto import Malformed, hash160, sha256d, sign, to_der

# ---- The document


class Spec:
    """
    Tables    #### Name                       then a table of fields: number, name, type, presence, default
              #### Name (enum)                then a table: number, name
    Layouts   ```layout NAME                  then lines of bytes in hex and {names}, two spaces, and words
    Vectors   ```vector NAME                  then lines `key = value`; indented lines go on with the value
    """

    def __init__(self, path):
        self.messages, self.enums, self.layouts, self.vectors = {}, {}, {}, {}
        text = self.text = path.read_text(encoding="utf-8")
        for kind, name, body in re.findall(r"^```(layout|vector) +([^\n]+)\n(.*?)^```$", text, re.M | re.S):
            target = self.layouts if kind == "layout" else self.vectors
            if name in target:
                raise Malformed(f"{kind} {name} stands there twice")
            target[name] = self.layout(body) if kind == "layout" else self.vector(body)
        heading, words, rows = r"^#### (\w+)( \(enum\))?\n+", r"(?:[^|#\n][^\n]*\n+)*", r"((?:\|[^\n]*\n)+)"
        for name, enum, table in re.findall(heading + words + rows, text, re.M):
            rows = [[c.strip().strip("`") for c in line.strip().strip("|").split("|")] for line in table.splitlines()]
            rows = [r for r in rows if r[0].isdigit()]
            if enum:
                self.enums[name] = {int(r[0]): r[1] for r in rows}
            else:
                self.messages[name] = {int(r[0]): (r[1], r[2], r[3], r[4]) for r in rows}

    @staticmethod
    def layout(body):
        tokens = []
        for line in body.splitlines():
            part = re.split(r"  +", line.strip())[0]
            found = re.findall(r"\{[^}]+\}|[0-9a-f]{2}", part)
            if "".join(found).replace(" ", "") != part.replace(" ", ""):
                raise Malformed(f"layout line {line!r}")
            tokens += found
        return tokens

    @staticmethod
    def vector(body):
        out, key = {}, None
        for line in body.splitlines():
            line = re.sub(r"(^|\s)#.*$", "", line)
            if not line.strip():
                continue
            if line[0] == " ":
                out[key] += " " + line.strip()
            else:
                key, value = (s.strip() for s in line.split("=", 1))
                if key in out:
                    raise Malformed(f"vector line {key!r} stands there twice")
                out[key] = value
        return {k: Spec.value(v) for k, v in out.items()}

    @staticmethod
    def value(text):
        number = re.fullmatch(r"(\d+) (sat|s)", text)
        if number:
            return int(number[1])
        packed = text.replace(" ", "")
        if packed == "empty":
            return b""
        return bytes.fromhex(packed) if re.fullmatch(r"([0-9a-f]{2})+", packed) else text

    def build(self, name, **values):
        """The bytes of a layout.  A name in it is looked up in values with its blanks as underscores."""
        out = b""
        for token in self.layouts[name]:
            out += bytes.fromhex(token) if token[0] != "{" else values[re.sub(r"\W+", "_", token[1:-1]).strip("_")]
        return out


# ---- Protobuf, by the tables


def varint(v):
    v &= 2**64 - 1
    out = b""
    while v > 0x7F:
        out += bytes([v & 0x7F | 0x80])
        v >>= 7
    return out + bytes([v])


def read_varint(r):
    value = shift = 0
    while True:
        if shift == 70:
            raise Malformed("varint too long")
        byte = r.u(1)
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value & (2**64 - 1)


class Codec:
    """Messages as dicts from field names to values, by the tables of the specification."""

    def __init__(self, spec):
        self.spec = spec

    def encode(self, message, name="TwoWayChannelMessage"):
        known = {f[0] for f in self.spec.messages[name].values()}
        if not set(message) <= known:
            raise Malformed(f"{name} has no field {set(message) - known}")
        out = b""
        for number, (field, kind, presence, _) in sorted(self.spec.messages[name].items()):
            if field not in message:
                if presence == "required":
                    raise Malformed(f"{name}.{field} is missing")
                continue
            value = message[field]
            if kind in self.spec.enums:
                value = {v: k for k, v in self.spec.enums[kind].items()}[value]
            if kind in ("int32", "uint64") or kind in self.spec.enums:
                out += varint(number << 3) + varint(value)
                continue
            if kind in self.spec.messages:
                value = self.encode(value, kind)
            elif kind == "string":
                value = value.encode()
            out += varint(number << 3 | 2) + varint(len(value)) + value
        return out

    def decode(self, data, name="TwoWayChannelMessage"):
        fields, out, r = self.spec.messages[name], {}, Reader(data)
        while r.at < len(data):
            tag = read_varint(r)
            number, wire = tag >> 3, tag & 7
            field, kind, _, _ = fields.get(number, (None, None, None, None))
            scalar = kind in ("int32", "uint64") or kind in self.spec.enums
            if wire == 0:
                value = read_varint(r)
                if field is None or not scalar:
                    continue
                if kind == "int32":
                    value = (value & 0xFFFFFFFF) - ((value & 0x80000000) << 1)
                if kind in self.spec.enums:
                    value = self.spec.enums[kind].get(value)
                if value is not None:
                    out[field] = value
            elif wire == 2:
                value = r.take(read_varint(r))
                if field is None or scalar:
                    continue
                if kind in self.spec.messages:
                    value = self.decode(value, kind)
                elif kind == "string":
                    value = value.decode()
                out[field] = value
            elif wire in (1, 5):
                r.take(8 if wire == 1 else 4)
            else:
                raise Malformed(f"wire type {wire}")
        for field, _, presence, _ in fields.values():
            if presence == "required" and field not in out:
                raise Malformed(f"{name} lacks {field}")
        return out


def read_proto(path):
    """Messages and enums of the .proto, in the shape of Spec's."""
    text = re.sub(r"//[^\n]*", "", path.read_text(encoding="utf-8"))
    messages, enums, inside = {}, {}, []
    for word in re.findall(r"(?:message|enum)\s+\w+\s*\{|\}|[^{};]+;", text):
        opened = re.match(r"(message|enum)\s+(\w+)", word)
        if opened and word.endswith("{"):
            inside.append(opened.groups())
            (messages if opened[1] == "message" else enums)[opened[2]] = {}
        elif word == "}":
            inside.pop()
        elif inside and inside[-1][0] == "enum":
            name, number = (s.strip() for s in word.rstrip(";").split("="))
            enums[inside[-1][1]][int(number)] = name
        elif inside:
            f = re.fullmatch(
                r"\s*(required|optional|repeated)\s+(\w+)\s+(\w+)\s*=\s*(\d+)\s*(?:\[default\s*=\s*(\w+)\])?\s*;", word
            )
            if not f:
                raise Malformed(f"line of the .proto: {word.strip()!r}")
            messages[inside[-1][1]][int(f[4])] = (f[3], f[2], f[1], f[5] or "")
    return messages, enums


# ---- A channel, by the layouts


def u32(v):
    return v.to_bytes(4, "little")


def u64(v):
    return v.to_bytes(8, "little")


def sized(data):
    return compact_size(len(data)) + data


class Channel:
    def __init__(self, spec, version, client, server, expiry, value, contract):
        self.spec, self.version, self.client, self.server = spec, version, client, server
        self.expiry, self.value, self.contract = expiry, value, contract

    def build(self, name, **more):
        v = f"version {self.version} "
        return self.spec.build(v + name if v + name in self.spec.layouts else name, **more)

    def code(self):
        """Script code of every signature under the contract: the multisig script, or the redeem script."""
        return self.build("script", C=push(self.client), S=push(self.server), T=push(script_number(self.expiry)))

    def output_script(self):
        return self.code() if self.version == 1 else self.build("output", hash160_redeem_script=hash160(self.code()))

    def common(self):
        return {
            "contract_txid": self.contract,
            "hash160_C": hash160(self.client),
            "script_code": sized(self.code()),
            "T": u32(self.expiry),
            "value_1000": u64(self.value - 1000),
        }

    def refund_script_sig(self, client_signature, server_signature=b""):
        redeem = push(self.code())
        return self.build(
            "refund scriptSig", sig_C=push(client_signature), sig_S=push(server_signature), redeem_script=redeem
        )

    def refund(self, script_sig=b""):
        return self.build("refund", scriptSig=sized(script_sig), **self.common())

    def refund_preimage(self, who):
        return self.build(f"refund preimage, {who}", **self.common())

    def payment_preimage(self, change):
        if change == 0:
            return self.build("payment preimage without change", **self.common())
        return self.build("payment preimage", change=u64(change), **self.common())

    def settlement(self, change, payout, payout_script, script_sig=b"", preimage=False):
        name = ("settlement preimage" if preimage else "settlement") + ("" if change else " without change")
        values = {"payout": u64(payout), "payout_script": sized(payout_script), "change": u64(change)}
        return self.build(name, scriptSig=sized(script_sig), **values, **self.common())

    def settlement_script_sig(self, client_signature, server_signature):
        return self.build(
            "settlement scriptSig",
            sig_C=push(client_signature),
            sig_S=push(server_signature),
            redeem_script=push(self.code()),
        )


def payment_flags(change):
    return 0x83 if change else 0x82


def flagged(secret, preimage, flags):
    return to_der(sign(secret, sha256d(preimage))) + bytes([flags])


def frame(payload):
    return len(payload).to_bytes(4, "big") + payload


def unframe(stream):
    """The frames in a stream that ends."""
    out = []
    while stream:
        size = int.from_bytes(stream[:4], "big", signed=True)
        if not 1 <= size <= 32767 or len(stream) < 4 + size:
            raise Malformed("no frame")
        out.append(stream[4 : 4 + size])
        stream = stream[4 + size :]
    return out
