"""The specification's rules as predicates, against what the reference did in the recorded sessions.

Both must say the same, but in the sessions of the two tables below.  There both sides are written down: what the rules
say, what the reference said, and that this differs.

Covered, server: Keys, Contract 1 to 4, 6 and 8, Refund, Payments 1 to 5, and which of RETURN_REFUND, CHANNEL_OPEN and
PAYMENT_ACK it says on each connection.  Covered, client: its answer to INITIATE (Terms, Keys, coins), with the code of
the ERROR and its expected_value.  Limits that no session touches are probed at their edges.
Hidden behind other rules, so that no session would miss them: the server's check of C in version 2 (1), a change above
the value and the flag byte (Payments 1 and 4), the refund's index, and that lock_time and T are no heights.
Not covered: Versions, the server's error codes, the order of its checks, its clock (Contract 5), a contract that is in
use (7), the fee (9); the client's checks of RETURN_REFUND, `paid` and Settlement; Extensions, Timeouts, and storing.
"""

import re

from bitcoin import Tx
from crypto import Malformed, parse_der, parse_key, sha256d, verify
from report import Group
from specification import Channel, payment_flags, unframe

MONEY = 21_000_000 * 100_000_000  # [satoshi]

# Session: what the server of the rules says, what the reference said; "/" between connections, "-" is nothing.
SERVER_DIFFERS = {
    "raw_contract_below_min.v2": ("-", "CHANNEL_OPEN"),
    "raw_contract_trailing_byte.v1": ("RETURN_REFUND", "RETURN_REFUND CHANNEL_OPEN"),
    "raw_initial_one.v1": ("RETURN_REFUND", "RETURN_REFUND CHANNEL_OPEN"),
    "raw_initial_one.v2": ("-", "CHANNEL_OPEN"),
    "raw_initial_zero.v1": ("RETURN_REFUND", "RETURN_REFUND CHANNEL_OPEN"),
    "raw_initial_zero.v2": ("-", "CHANNEL_OPEN"),
    "raw_refund_other_contract.v1": ("RETURN_REFUND", "RETURN_REFUND CHANNEL_OPEN"),
    "raw_settle_after_bad_initial.v1": ("RETURN_REFUND / -", "RETURN_REFUND / CHANNEL_OPEN"),
    "raw_settle_zero_paid.v2": ("-", "CHANNEL_OPEN"),
}

# Session: what the client of the rules answers to INITIATE, what the reference did.
CLIENT_DIFFERS = {
    "client_insufficient_money.v1": ("OTHER", "hung up"),
    "client_insufficient_money.v2": ("OTHER", "hung up"),
    "fake_key_not_on_curve.v2": ("BAD_TRANSACTION", "hung up"),
    "fake_min_payment_999.v1": ("goes on", "MIN_PAYMENT_TOO_LARGE, expected 1000"),
}


def refuses_payment(ch, change, signature, best):
    """PROTOCOL.md, Payments, Server: why, or None."""
    if change > ch.value:
        return "change above the value"
    if 0 < change < 546:
        return "change below dust"
    if change > best:
        return "change rises"
    try:
        rs = parse_der(signature[:-1])
    except Malformed:
        return "not strict DER"
    if signature[-1:] != bytes([payment_flags(change)]):
        return "wrong flags"
    return None if verify(ch.client, sha256d(ch.payment_preimage(change)), rs) else "does not verify"


def refuses_refund(tx_bytes, expiry):
    """PROTOCOL.md, Refund, Server: why, or None."""
    try:
        tx = Tx.parse(tx_bytes)
    except Malformed:
        return "no transaction"
    if len(tx.inputs) != 1 or len(tx.outputs) != 1:
        return "not one input and one output"
    if tx.inputs[0][3] == 0xFFFFFFFF:
        return "final sequence"
    if tx.lock_time < 500_000_000 or tx.lock_time < expiry:
        return "lock_time too soon"
    return None if tx.inputs[0][1] == 0 else "another output"


