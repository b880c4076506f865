"""The worked channels of PROTOCOL.md: every value computed anew, and compared with the session it was recorded in."""

import re

from bitcoin import Tx, push, sighash, sighash_preimage, spends
from crypto import N, Malformed, hash160, is_low, parse_der, public_key, sha256, sha256d, sign, to_der, verify
from report import Group
from specification import Channel, flagged, frame, payment_flags, u64

CLOSING = {"c": "client", "s": "server"}


def frames_of_vector(vector):
    """[(who, type, bytes with length)], in order."""
    out = []
    for key, value in vector.items():
        m = re.fullmatch(r"frame (\d+) ([cs]) (\w+)", key)
        if m:
            if int(m[1]) != len(out) + 1:
                raise Malformed(f"{key} is out of order")
            out.append((CLOSING[m[2]], m[3], value))
    return out


def check_worked_channel(spec, codec, name, sessions):
    vector = spec.vectors[name]
    used = {"session"} | {k for k in vector if k.startswith("frame ")}

    def given(key):
        used.add(key)
        return vector[key]

    version = int(name[-1])
    with Group(f"worked channel, {name}") as g:

        def compare(key, ours):
            used.add(key)
            g.equal(key, ours, vector[key])

        c, s = given("client private key"), given("server private key")
        compare("client public key C", public_key(c))
        compare("server public key S", public_key(s))
        key_c, key_s = public_key(c), public_key(s)
        compare("hash160 of C", hash160(key_c))
        now, window, value = given("time"), given("window"), given("value")
        expiry = now + window
        compare("T", expiry)
        least, first = given("min channel"), given("min payment")

        # The contract: its inputs are the wallet's; its first output is the specification's.
        contract = given("contract")
        tx = Tx.parse(contract)
        ch = Channel(spec, version, key_c, key_s, expiry, value, tx.txid())
        if version == 2:
            compare("redeem script", ch.code())
            compare("hash160 of the redeem script", hash160(ch.code()))
        compare("contract output script", ch.output_script())
        g.equal("the contract's first output", tx.outputs[0], (value, ch.output_script()))
        compare("contract txid, internal order", tx.txid())
        compare("contract txid, display order", tx.txid()[::-1])
        coin = given("contract input's public key")
        g.true("the contract's input is signed", spends(tx, 0, b"\x76\xa9\x14" + hash160(coin) + b"\x88\xac") is None)

        def sign_as(who, what, preimage, draft, flags):
            """A signature under the draft: each step is compared, and it verifies."""
            secret, key = (c, key_c) if who == "client" else (s, key_s)
            compare(f"{what} preimage, {who}", preimage)
            compare(f"{what} sighash, {who}", sha256d(preimage))
            g.equal("its generic form", sighash_preimage(Tx.parse(draft), 0, ch.code(), flags), preimage)
            signature = flagged(secret, preimage, flags)
            compare(f"{what} signature, {who}", signature)
            g.true(f"{what} signature, {who}, verifies", verify(key, sha256d(preimage), parse_der(signature[:-1])))
            return signature

        # The refund.
        message_tx = ch.refund()
        server_signature = b""
        if version == 1:
            compare("refund, unsigned", message_tx)
            server_signature = sign_as("server", "refund", ch.refund_preimage("server"), message_tx, 0x82)
        client_signature = sign_as("client", "refund", ch.refund_preimage("client"), message_tx, 1)
        script_sig = ch.refund_script_sig(client_signature, server_signature)
        compare("refund scriptSig", script_sig)
        refund = ch.refund(script_sig)
        compare("refund", refund)
        compare("refund txid, display order", sha256d(refund)[::-1])

        # The payments.
        payments = []
        for i in range(1, 100):
            if f"payment {i} change" not in vector:
                break
            change = given(f"payment {i} change")
            preimage = ch.payment_preimage(change)
            if f"payment {i} preimage" in vector:
                compare(f"payment {i} preimage", preimage)
            compare(f"payment {i} sighash", sha256d(preimage))
            flags = payment_flags(change)
            signature = flagged(c, preimage, flags)
            compare(f"payment {i} signature", signature)
            g.true(f"payment {i} verifies", verify(key_c, sha256d(preimage), parse_der(signature[:-1])))
            draft = Tx.parse(ch.settlement(change, 1, b""))
            g.equal("its generic form", sighash_preimage(draft, 0, ch.code(), flags), preimage)
            payments.append((change, signature))
        g.true("a session has payments", len(payments) > 1)
        g.equal("the first payment leaves min_payment", value - payments[0][0], first)
        g.true("change goes down", [p[0] for p in payments] == sorted({p[0] for p in payments}, reverse=True))

        # The settlement.
        change, last = payments[-1]
        payout, payout_script = given("payout"), given("payout script")
        preimage = ch.settlement(change, payout, payout_script, ch.code(), preimage=True)
        draft = ch.settlement(change, payout, payout_script)
        signature = sign_as("server", "settlement", preimage, draft, 1)
        script_sig = ch.settlement_script_sig(last, signature)
        compare("settlement scriptSig", script_sig)
        settlement = ch.settlement(change, payout, payout_script, script_sig)
        compare("settlement", settlement)
        compare("settlement txid, display order", sha256d(settlement)[::-1])
        compare("settlement fee", value - change - payout)

        # The scripts run.
        out = ch.output_script()
        g.equal("the settlement satisfies the contract's script", spends(Tx.parse(settlement), 0, out), None)
        g.equal("the refund satisfies the contract's script", spends(Tx.parse(refund), 0, out), None)
        for what, wrong in spoiled(ch, refund, settlement, client_signature, last, signature, server_signature, c):
            g.true(f"{what} must not satisfy the contract's script", spends(wrong, 0, out) is not None)

        # The frames.
        infos = [(vector.get(f"payment {i + 1} info"), vector.get(f"ack {i + 1} info")) for i in range(len(payments))]
        used.update(f"{what} {i + 1} info" for what in ("payment", "ack") for i in range(len(payments)))
        messages = conversation(
            version, window, key_c, key_s, expiry, least, first, contract, message_tx, server_signature, payments,
            infos, settlement,
        )
        ours = [(who, m["type"], frame(codec.encode(m))) for who, m in messages]
        theirs = frames_of_vector(vector)
        g.equal("number of frames", len(ours), len(theirs))
        for i, (a, b) in enumerate(zip(ours, theirs)):
            g.equal(f"frame {i + 1}", a, b)
            g.equal(f"frame {i + 1} decoded", codec.decode(b[2][4:]), messages[i][1])
        recorded = [
            (e["from"], e["message"]["type"], frame(bytes.fromhex(e["frame"])))
            for e in sessions[vector["session"]]["exchange"]
            if e.get("frame")
        ]
        for i, (a, b) in enumerate(zip(theirs, recorded)):
            g.equal(f"frame {i + 1} as recorded", a, b)
        g.equal("number of recorded frames", len(recorded), len(theirs))
        g.equal("values that nothing checks", set(vector) - used, set())
        return ch, payments
    return None


