// Change of a contract that is in no block funds the next channel.
'use strict';
const {proxy} = require('../harness/proxy');
const {replaced, world} = require('../harness/world');

const another = ['--new', '--channel', 1000000, '--payments', 1, '--amount', 1000];

/** Channels in a row from one coin, each by a process of its own, without a block in between. */
async function inARow(ctx) {
  const w = await world(ctx, {node: {datadir: ctx.path('node')}});
  const server = await w.serve();
  const contracts = [];
  for (let i = 0; i < 3; ++i) {
    contracts.push((await w.pay(another)).opened.channel);
    const balance = await w.balance('client');
    ctx.assert.ok(balance.unconfirmed > 4000000000 && balance.confirmed === 0);
  }
  const before = await w.balance('client');
  const pool = await w.node.call('getrawmempool');
  ctx.assert.deepEqual([...pool].sort(), [...contracts].sort());
  const last = await w.node.transaction(contracts[2]);
  ctx.assert.deepEqual(last.vin.map((i) => i.txid), [contracts[1]]);
  // What the node forgets, the next process gives to it again.
  await server.kill('SIGTERM');  // which would give it back at once
  await w.node.stop();
  w.node = await ctx.node({datadir: ctx.path('node'), rpcport: w.node.rpcport, port: w.node.port});
  ctx.assert.deepEqual(await w.node.call('getrawmempool'), []);
  ctx.assert.equal((await w.balance('client')).unconfirmed, before.unconfirmed);
  const again = await w.serve();
  const fourth = (await w.pay(another)).opened.channel;
  ctx.assert.deepEqual([...await w.node.call('getrawmempool')].sort(), [...contracts, fourth].sort());
  await w.node.mine(1);
  for (const id of [...contracts, fourth]) ctx.assert.equal((await w.node.transaction(id)).confirmations, 1);
  const balance = await w.balance('client');
  ctx.assert.equal(balance.unconfirmed, 0);
  ctx.assert.ok(balance.confirmed > 4000000000);
  await again.kill('SIGTERM');
  const settled = await ctx.run(['settle', '--all', ...w.server]);
  ctx.assert.equal(settled.all('settled').length, 4);
}

/** The client's node does not have the first contract: what hangs on that is not offered to anybody. */
async function unknown(ctx) {
  const w = await world(ctx);
  await w.serve();
  const front = await proxy(w.node, (call) => (call.method === 'sendrawtransaction' ? {code: -26, message: 'mempool full'} : undefined));
  ctx.own({kill: async () => front.close(), tail: () => 'a proxy before the node'});
  w.client = replaced(w.client, '--chain', `rpc:${front.url}`);
  await w.pay(another);
  const second = await ctx.run(w.payArgs(...another), {code: 1});
  const [error] = second.all('error');
  ctx.assert.equal(error.code, 'insufficient_funds');
  ctx.assert.match(error.explanation, /the change of earlier contracts counts when the network has them/);
}

module.exports = [
  {name: 'change: channels in a row from one coin, without a block', run: inARow},
  {name: 'change of a contract that the node does not have funds nothing', run: unknown},
];
