// examples/04_own_server.cpp: what a user's own server gets for free.
'use strict';
const path = require('path');
const {Child} = require('../harness/child');
const {proxy} = require('../harness/proxy');
const {checkSettlement} = require('../harness/scripts');
const {program} = require('../harness/tool');
const {replaced, world} = require('../harness/world');

const example = path.join(path.dirname(program), 'example_04_own_server');

/** Killed with a settlement on its way that spends a coin of its own; killed again, and started when a channel is due. */
async function ownServer(ctx) {
  const w = await world(ctx, {serverCoins: true});
  const start = async (url = w.node.url) => {
    const server = ctx.own(new Child(example, [ctx.path('server.db'), ctx.path('server.seed'), `rpc:${url}`, String(w.port)]));
    await server.until(() => server.lines.find((l) => l === `listening ${w.port}`), 'listening', 30000);
    return server;
  };
  let server = await start();
  const left = await w.pay(['--channel', 300000, '--payments', 5, '--amount', 1000, '--window', 15000]);
  await w.node.mine(1);
  const [record] = await w.channels('server');
  ctx.assert.equal(record.paid, left.opened.paid + 5000);

  const small = ['--channel', 100000, '--payments', 0, '--amount', 1];
  for (let i = 0; i < 2; ++i) {
    await w.pay([...small, '--new']);
    await w.node.mine(1);
  }
  await server.kill('SIGKILL');

  // Fees have risen: what was paid does not bear that of a settlement and a payout any more, though all of it may go to the
  // fee.  The server's only coin does, once.
  const dearer = await proxy(w.node, (call) => (call.method === 'estimatesmartfee' ? {result: {feerate: 0.000022, blocks: 6}} : undefined));
  const settle = async () => {
    server = ctx.tool('serve', '--listen', `127.0.0.1:${w.port}`, '--fee-share', 100,
      ...replaced(w.server, '--chain', `rpc:${dearer.url}`));
    await server.event('listening');
    await new Promise((resolve) => setTimeout(resolve, 2000));  // the estimate
    const tx = await w.node.transaction((await w.pay([...small, '--settle'])).all('settled')[0].txid);
    await server.kill('SIGKILL');
    return tx;
  };
  const first = await settle();
  ctx.assert.equal(first.vin.length, 2);
  const second = await settle();
  const pool = await w.node.call('getrawmempool');
  ctx.assert.ok(pool.includes(first.txid) && pool.includes(second.txid), 'both settlements are on their way');
  ctx.assert.equal(second.vin.length, 1, 'the coin is reserved for the first');
  dearer.close();

  await w.node.passTime(record.expiry - 7000);
  server = await start();
  await server.until(() => server.lines.find((l) => l === `settled ${record.paid} ${left.opened.channel}`), 'the settlement', 60000);
  const closing = (await w.channels('server')).find((c) => c.channel === left.opened.channel).closing;
  const tx = await w.mined(closing);
  await checkSettlement(ctx, w.node, tx, record, 300000 - record.paid, record.paid);
  ctx.assert.equal((await server.kill('SIGTERM')).code, 0);
}

module.exports = [
  {name: 'own server: the example of 80 lines settles what is due after kill -9, and spends no coin twice', run: ownServer},
];
