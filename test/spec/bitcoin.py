"""Transactions, their legacy sighash, and an interpreter for the scripts of channels."""

from crypto import Malformed, hash160, is_low, parse_der, sha256d, verify

# ---- Transactions and legacy sighash


def compact_size(n):
    if n < 0xFD:
        return bytes([n])
    return b"\xfd" + n.to_bytes(2, "little") if n < 0x10000 else b"\xfe" + n.to_bytes(4, "little")


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        if n > len(self.data) - self.at:
            raise Malformed("cut off")
        self.at += n
        return self.data[self.at - n : self.at]

    def u(self, n):
        return int.from_bytes(self.take(n), "little")

    def size(self):
        first = self.u(1)
        return first if first < 0xFD else self.u({0xFD: 2, 0xFE: 4, 0xFF: 8}[first])

    def bytes(self):
        return self.take(self.size())


class Tx:
    """inputs: (txid, index, script_sig, sequence); outputs: (value, script)."""

    def __init__(self, version, inputs, outputs, lock_time):
        self.version, self.inputs, self.outputs, self.lock_time = version, inputs, outputs, lock_time

    @staticmethod
    def parse(data):
        r = Reader(data)
        version = r.u(4)
        witness = data[4:6] == b"\0\1"
        if witness:
            r.take(2)
        inputs = [(r.take(32), r.u(4), r.bytes(), r.u(4)) for _ in range(r.size())]
        outputs = [(r.u(8), r.bytes()) for _ in range(r.size())]
        for _ in inputs if witness else ():
            for _ in range(r.size()):
                r.bytes()
        lock_time = r.u(4)
        if r.at != len(data):
            raise Malformed("bytes after the transaction")
        return Tx(version, inputs, outputs, lock_time)

    def serialize(self):
        """Without witness: what the txid is the hash of."""
        out = self.version.to_bytes(4, "little") + compact_size(len(self.inputs))
        for txid, index, script, sequence in self.inputs:
            out += txid + index.to_bytes(4, "little") + compact_size(len(script)) + script
            out += sequence.to_bytes(4, "little")
        out += compact_size(len(self.outputs))
        for value, script in self.outputs:
            out += value.to_bytes(8, "little") + compact_size(len(script)) + script
        return out + self.lock_time.to_bytes(4, "little")

    def txid(self):
        return sha256d(self.serialize())


def sighash_preimage(tx, index, script_code, flags):
    """What is hashed twice for a signature under input `index`; None: the hash is the number 1 (SINGLE, no output)."""
    base = flags & 31
    if base == 3 and index >= len(tx.outputs):
        return None
    inputs = []
    for i, (txid, n, _, sequence) in enumerate(tx.inputs):
        if i == index:
            inputs.append((txid, n, script_code, sequence))
        elif not flags & 0x80:
            inputs.append((txid, n, b"", 0 if base in (2, 3) else sequence))
    outputs = tx.outputs
    if base == 2:
        outputs = []
    elif base == 3:
        outputs = [(2**64 - 1, b"")] * index + [tx.outputs[index]]
    return Tx(tx.version, inputs, outputs, tx.lock_time).serialize() + flags.to_bytes(4, "little")


def sighash(tx, index, script_code, flags):
    preimage = sighash_preimage(tx, index, script_code, flags)
    return b"\1" + bytes(31) if preimage is None else sha256d(preimage)


# ---- Scripts


def push(data):
    n = len(data)
    if n == 0:
        return b"\0"
    if n == 1 and 1 <= data[0] <= 16:
        return bytes([0x50 + data[0]])
    if n == 1 and data[0] == 0x81:
        return b"\x4f"
    if n < 76:
        return bytes([n]) + data
    return b"\x4c" + bytes([n]) + data if n < 256 else b"\x4d" + n.to_bytes(2, "little") + data