def conversation(
    version, window, c, s, expiry, least, first, contract, refund, refund_signature, payments, infos, settlement
):
    """Every message of a channel that is opened, paid from and settled by the client."""

    def update(i):
        out = {"client_change_value": payments[i][0], "signature": payments[i][1]}
        return {**out, "info": infos[i][0]} if infos[i][0] else out

    def ack(i):
        return {"type": "PAYMENT_ACK", **({"payment_ack": {"info": infos[i][1]}} if infos[i][1] else {})}

    hello = {"major": version, "minor": 0, "time_window_secs": window}
    terms = {"multisig_key": s, "min_accepted_channel_size": least, "expire_time_secs": expiry, "min_payment": first}
    out = [
        ("client", {"type": "CLIENT_VERSION", "client_version": hello}),
        ("server", {"type": "SERVER_VERSION", "server_version": {"major": version, "minor": 0}}),
        ("server", {"type": "INITIATE", "initiate": terms}),
    ]
    provide = {"tx": contract, "initial_payment": update(0)}
    if version == 1:
        out.append(("client", {"type": "PROVIDE_REFUND", "provide_refund": {"multisig_key": c, "tx": refund}}))
        out.append(("server", {"type": "RETURN_REFUND", "return_refund": {"signature": refund_signature}}))
    else:
        provide["client_key"] = c
    out.append(("client", {"type": "PROVIDE_CONTRACT", "provide_contract": provide}))
    out.append(("server", {"type": "CHANNEL_OPEN"}))
    for i in range(1, len(payments)):
        out.append(("client", {"type": "UPDATE_PAYMENT", "update_payment": update(i)}))
        out.append(("server", ack(i)))
    out.append(("client", {"type": "CLOSE"}))
    out.append(("server", {"type": "CLOSE", "settlement": {"tx": settlement}}))
    return out