def refuses_value(value, least):
    """PROTOCOL.md, Contract, 4: why, or None."""
    return None if max(least, 1546) <= value <= MONEY else "value"


def answers_terms(terms, value, window, now, coins=MONEY, limit=10_000):
    """PROTOCOL.md, Terms and Keys, client: what it answers to INITIATE.  limit: its setting for min_payment."""
    expiry = terms["expire_time_secs"]
    if not (500_000_000 <= expiry <= 0xFFFFFFFF and now + 600 <= expiry <= now + window + 60):
        return "TIME_WINDOW_UNACCEPTABLE"
    if terms["min_accepted_channel_size"] > value or value - 1000 < 546:
        return "CHANNEL_VALUE_TOO_LARGE"
    if terms["min_payment"] > min(limit, value):
        return f"MIN_PAYMENT_TOO_LARGE, expected {min(limit, value)}"
    if not parse_key(terms["multisig_key"]):
        return "BAD_TRANSACTION"
    return "goes on" if coins >= value else "OTHER"


class Connection:
    """What a server of the specification knows on one connection, and what it would say."""

    def __init__(self, spec, channels):
        self.spec, self.channels = spec, channels
        self.version = self.terms = self.client = self.refund = self.ch = None
        self.alive, self.says = True, []

    def opened(self, m):
        """PROTOCOL.md, Contract, and Payments for the first one: why not, or the channel."""
        body = m["provide_contract"]
        client = self.client if self.version == 1 else body.get("client_key")
        if client is None or parse_key(client) is None:
            return "no key"
        try:
            tx = Tx.parse(body["tx"])
        except Malformed:
            return "no transaction"
        value, script = tx.outputs[0] if tx.outputs else (0, b"")
        expiry = self.terms["expire_time_secs"]
        ch = Channel(self.spec, self.version, client, self.terms["multisig_key"], expiry, value, tx.txid())
        if script != ch.output_script():
            return "another script"
        if why := refuses_value(value, self.terms["min_accepted_channel_size"]):
            return why
        if self.version == 1 and Tx.parse(self.refund).inputs[0][:2] != (tx.txid(), 0):
            return "the refund spends another contract"
        first = body["initial_payment"]
        why = refuses_payment(ch, first["client_change_value"], first["signature"], value)
        if why is None and value - first["client_change_value"] < self.terms["min_payment"]:
            why = "below the minimum payment"
        return why or (ch, first["client_change_value"])

    def take(self, m):
        """One message from the client.  Says OPEN, ACK, SIGNED, or a refusal, which is the end."""
        if not self.alive:
            return
        if m["type"] == "PROVIDE_REFUND" and self.version == 1:
            self.client, self.refund = m["provide_refund"]["multisig_key"], m["provide_refund"]["tx"]
            self.say("RETURN_REFUND", refuses_refund(self.refund, self.terms["expire_time_secs"]))
        elif m["type"] == "PROVIDE_CONTRACT" and self.terms is not None:
            result = self.opened(m)
            if isinstance(result, tuple):
                self.ch = result[0]
                self.channels[self.ch.contract] = result
            self.say("CHANNEL_OPEN", result if isinstance(result, str) else None)
        elif m["type"] == "UPDATE_PAYMENT" and self.ch is not None and "update_payment" in m:
            best = self.channels[self.ch.contract][1]
            body = m["update_payment"]
            why = refuses_payment(self.ch, body["client_change_value"], body["signature"], best)
            if why is None:
                self.channels[self.ch.contract] = (self.ch, body["client_change_value"])
            self.say("PAYMENT_ACK", why)
        elif m["type"] not in ("CLIENT_VERSION", "PROVIDE_REFUND"):
            self.alive = False  # CLOSE, ERROR, or a message out of order

    def say(self, what, why):
        self.alive = why is None
        if self.alive:
            self.says.append(what)


def delivered(e, codec):
    """The messages that arrived, where a frame may have been replaced on the way."""
    raw = e.get("forwarded_raw")
    frames = [bytes.fromhex(e["frame"])] if raw is None else [unframe(bytes.fromhex(r))[0] for r in raw]
    for f in frames:
        try:
            yield codec.decode(f)
        except (Malformed, UnicodeDecodeError):
            return


