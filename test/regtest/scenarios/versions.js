// Both protocol versions between build/paychan processes, on the real node: each way that a channel can go, to its end in a block.
'use strict';
const fs = require('fs');
const {satoshi} = require('../harness/node');
const {coin, replaced, world, paid, deserted} = require('../harness/world');
const {checkSettlement, checkRefund} = require('../harness/scripts');

/** Asserts that what the server heard of a channel adds up: every payment once, and `total` in all. */
function checkPayments(ctx, server, channel, total) {
  const payments = server.all('payment').filter((e) => e.channel === channel);
  let sum = 0;
  for (const payment of payments) ctx.assert.equal(payment.total, sum += payment.amount);
  ctx.assert.equal(sum, total);
}

async function openPaySettle(ctx, version, legacy) {
  const w = await world(ctx, {legacy});
  const server = await w.serve();
  const client = await w.pay(['--version', version, '--channel', 1000000, '--payments', 1000, '--amount', 10, '--settle',
    ...(legacy ? ['--legacy'] : [])]);
  ctx.assert.equal(client.opened.protocol, version);
  ctx.assert.equal(server.all('opened')[0].protocol, version);
  ctx.assert.equal(client.all('acked').length, 1000);
  ctx.assert.equal(client.all('acked')[999].total, 11000);  // the first payment, and 1,000 of 10
  const settled = client.all('settled')[0];
  ctx.assert.equal(settled.paid, 11000);
  // The server announces the first payment too, before it announces the opening.
  ctx.assert.equal(server.all('payment').length, 1001);
  checkPayments(ctx, server, client.opened.channel, 11000);
  ctx.assert.equal((await server.event('settled')).txid, settled.txid);

  const mempool = await w.node.call('getrawmempool');
  ctx.assert.ok(mempool.includes(client.opened.channel) && mempool.includes(settled.txid));
  await w.node.mine(1);
  const tx = await w.node.transaction(settled.txid);
  ctx.assert.equal(tx.confirmations, 1);
  ctx.assert.equal(tx.hex, settled.hex);
  const [channel] = await w.channels('server');
  ctx.assert.deepEqual([channel.protocol, channel.channel, channel.stage, channel.paid, channel.closing],
    [version, client.opened.channel, 'settling', 11000, settled.txid]);
  const payout = await checkSettlement(ctx, w.node, tx, channel, 989000, 11000);

  const confirmed = await server.event('confirmed');
  ctx.assert.equal(confirmed.txid, settled.txid);
  const {code} = await server.kill('SIGTERM');
  ctx.assert.equal(code, 0);
  ctx.assert.equal(server.all('settled').length, 1, 'the settlement is reported once');
  const money = await w.balance('server');
  ctx.assert.equal(money.confirmed, payout);
  // 50 coins, less what was paid and the contract's fee.
  const left = (await w.balance('client')).confirmed;
  ctx.assert.ok(left <= 50 * coin - 11000 && left > 50 * coin - 11000 - 5000, `the client has ${left}`);
}

async function refund(ctx, version) {
  const {w, channel} = await deserted(ctx, {pay: ['--version', version, '--channel', 500000, '--payments', 3, '--amount', 1000]});
  const waiting = (await ctx.run(['refund', ...w.client], {code: 3})).all('waiting')[0];
  ctx.assert.equal(waiting.channel, channel);
  const early = await ctx.run(['refund', '--early', ...w.client], {code: 1});
  ctx.assert.equal(early.all('broadcast')[0].outcome, 'refused');
  ctx.assert.match(early.all('broadcast')[0].reason, /non-final/);

  // The clock alone does not do: the median time is what counts, and it must be past the lock time.
  await w.node.setTime(waiting.due + 600);
  await w.node.mine(1);
  await ctx.run(['refund', ...w.client], {code: 3});
  await w.node.passTime(waiting.due + 600);
  const done = await ctx.run(['refund', ...w.client]);
  const sent = done.all('broadcast').filter((b) => b.outcome === 'accepted').map((b) => b.txid);
  const tx = await w.mined(sent.find((txid) => txid !== channel));
  const [record] = await w.channels('client');
  ctx.assert.deepEqual([record.protocol, record.channel], [version, channel]);
  await checkRefund(ctx, w.node, tx, record);
  // Again: it is home, nothing is left to do, and the money is in the wallet.
  await ctx.run(['refund', ...w.client]);
  const left = (await w.balance('client')).confirmed;
  ctx.assert.ok(left < 50 * coin - 500 && left > 50 * coin - 10000, `the client has ${left}`);
}

