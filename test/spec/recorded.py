"""Every recorded session against the specification: frames, scripts, transactions, signatures."""

from bitcoin import Tx, operations, sighash_preimage, spends
from crypto import Malformed, hash160, is_low, parse_der, parse_key, sha256d, verify
from report import Group
from specification import Channel, flagged, frame, payment_flags, unframe


def check_sessions(spec, codec, sessions):
    for title, check in (
        ("frames decoded, and encoded again", check_frames),
        ("contracts and their scripts", check_contracts),
        ("refunds", check_refunds),
        ("payments", check_payments),
        ("settlements and refunds as spends", check_spends),
    ):
        with Group(f"recorded sessions: {title}") as g:
            for name, session in sessions.items():
                try:
                    check(g, spec, codec, name, session)
                except Exception as e:  # a session that is not understood must not hide the others
                    g.problems.append(f"{name}: {type(e).__name__}: {e}")


def plain(message, kinds, name="TwoWayChannelMessage"):
    """A decoded message as the sessions write it: bytes as hex."""
    out = {}
    for field, kind, _, _ in kinds[name].values():
        if field in message:
            value = message[field]
            if kind in kinds:
                value = plain(value, kinds, kind)
            out[field] = value.hex() if isinstance(value, bytes) else value
    return out


def check_frames(g, spec, codec, name, session):
    for i, e in enumerate(session["exchange"]):
        for raw in e.get("forwarded_raw", []):
            g.equal(f"{name} {i} as it was delivered", len(unframe(bytes.fromhex(raw))), 1)
        if "raw" in e:
            g.equal(f"{name} {i} raw length", len(bytes.fromhex(e["raw"])), e["raw_len"])
            g.true(f"{name} {i}: what is no frame was cut", not is_stream(bytes.fromhex(e["raw"])))
        if not e.get("frame"):
            continue
        data = bytes.fromhex(e["frame"])
        if not isinstance(e.get("message"), dict) or "type" not in e["message"] or "unparsed" in str(e["message"])[:40]:
            try:
                codec.decode(data)
                g.problems.append(f"{name} {i}: decodes, but not in the session")
            except (Malformed, UnicodeDecodeError):
                g.count += 1
            continue
        message = codec.decode(data)
        g.equal(f"{name} {i}", plain(message, spec.messages), e["message"])
        if session["reference_is"] in ("both", e["from"]):
            g.equal(f"{name} {i} encoded", codec.encode(message), data)
            g.equal(f"{name} {i} framed", unframe(frame(data)), [data])


def is_stream(raw):
    try:
        return bool(unframe(raw))
    except Malformed:
        return False


def channel_of(spec, c):
    """The channel of a session; None where it never became one: no client key, or a transaction that is none."""
    if "client_pub" not in c or "value" not in c:
        return None
    return Channel(
        spec, c["major"], bytes.fromhex(c["client_pub"]), bytes.fromhex(c["server_pub"]), c["expiry"], c["value"],
        bytes.fromhex(c["contract_txid"])[::-1],
    )


def is_ours(c):
    return c.get("form") in ("v1-multisig", "v2-p2sh-cltv")


def check_contracts(g, spec, codec, name, session):
    for c in session["channels"]:
        ch = channel_of(spec, c)
        if ch is None:
            continue
        raw = bytes.fromhex(c["contract"])
        try:
            tx = Tx.parse(raw)
        except Malformed:
            g.true(f"{name}: only a session about it may hold a broken contract", "trailing" in name)
            tx = Tx.parse(raw[:-1])
        else:
            g.equal(f"{name} contract txid", tx.txid()[::-1].hex(), c["contract_txid"])
            g.equal(f"{name} contract serialized", tx.serialize(), raw)
        g.equal(f"{name} value", tx.outputs[0][0], c["value"])
        g.equal(f"{name} output script in the contract", tx.outputs[0][1].hex(), c["output_script"])
        if is_ours(c):
            g.equal(f"{name} output script", ch.output_script().hex(), c["output_script"])
            g.equal(f"{name} script code", ch.code().hex(), c["code"])
            g.equal(f"{name} redeem script", ch.code().hex(), c["redeem_script"])
        else:
            g.true(f"{name}: a script that is refused is not ours", ch.output_script().hex() != c["output_script"])