def server_sides(spec, codec, session):
    """(what the rules say, what the reference said), in the words of SERVER_DIFFERS."""
    channels, connections, heard = {}, {}, {}
    for e in session["exchange"]:
        if not e.get("frame"):
            continue
        c = connections.setdefault(e["conn"], Connection(spec, channels))
        said = heard.setdefault(e["conn"], [])
        for m in delivered(e, codec) if e["from"] == "client" else [codec.decode(bytes.fromhex(e["frame"]))]:
            if e["from"] == "client":
                resumes = m.get("client_version", {}).get("previous_channel_contract_hash", b"")[::-1]
                if m["type"] == "CLIENT_VERSION" and resumes in channels:
                    c.ch = channels[resumes][0]
                    c.say("CHANNEL_OPEN", None)
                c.take(m)
            elif m["type"] == "SERVER_VERSION":
                c.version = m["server_version"]["major"]
            elif m["type"] == "INITIATE":
                c.terms = m["initiate"]
            elif m["type"] in ("RETURN_REFUND", "CHANNEL_OPEN", "PAYMENT_ACK"):
                said.append(m["type"])

    def words(connections_say):
        return " / ".join(" ".join(says) or "-" for says in connections_say)

    return words(c.says for c in connections.values()), words(heard.values())


def client_sides(codec, session, options, limit):
    """(what the rules answer to the first INITIATE, what the reference did), or None where none was to be answered."""
    frames = [e for e in session["exchange"] if e.get("frame") and e["conn"] == 1]
    said = [codec.decode(bytes.fromhex(e["frame"])) for e in frames if e["from"] == "client"]
    told = [m for e in frames if e["from"] == "server" for m in delivered(e, codec)]
    terms = [m["initiate"] for m in told if m["type"] == "INITIATE"]
    hello = said[0]["client_version"]
    agreed = [m for m in told if m.get("server_version", {}).get("major") == hello["major"]]
    if not terms or not agreed or session["time"] is None:
        return None
    value = int(options.get("value", 1_000_000))
    coins = int(options["fund"]) * int(options["fund-n"]) if "fund" in options else MONEY
    by_rules = answers_terms(terms[0], value, hello["time_window_secs"], session["time"], coins, limit)
    after = said[1] if len(said) > 1 else {"type": "hung up"}
    theirs = after["type"]
    if theirs in ("PROVIDE_REFUND", "PROVIDE_CONTRACT"):
        theirs = "goes on"
    elif theirs == "ERROR":
        theirs = after["error"].get("code", "OTHER")
        if "expected_value" in after["error"]:
            theirs += f", expected {after['error']['expected_value']}"
    return by_rules, theirs


def compare(g, name, sides, differs):
    """One session: both sides say the same, or differ exactly as the table says."""
    if name in differs:
        g.equal(f"{name}: by the rules, and in the table", sides[0], differs[name][0])
        g.equal(f"{name}: the reference, and in the table", sides[1], differs[name][1])
        g.true(f"{name}: does not differ any more; take it out of the table", sides[0] != sides[1])
    else:
        g.equal(f"{name}: by the rules, and the reference", *sides)


def check_server_rules(spec, codec, sessions):
    with Group("the server's rules against what the reference took and refused") as g:
        compared = set()
        for name, session in sessions.items():
            options = next((o for o in session["options"] if o["role"] == "server"), {})
            if session["reference_is"] == "client":
                g.skip("sessions in which the reference is no server")
            elif "broadcast-fail" in options or options.get("ack") == "fail":
                g.skip("sessions in which the network or the application refuses")
            else:
                compare(g, name, server_sides(spec, codec, session), SERVER_DIFFERS)
                compared.add(name)
        g.equal("sessions of the table that were not compared", set(SERVER_DIFFERS) - compared, set())


