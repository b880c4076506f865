// A peer of a few lines: raw frames over TCP, protobuf by hand.  It shares no code with the library.
'use strict';
const net = require('net');

const type = {clientVersion: 1, serverVersion: 2, initiate: 3, close: 9, error: 10};
const body = {[type.clientVersion]: 2, [type.serverVersion]: 3, [type.initiate]: 4, [type.close]: 9, [type.error]: 10};

function varint(value) {
  const bytes = [];
  for (let v = BigInt(value); ; v >>= 7n) {
    if (v < 128n) return Buffer.from([...bytes, Number(v)]);
    bytes.push(Number(v & 127n) | 128);
  }
}

/** {number: value}: integers, strings, Buffers and objects, which are messages. */
function encode(fields) {
  return Buffer.concat(Object.entries(fields).map(([number, value]) => {
    if (typeof value === 'number') return Buffer.concat([varint(number << 3), varint(value)]);
    const bytes = Buffer.isBuffer(value) ? value : typeof value === 'string' ? Buffer.from(value) : encode(value);
    return Buffer.concat([varint(number << 3 | 2), varint(bytes.length), bytes]);
  }));
}

/** {number: value} of a message: integers as numbers, all else as Buffers. */
function decode(bytes) {
  const fields = {};
  let at = 0;
  const read = () => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const b = bytes[at++];
      value |= BigInt(b & 127) << shift;
      if (b < 128) return Number(value);
    }
  };
  while (at < bytes.length) {
    const tag = read();
    if ((tag & 7) === 0) {
      fields[tag >> 3] = read();
    } else {
      const size = read();
      fields[tag >> 3] = bytes.subarray(at, at += size);
    }
  }
  return fields;
}

function frame(payload) {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(payload.length);
  return Buffer.concat([length, payload]);
}

class Peer {
  constructor(port) {
    this.socket = net.connect(port, '127.0.0.1');
    this.seen = Buffer.alloc(0);
    this.ended = false;
    this.wake = () => {};
    this.socket.on('data', (data) => { this.seen = Buffer.concat([this.seen, data]); this.wake(); });
    this.socket.on('error', () => {});
    this.socket.on('close', () => { this.ended = true; this.wake(); });
  }

  write(bytes) { this.socket.write(bytes); }

  /** send(type.error, {1: 7}) */
  send(what, fields) { this.write(frame(encode({1: what, [body[what]]: fields}))); }

  /** The next message as {type, ...fields of its body}; null at the end of the connection. */
  async next(ms = 10000) {
    for (const end = Date.now() + ms; ;) {
      if (this.seen.length >= 4 && this.seen.length >= 4 + this.seen.readUInt32BE(0)) {
        const size = this.seen.readUInt32BE(0);
        const message = decode(this.seen.subarray(4, 4 + size));
        this.seen = this.seen.subarray(4 + size);
        const inner = message[body[message[1]]];
        return {type: message[1], ...(inner ? decode(inner) : {})};
      }
      if (this.ended) return null;
      if (Date.now() > end) throw new Error(`no message within ${ms} ms`);
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, 200);
        this.wake = () => { clearTimeout(timer); resolve(); };
      });
    }
  }

  /** All bytes until the other side ends the connection. */
  async rest() {
    while (!this.ended) await new Promise((resolve) => { this.wake = resolve; });
    return this.seen;
  }
}

/** The types of the messages in these bytes; what is cut off is left out. */
function typesOf(bytes) {
  const types = [];
  for (let at = 0; at + 4 <= bytes.length; ) {
    const end = at + 4 + bytes.readUInt32BE(at);
    if (end > bytes.length) break;
    types.push(decode(bytes.subarray(at + 4, end))[1]);
    at = end;
  }
  return types;
}

module.exports = {Peer, type, encode, frame, typesOf};