def secrets(session):
    return {bytes.fromhex(k): bytes.fromhex(v["priv"]) for k, v in session["keys"].items() if v.get("priv")}


def check_refunds(g, spec, codec, name, session):
    known = secrets(session)
    for c in session["channels"]:
        ch = channel_of(spec, c)
        if ch is None or not is_ours(c):
            continue
        server_signature = b""
        if c["major"] == 1:
            unsigned = bytes.fromhex(c["refund_unsigned"])
            tx = Tx.parse(unsigned)
            if not name.startswith("raw_refund_"):  # those send other refunds, to see what happens
                g.equal(f"{name} refund", ch.refund(), unsigned)
            preimage = sighash_preimage(tx, 0, ch.code(), 0x82)
            g.equal(f"{name} refund preimage", preimage.hex(), c["refund_server_preimage"])
            g.equal(f"{name} refund sighash", sha256d(preimage).hex(), c["refund_server_sighash"])
            g.equal(f"{name} refund lock_time", tx.lock_time, c["refund_locktime"])
            g.equal(f"{name} refund sequence", tx.inputs[0][3], c["refund_sequence"])
            g.equal(f"{name} refund outputs", [[v, o.hex()] for v, o in tx.outputs], c["refund_outputs"])
            if unsigned == ch.refund():
                g.equal(f"{name} refund preimage by the layout", ch.refund_preimage("server"), preimage)
            server_signature = bytes.fromhex(c["refund_server_sig"])
            good = False
            try:
                rs = parse_der(server_signature[:-1])
                good = verify(ch.server, sha256d(preimage), rs) and server_signature[-1] == 0x82
            except Malformed:
                pass
            g.equal(f"{name} refund signature", good, c["refund_server_sig_valid"])
            if good and ch.server in known:
                ours = flagged(known[ch.server], preimage, 0x82)
                g.equal(f"{name} refund signature, RFC 6979", ours, server_signature)
        if "refund_complete" in c:
            whole = Tx.parse(bytes.fromhex(c["refund_complete"]))
            pushed = list(operations(whole.inputs[0][2]))
            client_signature = pushed[1 if c["major"] == 1 else 0][1]
            g.equal(
                f"{name} complete refund",
                ch.refund(ch.refund_script_sig(client_signature, server_signature)).hex(),
                c["refund_complete"],
            )
            if ch.client in known:
                ours = flagged(known[ch.client], ch.refund_preimage("client"), 1)
                g.equal(f"{name} refund signature of the client", ours, client_signature)
            g.equal(f"{name} refund spends the contract", spends(whole, 0, ch.output_script()), None)
            early = Tx.parse(bytes.fromhex(c["refund_complete"]))
            early.lock_time -= 1
            g.true(f"{name} refund, earlier, does not", spends(early, 0, ch.output_script()) is not None)


def check_payments(g, spec, codec, name, session):
    known = secrets(session)
    sent = []
    for e in session["exchange"]:
        body = e["message"] if e.get("frame") and isinstance(e.get("message"), dict) else {}
        sent += [b for b in (body.get("provide_contract", {}).get("initial_payment"), body.get("update_payment")) if b]
    listed = [(p["client_change_value"], p["signature"]) for p in session["payments"] if p["signature"]]
    g.equal(f"{name} payments sent", [(b["client_change_value"], b["signature"]) for b in sent], listed)
    for p in session["payments"]:
        if "preimage" not in p:
            continue
        # A resumed connection has no channel of its own: the one of an earlier connection goes on.
        c = [c for c in session["channels"] if c["conn"] <= p["conn"] and channel_of(spec, c)][-1]
        ch, change = channel_of(spec, c), p["client_change_value"]
        code = ch.code() if is_ours(c) else bytes.fromhex(c["code"])
        where = f"{name} payment {p['n']}"
        signature = bytes.fromhex(p["signature"])
        outputs = [(change, b"\x76\xa9\x14" + hash160(ch.client) + b"\x88\xac")] if change else []
        tx = Tx(1, [(ch.contract, 0, b"", 0xFFFFFFFF)], outputs, 0)
        preimage = sighash_preimage(tx, 0, code, p["flag"])
        g.equal(f"{where} preimage", preimage.hex(), p["preimage"])
        g.equal(f"{where} sighash", sha256d(preimage).hex(), p["sighash"])
        if p["flag"] == payment_flags(change) and is_ours(c):
            g.equal(f"{where} preimage by the layout", ch.payment_preimage(change), preimage)
        good, low = False, True
        try:
            rs = parse_der(signature[:-1])
            good, low = verify(ch.client, sha256d(preimage), rs), is_low(rs)
        except Malformed:
            pass
        # The session's judge takes hybrid keys; the specification does not.
        g.equal(f"{where} valid", good, p["valid"] and parse_key(ch.client) is not None)
        g.equal(f"{where} to the server", c["value"] - change, p["to_server"])
        if good and low and ch.client in known:
            g.equal(f"{where} signature, RFC 6979", flagged(known[ch.client], preimage, p["flag"]), signature)
        g.true(f"{where}: high S only where the session is about it", low or "high_s" in name)