def check_client_rules(spec, codec, sessions):
    with Group("the client's rules against what the reference took and refused") as g:
        # What the reference is set to, as the table of releases says.
        limit = int(re.search(r"\| 0\.14\.6, 0\.14\.7 \| ([\d,]+) only \|", spec.text)[1].replace(",", ""))
        compared = set()
        for name, session in sessions.items():
            options = next((o for o in session["options"] if o["role"] == "client"), None)
            if session["reference_is"] == "server" or options is None:
                g.skip("sessions in which the reference is no client")
                continue
            sides = client_sides(codec, session, options, limit)
            if sides is None:
                g.skip("sessions without terms to answer, or without a clock")
                continue
            compare(g, name, sides, CLIENT_DIFFERS)
            compared.add(name)
        g.equal("sessions of the table that were not compared", set(CLIENT_DIFFERS) - compared, set())


def check_limits(sessions_terms):
    """One step to both sides of each number in Terms and Contract that no session comes near."""
    with Group("the rules at their limits") as g:
        now, window, value = 1_700_000_000, 86_340, 1_000_000
        terms = {**sessions_terms, "min_accepted_channel_size": 100_000, "min_payment": 1_000}

        def answer(what, expected, value=value, window=window, **changed):
            given = {**terms, "expire_time_secs": now + window, **changed}
            g.equal(what, answers_terms(given, value, window, now), expected)

        answer("min_payment of 10,000", "goes on", min_payment=10_000)
        answer("min_payment of 10,001", "MIN_PAYMENT_TOO_LARGE, expected 10000", min_payment=10_001)
        small = {"value": 2_000, "min_accepted_channel_size": 0}
        answer("min_payment of all there is", "goes on", min_payment=2_000, **small)
        answer("min_payment of more", "MIN_PAYMENT_TOO_LARGE, expected 2000", min_payment=2_001, **small)
        answer("the server wants what is offered", "goes on", min_accepted_channel_size=value)
        answer("the server wants more", "CHANNEL_VALUE_TOO_LARGE", min_accepted_channel_size=value + 1)
        answer("a refund of 546", "goes on", value=1_546, min_accepted_channel_size=0)
        answer("a refund of 545", "CHANNEL_VALUE_TOO_LARGE", value=1_545, min_accepted_channel_size=0)
        answer("T 60 s late", "goes on", expire_time_secs=now + window + 60)
        answer("T 61 s late", "TIME_WINDOW_UNACCEPTABLE", expire_time_secs=now + window + 61)
        answer("T in 600 s", "goes on", expire_time_secs=now + 600)
        answer("T in 599 s", "TIME_WINDOW_UNACCEPTABLE", expire_time_secs=now + 599)
        answer("T of 32 bits", "goes on", window=0xFFFFFFFF - now)
        answer("T of 33 bits", "TIME_WINDOW_UNACCEPTABLE", window=0x100000000 - now)
        for value, least, why in (
            (1_546, 1_000, None),
            (1_545, 1_000, "value"),
            (100_000, 100_000, None),
            (99_999, 100_000, "value"),
            (MONEY, 1_000, None),
            (MONEY + 1, 1_000, "value"),
        ):
            g.equal(f"a contract of {value} where {least} is the least", refuses_value(value, least), why)


def base(name):
    return name.split(".")[0]


def check_rules(spec, codec, sessions):
    check_server_rules(spec, codec, sessions)
    check_client_rules(spec, codec, sessions)
    check_limits({"multisig_key": spec.vectors["version 2"]["server public key S"]})
    with Group("the sessions that the specification names exist, and it names those that differ") as g:
        named = set()
        for words in re.findall(r"\[([a-z0-9_, ]+)\](?!\()", spec.text):
            named |= {w.strip() for w in words.split(",")}
        for name in sorted(named):
            g.true(f"[{name}] does not exist", name in {base(s) for s in sessions})
        for name in sorted({*SERVER_DIFFERS, *CLIENT_DIFFERS}):
            g.true(f"{name} differs, and is not named", base(name) in named)