def script_number(v):
    """Of a number that is not negative: little-endian, as short as a sign bit of 0 allows."""
    return v.to_bytes(v.bit_length() // 8 + 1, "little") if v else b""


def operations(script):
    r = Reader(script)
    while r.at < len(script):
        op = r.u(1)
        if op <= 75:
            yield op, r.take(op)
        elif op <= 78:
            yield op, r.take(r.u({76: 1, 77: 2, 78: 4}[op]))
        else:
            yield op, None


class ScriptFailed(Exception):
    pass


def run_script(script, stack, tx, index):
    """The operations that channels use, under the rules by which nodes relay."""
    branches = []

    def pop():
        if not stack:
            raise ScriptFailed("the stack is empty")
        return stack.pop()

    def check(key, signature):
        if not signature:
            return False
        try:
            rs = parse_der(signature[:-1])
        except Malformed as e:
            raise ScriptFailed(str(e)) from None
        if not is_low(rs):
            raise ScriptFailed("high S")
        if signature[-1] & 0x7F not in (1, 2, 3):
            raise ScriptFailed("undefined sighash flags")
        if not (len(key) == 33 and key[0] in (2, 3) or len(key) == 65 and key[0] == 4):
            raise ScriptFailed("key of another form")
        return verify(key, sighash(tx, index, script, signature[-1]), rs)

    for op, data in operations(script):
        active = all(branches)
        if data is not None:
            if active:
                if push(data)[0] != op:
                    raise ScriptFailed("a push that is not minimal")
                stack.append(data)
        elif op == 0x63:  # IF
            branches.append(any(pop()) if active else False)
        elif op == 0x67:  # ELSE
            if not branches:
                raise ScriptFailed("ELSE without IF")
            branches[-1] = not branches[-1] if all(branches[:-1]) else False
        elif op == 0x68:  # ENDIF
            if not branches:
                raise ScriptFailed("ENDIF without IF")
            branches.pop()
        elif not active:
            pass
        elif 0x51 <= op <= 0x60:  # 1..16
            stack.append(bytes([op - 0x50]))
        elif op == 0x69:  # VERIFY
            if not any(pop()):
                raise ScriptFailed("VERIFY")
        elif op == 0x75:  # DROP
            pop()
        elif op == 0x76:  # DUP
            stack.append(stack[-1] if stack else pop())
        elif op in (0x87, 0x88):  # EQUAL, EQUALVERIFY
            same = pop() == pop()
            if op == 0x87:
                stack.append(b"\1" if same else b"")
            elif not same:
                raise ScriptFailed("EQUALVERIFY")
        elif op == 0xA9:  # HASH160
            stack.append(hash160(pop()))
        elif op in (0xAC, 0xAD):  # CHECKSIG, CHECKSIGVERIFY
            key, signature = pop(), pop()
            good = check(key, signature)
            if not good and signature:
                raise ScriptFailed("a signature that fails is not empty")
            if op == 0xAC:
                stack.append(b"\1" if good else b"")
            elif not good:
                raise ScriptFailed("CHECKSIGVERIFY")
        elif op == 0xAE:  # CHECKMULTISIG
            keys = [pop() for _ in range(int.from_bytes(pop(), "little"))]
            signatures = [pop() for _ in range(int.from_bytes(pop(), "little"))]
            if pop() != b"":
                raise ScriptFailed("the dummy is not empty")
            wanted = len(signatures)
            while signatures and len(keys) >= len(signatures):
                if check(keys.pop(0), signatures[0]):
                    signatures.pop(0)
            if signatures:
                raise ScriptFailed(f"CHECKMULTISIG: {wanted - len(signatures)} of {wanted}")
            stack.append(b"\1")
        elif op == 0xB1:  # CHECKLOCKTIMEVERIFY, BIP65
            if not stack or len(stack[-1]) > 5:
                raise ScriptFailed("CLTV: no number")
            number = int.from_bytes(stack[-1], "little")
            if stack[-1] != script_number(number):
                raise ScriptFailed("CLTV: negative or not minimal")
            if (number < 500_000_000) != (tx.lock_time < 500_000_000) or number > tx.lock_time:
                raise ScriptFailed("CLTV: lock_time")
            if tx.inputs[index][3] == 0xFFFFFFFF:
                raise ScriptFailed("CLTV: final sequence")
        else:
            raise ScriptFailed(f"operation {op:02x} is not used by channels")
    if branches:
        raise ScriptFailed("IF without ENDIF")


def spends(tx, index, script_pubkey):
    """None when input `index` satisfies the output's script (BIP16, clean stack); else why it does not."""
    try:
        script_sig = tx.inputs[index][2]
        stack = []
        run_script(script_sig, stack, tx, index)
        before = list(stack)
        run_script(script_pubkey, stack, tx, index)
        if not stack or not any(stack[-1]):
            return "false"
        if len(script_pubkey) == 23 and script_pubkey[:2] == b"\xa9\x14" and script_pubkey[22] == 0x87:
            stack = before[:-1]
            run_script(before[-1], stack, tx, index)
            if not stack or not any(stack[-1]):
                return "false"
        return None if len(stack) == 1 else "the stack is not clean"
    except (ScriptFailed, Malformed) as e:
        return str(e)