def spoiled(ch, refund, settlement, refund_signature, payment_signature, settle_signature, refund_server_signature, c):
    """Spends of the contract that must fail: what each word of the scripts is there for."""

    def changed(raw, sequence=None, lock_time=None, outputs=None, script_sig=None):
        tx = Tx.parse(raw)
        txid, n, script, old = tx.inputs[0]
        tx.inputs[0] = (txid, n, script if script_sig is None else script_sig, old if sequence is None else sequence)
        tx.lock_time = tx.lock_time if lock_time is None else lock_time
        tx.outputs = tx.outputs if outputs is None else outputs
        return tx

    def resigned(sequence, lock_time):
        """A refund that the client signs anew, with other locks."""
        tx = changed(refund, sequence=sequence, lock_time=lock_time)
        signature = to_der(sign(c, sighash(tx, 0, ch.code(), 1))) + b"\1"
        tx.inputs[0] = (*tx.inputs[0][:2], ch.refund_script_sig(signature, refund_server_signature), sequence)
        return tx

    outputs = Tx.parse(settlement).outputs
    moved = [(outputs[0][0] - 1, outputs[0][1]), (outputs[1][0] + 1, outputs[1][1])]
    yield "a settlement with less change", changed(settlement, outputs=moved)
    yield "a settlement with swapped outputs", changed(settlement, outputs=outputs[::-1])
    swapped = ch.settlement_script_sig(settle_signature, payment_signature)
    yield "a settlement with swapped signatures", changed(settlement, script_sig=swapped)
    twice = ch.settlement_script_sig(payment_signature, payment_signature)
    yield "a settlement signed by the client twice", changed(settlement, script_sig=twice)
    alone = ch.settlement_script_sig(b"", settle_signature)
    yield "a settlement without the client", changed(settlement, script_sig=alone)
    rs = parse_der(settle_signature[:-1])
    high = ch.settlement_script_sig(payment_signature, to_der((rs[0], N - rs[1])) + b"\1")
    yield "a settlement with a high S", changed(settlement, script_sig=high)
    yield "a refund that pays elsewhere", changed(refund, outputs=[(ch.value - 1000, b"\x51")])
    yield "a refund with another lock_time, same signature", changed(refund, lock_time=ch.expiry - 1)
    if ch.version == 1:
        yield "a refund re-signed by the client alone, earlier", resigned(0xFFFFFFFE, ch.expiry - 1)
        yield "a refund re-signed by the client alone, final", resigned(0xFFFFFFFF, 0)
    else:
        yield "a refund re-signed one second earlier", resigned(0xFFFFFFFE, ch.expiry - 1)
        yield "a refund re-signed with a final sequence", resigned(0xFFFFFFFF, ch.expiry)
        yield "a refund re-signed with a height", resigned(0xFFFFFFFE, 499_999_999)
        branch = ch.refund_script_sig(refund_signature).replace(b"\1\0" + push(ch.code()), b"\x51" + push(ch.code()))
        yield "a refund through the branch of the settlement", changed(refund, script_sig=branch)


def check_extensions(spec, codec, ch, payments):
    vector = spec.vectors["extensions"]
    used = set()

    def given(key):
        used.add(key)
        return vector[key]

    with Group("worked example of the extensions") as g:

        def compare(key, ours):
            used.add(key)
            g.equal(key, ours, vector[key])

        c, now = given("client private key"), given("resume_time")
        g.equal("the key is the worked channel's", public_key(c), ch.client)
        compare("tag", b"paychan/resume")
        compare("SHA256 of the tag", sha256(b"paychan/resume"))
        compare("contract txid, internal order", ch.contract)
        message = spec.build(
            "resume proof", SHA256_tag=sha256(b"paychan/resume"), contract_txid=ch.contract, resume_time=u64(now)
        )
        compare("message", message)
        compare("digest", sha256(message))
        rs = sign(c, sha256(message))
        compare("resume_signature", to_der(rs))
        g.true("it verifies and has a low S", verify(ch.client, sha256(message), rs) and is_low(rs))

        change, signature = payments[-1]
        hello = {
            "major": ch.version,
            "minor": 0,
            "previous_channel_contract_hash": ch.contract[::-1],
            "time_window_secs": 86340,
            "extensions": 1,
            "resume_time": now,
            "resume_signature": to_der(rs),
        }
        resumed = {"client_change_value": change, "signature": signature}
        lower = given("next change")
        preimage = ch.payment_preimage(lower)
        update = {"client_change_value": lower, "signature": flagged(c, preimage, payment_flags(lower))}
        compare("next signature", update["signature"])
        compare("paid", ch.value - lower)
        messages = [
            ("client", {"type": "CLIENT_VERSION", "client_version": hello}),
            ("server", {"type": "SERVER_VERSION", "server_version": {"major": ch.version, "minor": 0}}),
            ("server", {"type": "CHANNEL_OPEN", "resumed": resumed}),
            ("client", {"type": "UPDATE_PAYMENT", "update_payment": update}),
            ("server", {"type": "PAYMENT_ACK", "payment_ack": {"paid": ch.value - lower}}),
        ]
        theirs = frames_of_vector(vector)
        g.equal("number of frames", len(messages), len(theirs))
        for i, ((who, m), b) in enumerate(zip(messages, theirs)):
            g.equal(f"frame {i + 1}", (who, m["type"], frame(codec.encode(m))), b)
            g.equal(f"frame {i + 1} decoded", codec.decode(b[2][4:]), m)
        used.update(k for k in vector if k.startswith("frame "))
        g.equal("values that nothing checks", set(vector) - used, set())
