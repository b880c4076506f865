// Keys of channels and the wallet's coins: what strangers and failed openings cost, and what is found from the seed alone.
'use strict';
const net = require('net');
const {execFileSync} = require('child_process');
const {world, replaced} = require('../harness/world');
const {type, encode, frame} = require('../harness/peer');

/** How many keys a store counts as given out. */
const keys = (file) => Number(execFileSync('python3', ['-c',
  'import sqlite3, sys; r = sqlite3.connect(sys.argv[1]).execute("select bytes from record where kind = 7").fetchone();'
  + 'print(int.from_bytes(r[0], "little") if r else 0)', file]).toString());

/** Hellos of strangers, who go away when they have the answer. */
async function hellos(ctx) {
  const w = await world(ctx);
  const server = await w.serve();
  const hello = frame(encode({1: type.clientVersion, 2: {1: 2, 2: 0, 4: 86340}}));
  let answered = 0;
  const one = () => new Promise((done) => {
    const socket = net.connect({port: w.port, host: '127.0.0.1'}, () => socket.write(hello));
    socket.once('data', () => { ++answered; socket.resetAndDestroy(); });
    socket.on('error', () => {});
    socket.on('close', done);
  });
  const crowd = (each) => Promise.all(Array.from({length: 40}, async () => { for (let i = 0; i < each; ++i) await one(); }));
  await crowd(5);
  const before = keys(ctx.path('server.db'));
  await crowd(125);
  ctx.assert.ok(answered > 5000, `${answered} of 5,200 were answered`);
  await server.kill('SIGTERM');
  // The claim that the server works with may have grown a little.
  ctx.assert.ok(keys(ctx.path('server.db')) <= Math.max(before, 96), `${before} keys before, ${keys(ctx.path('server.db'))} after`);
}

/** Openings that fail, then one that works; then the store is lost. */
async function gap(ctx) {
  const w = await world(ctx);
  await w.serve();
  const pay = ['--channel', 1000000, '--payments', 2, '--amount', 1000];
  const poor = replaced(replaced(w.client, '--seed', ctx.path('poor.seed')), '--store', `sqlite:${ctx.path('poor.db')}`);
  const payArgs = ['pay', '--connect', `127.0.0.1:${w.port}`, ...poor, ...pay];
  const address = await w.address('poor');
  for (let i = 0; i < 25; ++i) await ctx.run(payArgs, {code: 1});
  ctx.assert.equal(keys(ctx.path('poor.db')), 0);
  await w.node.mine(1, address);
  await w.node.mine(100);
  const paid = await ctx.run([...payArgs, '--settle'], {ms: 120000});
  ctx.assert.equal(keys(ctx.path('poor.db')), 1);
  await w.mined(paid.all('settled')[0].txid);

  const fresh = replaced(poor, '--store', `sqlite:${ctx.path('fresh.db')}`);
  const swept = (await ctx.run(['sweep', ...fresh, '--to', await w.address('server')])).all('sweep')[0];
  ctx.assert.equal(swept.coins, 2, 'change of the contract, and of the channel');
  ctx.assert.ok(swept.amount > 5000000000 - 20000, `${swept.amount} sat`);
}

/** More coins than one transaction may have inputs, and coins that cannot be spent yet. */
async function manyCoins(ctx) {
  const w = await world(ctx);
  const {node} = w;
  await node.mine(510, await w.address('client'));  // and one that it has
  await node.mine(98);
  const to = await w.address('server');
  const args = ['sweep', ...replaced(w.client, '--patience', 60), '--to', to];
  const sweep = await ctx.run(args, {ms: 120000});
  ctx.assert.deepEqual(sweep.all('sweep').map((e) => e.coins), [500, 10]);
  // The last one cannot be spent in the next block yet.
  const [left] = sweep.all('left');
  ctx.assert.ok(left.immature > 0 && left.dust === 0 && left.reserved === 0, JSON.stringify(left));
  await node.mine(1);
  for (const {txid} of sweep.all('sweep')) ctx.assert.equal((await node.transaction(txid)).confirmations, 1);
  const again = await ctx.run(args);
  ctx.assert.deepEqual(again.all('sweep').map((e) => e.coins), [1]);
  ctx.assert.deepEqual(again.all('left'), []);
}

module.exports = [
  {name: 'a sweep sends all coins, in as many transactions as it takes, and tells what it leaves', run: manyCoins},
  {name: 'hellos of strangers cost a server no keys', run: hellos},
  {name: 'failed openings cost a client no keys, and the seed alone finds all coins', run: gap},
];