async function killServer(ctx, version) {
  const w = await world(ctx);
  const server = await w.serve();
  const client = ctx.tool(...w.payArgs('--version', version, '--channel', 1000000, '--payments', 100000, '--amount', 5));
  await client.until(() => client.all('acked').length >= 200 || undefined, '200 acks', 60000);
  await server.kill('SIGKILL');
  ctx.assert.equal((await client.exit()).code, 1);
  const {channel} = client.all('opened')[0];
  const acked = client.all('acked').at(-1).total;
  const [stored] = await w.channels('server');
  ctx.assert.equal(stored.channel, channel);
  ctx.assert.ok(stored.paid >= acked, `${acked} acked, ${stored.paid} stored`);
  ctx.assert.ok(stored.paid <= acked + 5, 'one payment may have been in flight');
  await ctx.run(['settle', ...w.server], {code: 3});  // not due yet

  const again = await w.serve();
  const more = await w.pay(['--version', version, '--channel', 1000000, '--payments', 20, '--amount', 5, '--settle']);
  const {opened} = more;
  ctx.assert.deepEqual([opened.channel, opened.resumed, opened.protocol], [channel, true, version]);
  ctx.assert.ok(opened.paid >= stored.paid && opened.paid <= stored.paid + 5, `${opened.paid} after ${stored.paid}`);
  const settled = more.all('settled')[0];
  ctx.assert.equal(settled.paid, opened.paid + 100);
  // Those after the restart: 20, and the one that was in flight if it was lost.
  const heard = again.all('payment').filter((e) => e.channel === channel);
  ctx.assert.equal(heard.reduce((sum, e) => sum + e.amount, stored.paid), settled.paid);
  const tx = await w.mined(settled.txid);
  await checkSettlement(ctx, w.node, tx, stored, 1000000 - settled.paid, settled.paid);
  await again.event('confirmed');
}

async function killClient(ctx, version) {
  const w = await world(ctx);
  const server = await w.serve();
  const args = ['--version', version, '--channel', 1000000, '--amount', 5];
  let channel, least;
  for (const round of [1, 2]) {  // the second time in a channel that was resumed
    const client = ctx.tool(...w.payArgs(...args, '--payments', 100000));
    await client.until(() => client.all('acked').length >= 100 * round || undefined, `${100 * round} acks`, 60000);
    await client.kill('SIGKILL');
    const opened = client.all('opened')[0];
    if (round === 2) {
      ctx.assert.deepEqual([opened.channel, opened.resumed], [channel, true]);
      ctx.assert.ok(opened.paid >= least && opened.paid <= least + 10, `${opened.paid} after ${least}`);
    }
    channel = opened.channel;
    least = client.all('acked').at(-1).total;
  }
  const last = await w.pay([...args, '--payments', 50, '--settle']);
  ctx.assert.deepEqual([last.opened.channel, last.opened.resumed, last.opened.protocol], [channel, true, version]);
  // It may have had one more ack than it could tell of, and one more payment on its way.
  ctx.assert.ok(last.opened.paid >= least && last.opened.paid <= least + 10, `${last.opened.paid} after ${least}`);
  const settled = last.all('settled')[0];
  ctx.assert.equal(settled.paid, last.opened.paid + 250);
  checkPayments(ctx, server, channel, settled.paid);
  const [stored, ...others] = await w.channels('server');
  ctx.assert.deepEqual([stored.channel, others], [channel, []]);
  const tx = await w.mined(settled.txid);
  await checkSettlement(ctx, w.node, tx, stored, 1000000 - settled.paid, settled.paid);
}

