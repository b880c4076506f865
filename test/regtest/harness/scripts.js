// The exact scripts of contracts, settlements and refunds, of both protocol versions, as the node shows them in a block.
'use strict';
process.env.NODE_BACKEND = 'js';  // bcoin without native builds, as in regnode.js
const {Script} = require('bcoin');
const {satoshi} = require('./node');

/** The script's operations: pushes as hex (a push of no bytes is ''), the others as numbers. */
function operations(hex) {
  const script = Buffer.from(hex, 'hex');
  const found = [];
  for (let i = 0; i < script.length;) {
    const op = script[i++];
    if (op > 0x4c) { found.push(op); continue; }
    const size = op === 0x4c ? script[i++] : op;
    if (i + size > script.length) throw new Error(`a push beyond the end of ${hex}`);
    found.push(script.subarray(i, i + size).toString('hex'));
    i += size;
  }
  return found;
}

const hash160 = (hex) => Script.fromRaw(hex, 'hex').hash160('hex');
const p2pkh = (key) => `76a914${hash160(key)}88ac`;
const key = /^0[23][0-9a-f]{64}$/;

/** Asserts that it is a strict DER signature in sane bounds with this hash type. */
function checkSignature(ctx, hex, type, whose) {
  ctx.assert.match(hex, new RegExp(`^30[0-9a-f]{130,144}${type}$`), `${whose} signature`);
}

/**
 * Asserts that output 0 of the contract is that of the version; `redeem` is what the spender shows (version 2).
 * Resolves with the keys {client, server}, in hex.
 */
function checkContract(ctx, contract, {protocol, expiry, value}, redeem) {
  ctx.assert.equal(satoshi(contract.vout[0].value), value);
  const script = contract.vout[0].scriptPubKey.hex;
  if (protocol === 1) {
    const [two, client, server, again, check, ...rest] = operations(script);
    ctx.assert.deepEqual([two, again, check, rest], [0x52, 0x52, 0xae, []], 'a bare 2-of-2');
    ctx.assert.match(client, key);
    ctx.assert.match(server, key);
    return {client, server};
  }
  ctx.assert.equal(script, `a914${hash160(redeem)}87`, 'the hash of the redeem script');
  const time = Buffer.alloc(4);
  time.writeUInt32LE(expiry);
  const [client, server] = [redeem.slice(-68, -2), redeem.slice(4, 70)];
  ctx.assert.equal(redeem, `6321${server}ad6704${time.toString('hex')}b1756821${client}ac`);
  ctx.assert.match(client, key);
  ctx.assert.match(server, key);
  return {client, server};
}

/**
 * Asserts that a mined settlement spends the contract by the exact script, and pays change [satoshi] to the client (no
 * output if it is 0) and `paid` less a fee to the server.  Resolves with the payout [satoshi].
 *   channel  what `paychan channels` says: {channel, protocol, expiry, value}
 */
async function checkSettlement(ctx, node, tx, channel, change, paid) {
  ctx.assert.deepEqual([tx.vin.length, tx.vin[0].txid, tx.vin[0].vout], [1, channel.channel, 0], 'it spends the contract');
  ctx.assert.equal(change + paid, channel.value);
  const ops = operations(tx.vin[0].scriptSig.hex);
  const [client, server] = channel.protocol === 1 ? ops.slice(1) : ops;
  checkSignature(ctx, client, change > 0 ? '83' : '82', 'the client\'s');
  checkSignature(ctx, server, '01', 'the server\'s');
  if (channel.protocol === 1) ctx.assert.deepEqual(ops, ['', client, server]);
  else ctx.assert.deepEqual(ops, [client, server, 0x51, ops[3]]);
  const keys = checkContract(ctx, await node.transaction(channel.channel), channel, ops[3]);
  ctx.assert.equal(tx.vin[0].sequence, 0xffffffff);
  ctx.assert.equal(tx.locktime, 0);
  const outputs = tx.vout.map((o) => [satoshi(o.value), o.scriptPubKey.hex]);
  const [payout] = outputs.pop();
  ctx.assert.deepEqual(outputs, change > 0 ? [[change, p2pkh(keys.client)]] : [], 'the client\'s change');
  ctx.assert.ok(payout < paid && payout > paid - 2000, `the server gets what was paid less a fee: ${payout} of ${paid}`);
  return payout;
}

/**
 * Asserts that a mined refund spends the contract by the exact script, and pays all but its fee to the client: at the node's
 * fallback of 2 sat/vB, or another [sat/kvB]; null: at the protocol's fixed fee, as it was stored.
 */
async function checkRefund(ctx, node, tx, channel, rate = 2000) {
  ctx.assert.deepEqual([tx.vin.length, tx.vin[0].txid, tx.vin[0].vout], [1, channel.channel, 0], 'it spends the contract');
  const ops = operations(tx.vin[0].scriptSig.hex);
  checkSignature(ctx, channel.protocol === 1 ? ops[1] : ops[0], '01', 'the client\'s');
  if (channel.protocol === 1) {
    checkSignature(ctx, ops[2], '82', 'the server\'s');
    ctx.assert.deepEqual([ops.length, ops[0]], [3, '']);
  } else {
    ctx.assert.deepEqual([ops.length, ops[1]], [3, '00'], 'a push of one byte 00');
  }
  const keys = checkContract(ctx, await node.transaction(channel.channel), channel, ops[2]);
  ctx.assert.equal(tx.vin[0].sequence, rate === null || channel.protocol === 1 ? 0xfffffffe : 0xfffffffd);
  ctx.assert.equal(tx.locktime, channel.expiry);
  ctx.assert.deepEqual(tx.vout.map((o) => o.scriptPubKey.hex), [p2pkh(keys.client)]);
  const fee = channel.value - satoshi(tx.vout[0].value);
  const size = tx.hex.length / 2;
  if (rate === null) ctx.assert.equal(fee, 1000);
  else ctx.assert.ok(fee >= rate * size / 1000 && fee <= rate * (size + 5) / 1000 + 1, `the fee of ${size} bytes is ${fee}`);
}

module.exports = {checkSettlement, checkRefund, checkContract, operations};
