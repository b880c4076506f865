"""The specification's rules as predicates, against what the reference did in every recorded session.

They agree, but for the sessions that PROTOCOL.md names in brackets where it says what bitcoinj does otherwise.
"""

import re

from bitcoin import Tx
from crypto import Malformed, parse_der, parse_key, sha256d, verify
from report import Group
from specification import Channel, payment_flags, unframe

MONEY = 21_000_000 * 100_000_000  # [satoshi]


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


def refuses_terms(terms, value, window, now):
    """PROTOCOL.md, Terms and Keys, client: the code of the ERROR, or None."""
    expiry = terms["expire_time_secs"]
    if not (500_000_000 <= expiry <= 0xFFFFFFFF and now + 600 <= expiry <= now + window + 60):
        return "TIME_WINDOW_UNACCEPTABLE"
    if terms["min_accepted_channel_size"] > value or value - 1000 < 546:
        return "CHANNEL_VALUE_TOO_LARGE"
    if terms["min_payment"] > min(10_000, value):
        return "MIN_PAYMENT_TOO_LARGE"
    return None if parse_key(terms["multisig_key"]) else "BAD_TRANSACTION"


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
        if not max(self.terms["min_accepted_channel_size"], 1546) <= value <= MONEY:
            return "value"
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
    """[(what the rules say, what the reference said)], for each connection of a session."""
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
    return [(connections[n].says, heard[n]) for n in connections]


def check_server_rules(spec, codec, sessions, differences):
    with Group("the server's rules against what the reference took and refused") as g:
        found = set()
        for name, session in sessions.items():
            options = next((o for o in session["options"] if o["role"] == "server"), {})
            # A network that refuses and an application that does are not what the rules are about.
            if session["reference_is"] == "client" or "broadcast-fail" in options or options.get("ack") == "fail":
                continue
            pairs = server_sides(spec, codec, session)
            differs = [f"by the rules {a}, the reference {b}" for a, b in pairs if a != b]
            g.true(f"{name}: {'; '.join(differs)}", not differs or base(name) in differences)
            if differs:
                found.add(base(name))
        g.true("the reference differs nowhere: is this compared at all?", found or len(sessions) < 100)
        return found
    return set()


def base(name):
    return name.split(".")[0]


def check_client_rules(codec, sessions, differences):
    with Group("the client's rules against what the reference took and refused") as g:
        for name, session in sessions.items():
            options = next((o for o in session["options"] if o["role"] == "client"), None)
            if session["reference_is"] == "server" or options is None:
                continue
            frames = [e for e in session["exchange"] if e.get("frame") and e["conn"] == 1]
            said = [codec.decode(bytes.fromhex(e["frame"])) for e in frames if e["from"] == "client"]
            told = [m for e in frames if e["from"] == "server" for m in delivered(e, codec)]
            terms = [m["initiate"] for m in told if m["type"] == "INITIATE"]
            hello = said[0]["client_version"]
            agreed = [m for m in told if m.get("server_version", {}).get("major") == hello["major"]]
            if not terms or not agreed or session["time"] is None:
                continue
            value = int(options.get("value", 1_000_000))
            why = refuses_terms(terms[0], value, hello["time_window_secs"], session["time"])
            after = said[1] if len(said) > 1 else {"type": "nothing"}
            theirs = None if after["type"] in ("PROVIDE_REFUND", "PROVIDE_CONTRACT") else after["type"]
            if theirs == "ERROR":
                theirs = after["error"].get("code", "OTHER")
            if base(name) in differences:
                g.count += 1
            else:
                g.equal(f"{name} after INITIATE", why, theirs)


def check_rules(spec, codec, sessions):
    named = set()
    for words in re.findall(r"\[([a-z0-9_, ]+)\](?!\()", spec.text):
        named |= {w.strip() for w in words.split(",")}
    check_server_rules(spec, codec, sessions, named)
    check_client_rules(codec, sessions, named)
    with Group("the sessions that the specification names exist") as g:
        for name in sorted(named):
            g.true(f"[{name}]", name in {base(s) for s in sessions})

