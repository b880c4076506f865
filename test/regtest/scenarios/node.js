// The node by itself: what every other scenario relies on.
'use strict';
const {minersAddress, RpcError} = require('../harness/node');

const coin = 100000000;  // [satoshi]
const minersScript = '0014751e76e8199196d454941c45d1b3a323f1433bd6';  // BIP173: version 0, and the hash in minersAddress

module.exports = [
  {
    name: 'the node mines, and its chain holds the rewards',
    async run(ctx) {
      const node = await ctx.node();
      const hashes = await node.mine(101, minersAddress);
      ctx.assert.equal(hashes.length, 101);
      ctx.assert.equal(await node.height(), 101);
      ctx.assert.equal(await node.call('getblockhash', 101), hashes[100]);
      // 50 coins a block below height 150.
      ctx.assert.equal(await node.balance(minersScript), 101 * 50 * coin);
    },
  },
  {
    name: 'the node\'s clock moves the median time',
    async run(ctx) {
      const node = await ctx.node();
      await node.mine(12);
      const later = await node.medianTime() + 90000;
      ctx.assert.ok(await node.medianTime() < later);
      await node.passTime(later);
      ctx.assert.ok(await node.medianTime() >= later);
    },
  },
  {
    name: 'the node refuses in Bitcoin Core\'s words and numbers',
    async run(ctx) {
      const node = await ctx.node();
      const refused = (code) => (e) => e instanceof RpcError && e.code === code;
      await ctx.assert.rejects(node.call('sendrawtransaction', 'no hex'), refused(-22));
      await ctx.assert.rejects(node.call('getblockhash', 1000), refused(-8));
      await ctx.assert.rejects(node.call('no_such_method'), refused(-32601));
      ctx.assert.equal(await node.transaction('00'.repeat(32)), null);
    },
  },
  {
    name: 'the node stops cleanly, and its port is free again',
    async run(ctx) {
      const node = await ctx.node();
      const {code, signal} = await node.stop();
      ctx.assert.deepEqual({code, signal}, {code: 0, signal: null});
      await ctx.assert.rejects(node.call('getblockcount'), {code: 'ECONNREFUSED'});
      const again = await ctx.node({rpcport: node.rpcport, port: node.port});
      ctx.assert.equal(await again.height(), 0);
    },
  },
];