/** The store's files as they are now, to be put back later, there or elsewhere: what a backup does. */
function copyOfStore(file) {
  const parts = ['', '-wal', '-shm'].filter((end) => fs.existsSync(file + end)).map((end) => [end, fs.readFileSync(file + end)]);
  return (to = file) => {
    for (const end of ['', '-wal', '-shm']) fs.rmSync(to + end, {force: true});
    for (const [end, bytes] of parts) fs.writeFileSync(to + end, bytes, {mode: 0o600});
  };
}

async function takeOver(ctx, version) {
  const w = await world(ctx);
  const server = await w.serve();
  const args = ['--version', version, '--channel', 1000000, '--amount', 5];
  const frozen = ctx.tool(...w.payArgs(...args, '--payments', 100000));
  await frozen.until(() => frozen.all('acked').length >= 50 || undefined, '50 acks', 60000);
  frozen.process.kill('SIGSTOP');  // its connection stays, and says nothing any more
  copyOfStore(ctx.path('client.db'))(ctx.path('copy.db'));
  const second = await ctx.run(replaced(w.payArgs(...args, '--payments', 20, '--settle'), '--store', `sqlite:${ctx.path('copy.db')}`));
  const opened = second.all('opened')[0];
  ctx.assert.deepEqual([opened.channel, opened.resumed], [frozen.all('opened')[0].channel, true]);
  const settled = second.all('settled')[0];
  ctx.assert.equal(settled.paid, opened.paid + 100);
  frozen.process.kill('SIGCONT');
  ctx.assert.equal((await frozen.exit()).code, 1);
  ctx.assert.ok(frozen.all('acked').at(-1).total <= opened.paid, 'nothing was acked to it after that');
  ctx.assert.equal(frozen.all('error').length, 1);
  checkPayments(ctx, server, opened.channel, settled.paid);
  const tx = await w.mined(settled.txid);
  await checkSettlement(ctx, w.node, tx, (await w.channels('server'))[0], 1000000 - settled.paid, settled.paid);
}

async function oldClientStore(ctx, version) {
  const {w, server, channel} = await paid(ctx, {pay: ['--version', version, '--channel', 500000, '--payments', 10, '--amount', 100]});
  const args = ['--version', version, '--channel', 500000, '--amount', 100];
  const restore = copyOfStore(ctx.path('client.db'));
  ctx.assert.equal((await w.pay([...args, '--payments', 20])).all('acked').at(-1).total, 4000);
  restore();
  ctx.assert.equal((await w.channels('client'))[0].paid, 2000);
  const last = await w.pay([...args, '--payments', 5, '--settle']);
  ctx.assert.deepEqual([last.opened.channel, last.opened.resumed, last.opened.paid], [channel, true, 4000]);
  const settled = last.all('settled')[0];
  ctx.assert.equal(settled.paid, 4500);
  checkPayments(ctx, server, channel, 4500);
  const tx = await w.mined(settled.txid);
  await checkSettlement(ctx, w.node, tx, (await w.channels('client'))[0], 495500, 4500);
}

async function oldServerStore(ctx, version) {
  const {w, server, channel} = await paid(ctx, {pay: ['--version', version, '--channel', 500000, '--payments', 10, '--amount', 100]});
  const args = ['--version', version, '--channel', 500000, '--amount', 100];
  await server.kill('SIGKILL');
  const restore = copyOfStore(ctx.path('server.db'));
  const lost = await w.serve();
  ctx.assert.equal((await w.pay([...args, '--payments', 20])).all('acked').at(-1).total, 4000);
  await lost.kill('SIGKILL');
  restore();
  ctx.assert.equal((await w.channels('server'))[0].paid, 2000);
  // The client's last payment brings back all that was lost: it is sent again when the channel goes on.
  const again = await w.serve();
  const last = await w.pay([...args, '--payments', 5, '--settle']);
  ctx.assert.deepEqual([last.opened.channel, last.opened.resumed, last.opened.paid], [channel, true, 4000]);
  ctx.assert.equal(last.all('acked').length, 5);
  ctx.assert.deepEqual(again.all('payment').map((e) => e.amount), [2000, ...Array(5).fill(100)]);
  const tx = await w.mined(last.all('settled')[0].txid);
  await checkSettlement(ctx, w.node, tx, (await w.channels('server'))[0], 495500, 4500);
}

