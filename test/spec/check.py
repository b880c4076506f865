#!/usr/bin/env python3
"""Checks proto/PROTOCOL.md: builds and verifies channels from the specification and the recorded sessions alone.

Shares no code with the library.  What a message, a script and a transaction look like is read from the tables and the
`layout` blocks of the specification; the worked channels are read from its `vector` blocks; hashes, the curve, DER,
sighash and a script interpreter are here.  Python's standard library is all it needs.
Exit status 0 only if nothing differs.
"""

import argparse
import json
import re
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True  # the sources stay as they were cloned

from bitcoin import Tx, script_number, sighash, spends
from crypto import G, parse_der, public_key, ripemd160, sha256, sign, to_der, verify
from recorded import check_sessions
from report import Group
from rules import check_rules
from specification import Codec, Spec, read_proto
from worked import check_extensions, check_worked_channel

ROOT = Path(__file__).resolve().parents[2]


def check_primitives(core_sighash):
    with Group("primitives against published values") as g:
        g.equal("RIPEMD-160 of nothing", ripemd160(b"").hex(), "9c1185a5c5e9fc54612808977ee8f548b2258d31")
        g.equal("RIPEMD-160 of abc", ripemd160(b"abc").hex(), "8eb208f7e05d987a9b044a8e98c6b087f15a0bfc")
        digits = ripemd160(b"1234567890" * 8).hex()
        g.equal("RIPEMD-160 of 80 digits", digits, "9b752e45573d4b39f4dbd3323cab82bf63326bfb")
        one = (1).to_bytes(32, "big")
        g.equal("public key of 1", public_key(one)[1:].hex(), f"{G[0]:064x}")
        g.equal(
            "RFC 6979, key 1, Satoshi Nakamoto",
            "%064x%064x" % sign(one, sha256(b"Satoshi Nakamoto")),
            "934b1ea10a4b3c1757e2b0c017d0b6143ce3c9a7e6a4a49860d7a6ab210ee3d8"
            "2442ce9d2b916064108014783e923ec36b49743e2ffa1c4496f01a512aafd9e5",
        )
        rs = sign(one, sha256(b"x"))
        g.true("a signature verifies", verify(public_key(one), sha256(b"x"), rs))
        g.true("it does not for another digest", not verify(public_key(one), sha256(b"y"), rs))
        g.equal("DER goes there and back", parse_der(to_der(rs)), rs)
        g.equal("script number of 2^31", script_number(2**31).hex(), "0000008000")
    with Group("legacy sighash against Bitcoin Core's") as g:
        for row in json.loads(core_sighash.read_text()):
            if len(row) != 5:
                continue  # the file's first row: what stands in the others
            if "ab" in re.findall("..", row[1]):
                g.skip("scripts with CODESEPARATOR, which channels do not use")
                continue
            tx = Tx.parse(bytes.fromhex(row[0]))
            h = sighash(tx, row[2], bytes.fromhex(row[1]), row[3] & 0xFFFFFFFF)
            g.equal(f"sighash of {row[0][:16]}", h[::-1].hex(), row[4])


def check_interpreter(path):
    with Group("script rules against two nodes' verdicts") as g:
        for t in json.loads(path.read_text()):
            if t["section"][0] not in "abd":
                g.skip("transactions about SegWit and fees")
                continue
            if t["res"] == "other":
                g.skip("refused for another reason than a script")
                continue
            tx = Tx.parse(bytes.fromhex(t["hex"]))
            why = [spends(tx, i, bytes.fromhex(p["script"])) for i, p in enumerate(t["prevs"])]
            g.equal(f"{t['section']}, {t['name']} ({why})", all(w is None for w in why), t["res"] == "ok")


def check_tables(spec, proto):
    with Group("message tables against paymentchannel.proto") as g:
        messages, enums = read_proto(proto)
        g.equal("messages", set(spec.messages), set(messages))
        g.equal("enums", set(spec.enums), set(enums))
        for name in messages:
            for number in sorted(set(messages[name]) | set(spec.messages.get(name, {}))):
                ours = spec.messages.get(name, {}).get(number)
                g.equal(f"{name} field {number}", ours, messages[name].get(number))
        for name in enums:
            for number in sorted(set(enums[name]) | set(spec.enums.get(name, {}))):
                g.equal(f"{name} = {number}", spec.enums.get(name, {}).get(number), enums[name].get(number))


def read_sessions(folders):
    sessions = {}
    for folder in folders:
        for path in sorted(folder.glob("*.json")):
            sessions[path.name[: -len(".json")]] = json.loads(path.read_text())
    return sessions


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spec", type=Path, default=ROOT / "proto/PROTOCOL.md")
    parser.add_argument("--proto", type=Path, default=ROOT / "proto/paymentchannel.proto")
    parser.add_argument("--vectors", type=Path, default=ROOT / "test/vectors", help="default: test/vectors")
    parser.add_argument("sessions", type=Path, nargs="*", help="folders of recorded sessions; default VECTORS/bitcoinj")
    options = parser.parse_args()
    began = time.monotonic()
    sessions = read_sessions(options.sessions or [options.vectors / "bitcoinj"])

    check_primitives(options.vectors / "bitcoin-core/sighash.json")
    check_interpreter(options.vectors / "channel_transactions.json")
    spec = None
    with Group("the specification is readable") as g:
        spec = Spec(options.spec)
        for kind in ("messages", "enums", "layouts", "vectors"):
            g.true(f"it has no {kind}", getattr(spec, kind))
        g.true("no recorded sessions were found", sessions)
    if spec is not None and sessions:
        codec = Codec(spec)
        check_tables(spec, options.proto)
        worked = check_worked_channel(spec, codec, "version 2", sessions)
        check_worked_channel(spec, codec, "version 1", sessions)
        if worked is not None:
            check_extensions(spec, codec, *worked)
        check_sessions(spec, codec, sessions)
        check_rules(spec, codec, sessions)

    print(f"{Group.compared} comparisons, {len(sessions)} sessions, {time.monotonic() - began:.1f} s")
    print(f"{Group.passed} passed, {Group.failed} failed")
    return 1 if Group.failed else 0


if __name__ == "__main__":
    sys.exit(main())