def check_spends(g, spec, codec, name, session):
    known = secrets(session)
    for s in session["spends"]:
        raw = bytes.fromhex(s["tx"])
        tx = Tx.parse(raw)
        where = f"{name} {s['from']}"
        g.equal(f"{where} serialized", tx.serialize(), raw)
        g.equal(f"{where} txid", tx.txid()[::-1].hex(), s["txid"])
        g.equal(f"{where} size", len(raw), s["size"])
        g.equal(f"{where} scriptSig", tx.inputs[0][2].hex(), s["script_sig"])
        g.equal(f"{where} locks", (tx.inputs[0][3], tx.lock_time), (s["sequence"], s["locktime"]))
        g.equal(f"{where} outputs", [[v, o.hex()] for v, o in tx.outputs], s["outputs"])
        c = next(c for c in session["channels"] if bytes.fromhex(c["contract_txid"])[::-1] == tx.inputs[0][0])
        ch = channel_of(spec, c)
        if ch is None or not is_ours(c):
            g.problems.append(f"{where}: spends something that is no contract")
            continue
        g.equal(f"{where} input", (tx.inputs[0][:2], s["inputs"]), ((ch.contract, 0), len(tx.inputs)))
        g.equal(f"{where} fee", ch.value - sum(o[0] for o in tx.outputs), s["fee"])
        pushed = [data if data is not None else bytes([op - 0x50]) for op, data in operations(tx.inputs[0][2])]
        g.equal(f"{where} pushes", [p.hex() for p in pushed], s["pushes"])
        signatures = []
        for sig in s["sigs"]:
            raw_sig = bytes.fromhex(sig["sig"])
            g.equal(f"{where} {sig['by']} flags", raw_sig[-1], sig["flag"])
            preimage = sighash_preimage(tx, 0, ch.code(), raw_sig[-1])
            g.equal(f"{where} {sig['by']} preimage", preimage.hex(), sig["preimage"])
            g.equal(f"{where} {sig['by']} sighash", sha256d(preimage).hex(), sig["sighash"])
            keys = {"client": ch.client, "server": ch.server}
            rs = parse_der(raw_sig[:-1])
            who = [w for w, k in keys.items() if verify(k, sha256d(preimage), rs)]
            g.equal(f"{where} signer", who[0] if who else None, sig["by"] if sig["by"] in keys else None)
            if who and is_low(rs) and keys[who[0]] in known:
                g.equal(f"{where} RFC 6979", flagged(known[keys[who[0]]], preimage, raw_sig[-1]), raw_sig)
            signatures.append((raw_sig, bool(who), is_low(rs)))
        why = spends(tx, 0, ch.output_script())
        sound = all(good and low for _, good, low in signatures)
        g.equal(f"{where} satisfies the contract's script ({why})", why is None, sound)
        sigs = [x[0] for x in signatures]
        if s["locktime"]:
            g.equal(f"{where} by the layout", ch.refund(ch.refund_script_sig(*sigs)), raw)
        elif len(tx.inputs) == 1 and len(tx.outputs) == (2 if sigs[0][-1] == 0x83 else 1):
            change = tx.outputs[0][0] if sigs[0][-1] == 0x83 else 0
            payout, to = tx.outputs[-1]
            whole = ch.settlement(change, payout, to, ch.settlement_script_sig(*sigs))
            g.equal(f"{where} by the layout", whole, raw)
            ours = ch.settlement(change, payout, to, ch.code(), preimage=True)
            g.equal(f"{where} server preimage by the layout", ours.hex(), s["sigs"][1]["preimage"])