/** A change that no node would relay is given away, and the settlement has no output for it. */
async function payAll(ctx, version) {
  const {w, server, client} = await paid(ctx,
    {pay: ['--version', version, '--channel', 100000, '--payments', 2, '--amount', 49250, '--settle']});
  ctx.assert.deepEqual(client.all('acked').map((e) => e.amount), [49250, 49750]);
  const settled = client.all('settled')[0];
  ctx.assert.equal(settled.paid, 100000);
  ctx.assert.equal((await server.event('settled')).txid, settled.txid);
  const tx = await w.mined(settled.txid);
  await checkSettlement(ctx, w.node, tx, (await w.channels('server'))[0], 0, 100000);
}

const both = (name, run) => [1, 2].map((version) => ({name: `version ${version}: ${name}`, run: (ctx) => run(ctx, version)}));

module.exports = [
  ...both('open, pay 1,000 times, settle: contract and settlement mined, by the exact scripts', openPaySettle),
  {name: 'the same from P2PKH coins, for servers that cannot read SegWit', run: (ctx) => openPaySettle(ctx, 2, true)},
  ...both('a refund is refused before the lock time and mined after it', refund),
  ...both('after kill -9 of the server nothing that was acked is lost, and the channel goes on', killServer),
  ...both('after kill -9 of the client the channel goes on, and no payment counts twice', killClient),
  ...both('a second connection takes the channel over from one that is frozen', takeOver),
  ...both('a client store from an older backup goes on from the server\'s amount', oldClientStore),
  ...both('a server store from an older backup gets the lost payments from the client', oldServerStore),
  ...both('all of a channel is paid: it is settled without change', payAll),
  {
    name: 'versions: what both allow is found, and the rest refused before any coin moves',
    async run(ctx) {
      const w = await world(ctx);
      const args = ['--channel', 400000, '--payments', 1, '--amount', 100];
      const refused = async (version, more, words) => {
        const tool = await w.pay(['--version', version, ...args, ...more], {code: 1});
        const errors = tool.all('error');
        ctx.assert.equal(errors.length, 1);
        ctx.assert.equal(errors[0].code, 'NO_ACCEPTABLE_VERSION');
        ctx.assert.match(errors[0].peer_says, words);
        ctx.assert.equal(tool.all('stored').length, 0);
        return tool;
      };
      const old = await w.serve('--versions', '1');
      await refused('2', [], /this server speaks protocol version 1/);
      const first = await w.pay(args);
      ctx.assert.deepEqual([first.opened.protocol, first.opened.resumed], [1, false]);
      ctx.assert.equal(first.all('error').length, 0, 'that the server has no 2 is no error');
      // A stored channel of a version that is not allowed stays where it is, and this is said.
      const other = await refused('2', [], /version 1/);
      ctx.assert.deepEqual(other.all('not_resumed'), [{event: 'not_resumed', channel: first.opened.channel, protocol: 1}]);
      await old.kill('SIGTERM');

      await w.node.mine(1);
      const newer = await w.serve('--versions', '2');
      await refused('1', ['--new'], /this server speaks protocol version 2/);
      // What is stored goes on.
      for (const version of ['1', '2or1']) {
        const tool = await w.pay(['--version', version, ...args]);
        ctx.assert.deepEqual([tool.opened.channel, tool.opened.resumed, tool.opened.protocol], [first.opened.channel, true, 1]);
      }
      const second = await w.pay(['--version', '2', ...args]);
      ctx.assert.equal(second.all('not_resumed').length, 1);
      ctx.assert.deepEqual([second.opened.protocol, second.opened.resumed], [2, false]);
      await w.node.mine(1);
      const third = await w.pay(['--version', '2', ...args]);
      ctx.assert.deepEqual([third.opened.channel, third.opened.resumed], [second.opened.channel, true]);
      await newer.kill('SIGTERM');

      const all = await ctx.run(['settle', '--all', ...w.server]);
      ctx.assert.equal(all.all('settled').length, 2);
      await w.node.mine(1);
      for (const record of await w.channels('server')) {
        const tx = await w.node.transaction(record.closing);
        ctx.assert.equal(tx.confirmations, 1);
        await checkSettlement(ctx, w.node, tx, record, record.change, record.paid);
      }
    },
  },
  {
    name: 'info goes to the server with each payment, and back with each ack',
    async run(ctx) {
      const w = await world(ctx);
      const server = await w.serve('--ack-info', 'C0ffee');
      const args = ['--channel', 400000, '--amount', 100];
      const client = await w.pay([...args, '--payments', 3, '--info', '00ff0a']);
      const [first, ...payments] = server.all('payment');
      ctx.assert.equal(first.info, undefined);
      ctx.assert.deepEqual(payments.map((e) => e.info), Array(3).fill('00ff0a'));
      ctx.assert.deepEqual(client.all('acked').map((e) => e.info), Array(3).fill('c0ffee'));
      await server.kill('SIGTERM');
      // The longest there is, both ways; and none.
      const most = '5a'.repeat(32000);
      const large = await w.serve('--ack-info', most);
      const second = await w.pay([...args, '--payments', 2, '--info', most]);
      ctx.assert.equal(second.opened.resumed, true);
      // All of it travels; the log shows the first 1,024 bytes and says how many there were.
      const shown = (e) => e.info === most.slice(0, 2048) && e.info_bytes === 32000;
      ctx.assert.ok(large.all('payment').length === 2 && large.all('payment').every(shown));
      ctx.assert.ok(second.all('acked').length === 2 && second.all('acked').every(shown));
      await large.kill('SIGTERM');
      const silent = await w.serve();
      const third = await w.pay([...args, '--payments', 1]);
      ctx.assert.deepEqual([silent.all('payment')[0].info, third.all('acked')[0].info], [undefined, undefined]);
    },
  },
  {
    name: '--settle-after: the server settles over the connection, and the client is told',
    async run(ctx) {
      const w = await world(ctx);
      const server = await w.serve('--settle-after', 5);
      const args = ['--channel', 400000, '--amount', 100];
      const client = await w.pay([...args, '--payments', 10], {code: 1});
      ctx.assert.equal(client.all('acked').length, 5);
      const settled = client.all('settled')[0];
      ctx.assert.equal(settled.paid, 1500);
      ctx.assert.equal(client.all('error').length, 1);
      ctx.assert.match(client.all('error')[0].explanation, /the server settled the channel after 5 of 10 payments/);
      ctx.assert.equal((await server.event('settled')).txid, settled.txid);
      const tx = await w.mined(settled.txid);
      await checkSettlement(ctx, w.node, tx, (await w.channels('client'))[0], 398500, 1500);
      // The next one is new; the count goes on over connections.
      const second = await w.pay([...args, '--payments', 3]);
      ctx.assert.deepEqual([second.opened.resumed, second.all('settled').length], [false, 0]);
      const third = await w.pay([...args, '--payments', 2, '--settle']);
      ctx.assert.equal(third.opened.resumed, true);
      ctx.assert.equal(third.all('settled')[0].paid, 1500);
      await w.mined(third.all('settled')[0].txid);
      ctx.assert.equal(satoshi((await w.node.transaction(third.all('settled')[0].txid)).vout[0].value), 398500);
      // A client that has gone when its channel is due to be settled gets it all the same.
      const fourth = await w.pay([...args, '--payments', 5]);
      const last = await server.event((e) => e.event === 'settled' && e.channel === fourth.opened.channel);
      await w.mined(last.txid);
    },
  },
];
