// What build/paychan does between processes on the real node, whatever the protocol version: every satoshi counted.
'use strict';
const fs = require('fs');
const {otherClock} = require('../harness/clock');
const {satoshi} = require('../harness/node');
const {proxy} = require('../harness/proxy');
const {checkContract, checkSettlement, operations} = require('../harness/scripts');
const {Tool} = require('../harness/tool');
const {coin, replaced, world, paid, deserted} = require('../harness/world');

module.exports = [
  ...[[1, 370], [2, 450]].map(([version, size]) => ({
    name: `version ${version}: a settlement that pays its fee, but no payout that nodes relay, gets an input of the server's wallet`,
    async run(ctx) {
      const {w, client, channel} = await deserted(ctx,
        {world: {serverCoins: true}, pay: ['--version', version, '--channel', 300000, '--payments', 0, '--amount', 1]});
      const first = client.opened.paid;
      // The input has 69 vB, and the settlement with it a little less than `size`: so paid < fee without it + 294 (dust), and
      // fee with it < paid.
      const rate = Math.round(first * 1000 / size);
      const settle = await ctx.run(['settle', '--all', '--fee-rate', rate, '--fee-share', 100, ...w.server]);
      const tx = await w.mined(settle.all('settled')[0].txid);
      ctx.assert.deepEqual([tx.vin.length, tx.vin[0].txid, tx.vout.length], [2, channel, 2]);
      ctx.assert.equal(satoshi(tx.vout[0].value), 300000 - first);
      const payout = satoshi(tx.vout[1].value);
      const added = 50 * coin;
      ctx.assert.ok(payout > added && payout < added + first, `the payout is ${payout}`);
    },
  })),
  {
    name: 'a settlement that reaches no network is not done, and goes out as soon as it can',
    async run(ctx) {
      const {w} = await deserted(ctx, {pay: ['--channel', 300000, '--payments', 1, '--amount', 5000]});
      let answer = 403;
      const between = await proxy(w.node, ({method}) => method === 'sendrawtransaction' ? answer : undefined);
      const args = ['settle', '--all', ...replaced(w.server, '--chain', `rpc:${between.url}`)];
      const failed = await ctx.run(args, {code: 1});
      ctx.assert.equal(failed.all('settled').length, 0);
      ctx.assert.ok(failed.all('broadcast').every((b) => b.outcome === 'unreachable'));
      ctx.assert.ok(failed.all('error').some((e) => e.code === 'unreachable'));
      // Connections that end, and then a node that takes it again: one run of the tool is enough.
      answer = 0;
      const tool = ctx.tool(...args);
      await tool.event((e) => e.event === 'broadcast' && e.outcome === 'unreachable');
      answer = undefined;
      ctx.assert.equal((await tool.exit(60000)).code, 0);
      const tx = await w.mined(tool.all('settled')[0].txid);
      await checkSettlement(ctx, w.node, tx, (await w.channels('server'))[0], 294000, 6000);
      between.close();
    },
  },
  {
    name: 'a refund that reaches no network is not done, and goes out as soon as it can',
    async run(ctx) {
      const {w, channel} = await deserted(ctx, {pay: ['--channel', 300000, '--payments', 1, '--amount', 1000, '--window', 15000]});
      const [{expiry}] = await w.channels('client');
      await w.node.passTime(expiry + 600);
      let answer = 0;
      const between = await proxy(w.node, ({method}) => method === 'sendrawtransaction' ? answer : undefined);
      const args = ['refund', ...replaced(w.client, '--chain', `rpc:${between.url}`)];
      await ctx.run(args, {code: 1});
      const tool = ctx.tool(...args);
      await tool.event((e) => e.event === 'broadcast' && e.outcome === 'unreachable');
      answer = undefined;
      ctx.assert.equal((await tool.exit(60000)).code, 0);
      const refund = tool.all('broadcast').find((b) => b.outcome === 'accepted' && b.txid !== channel).txid;
      const tx = await w.mined(refund);
      ctx.assert.equal(tx.vin[0].txid, channel);
      between.close();
    },
  },
  {
    name: 'settle builds a settlement that was refused again, with the fee of the day, in the same run',
    async run(ctx) {
      const {w, channel} = await deserted(ctx, {pay: ['--channel', 300000, '--payments', 1, '--amount', 20000]});
      // A node that never sees the first one, and one that refuses it.
      const between = await proxy(w.node, ({method}) => method === 'sendrawtransaction' ? 403 : undefined);
      const args = ['settle', ...replaced(w.server, '--chain', `rpc:${between.url}`)];
      const first = await ctx.run([...args, '--all', '--fee-rate', 1000], {code: 1});
      const [stored] = await w.channels('server');
      ctx.assert.equal(stored.stage, 'settling');
      between.close();
      const seen = first.all('broadcast').map((b) => b.hex);
      const picky = await proxy(w.node, ({method, params}) => method === 'sendrawtransaction' && seen.includes(params[0])
        ? {code: -26, message: 'min relay fee not met'} : undefined);
      const again = await ctx.run(['settle', '--all', '--fee-rate', 5000, ...replaced(w.server, '--chain', `rpc:${picky.url}`)]);
      picky.close();
      const {txid} = again.all('settled')[0];
      ctx.assert.equal((await w.channels('server'))[0].closing, txid);
      ctx.assert.notEqual(txid, stored.closing);
      const tx = await w.mined(txid);
      const fee = 21000 - satoshi(tx.vout[1].value);
      const size = tx.hex.length / 2;  // it has no witness
      ctx.assert.ok(fee >= 5 * size && fee <= 5 * (size + 4), `the fee of ${size} bytes is ${fee}`);
      ctx.assert.equal(tx.vin[0].txid, channel);
    },
  },
  {
    name: 'a server goes on when the reader of its lines goes away',
    async run(ctx) {
      const w = await world(ctx);
      const server = await w.serve();
      server.process.stdout.destroy();
      const client = await w.pay(['--channel', 400000, '--payments', 20, '--amount', 100, '--settle']);
      ctx.assert.equal(client.all('acked').length, 20);
      ctx.assert.equal((await server.kill('SIGTERM')).code, 0);
      await w.mined(client.all('settled')[0].txid);
    },
  },
  {
    name: 'sweep: earnings and refunds leave, and what channels need stays',
    async run(ctx) {
      const elsewhere = 'bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080';
      const {w, server, client} = await paid(ctx, {pay: ['--channel', 400000, '--payments', 1, '--amount', 50000, '--settle']});
      // Nothing is there yet: the settlement is not in a block.
      await ctx.run(['sweep', '--to', elsewhere, ...w.server], {code: 1});
      await w.mined(client.all('settled')[0].txid);
      const earned = (await w.balance('server')).confirmed;
      await server.kill('SIGTERM');
      const done = await ctx.run(['sweep', '--to', elsewhere, ...w.server]);
      const tx = await w.mined(done.all('sweep')[0].txid);
      ctx.assert.ok(satoshi(tx.vout[0].value) < earned && satoshi(tx.vout[0].value) > earned - 500);
      ctx.assert.equal(tx.vout[0].scriptPubKey.hex, '0014751e76e8199196d454941c45d1b3a323f1433bd6');
      ctx.assert.equal((await w.balance('server')).confirmed, 0);
      // The client's coins are of both forms: its change, and the channel's change at a P2PKH address.
      const before = await w.balance('client');
      ctx.assert.equal(before.legacy, 349000);
      const all = await ctx.run(['sweep', '--to', elsewhere, ...w.client]);
      const both = await w.mined(all.all('sweep')[0].txid);
      ctx.assert.equal(both.vin.length, 2);
      ctx.assert.ok(satoshi(both.vout[0].value) > before.confirmed - 1500);
      ctx.assert.equal((await w.balance('client')).confirmed, 0);
      // Nothing left to fund from, and one error that says so.
      await w.serve();
      const short = await w.pay(['--channel', 400000, '--payments', 1, '--amount', 1], {code: 1});
      ctx.assert.equal(short.all('error').length, 1);
      ctx.assert.equal(short.all('error')[0].code, 'insufficient_funds');
      const bad = await ctx.run(['sweep', '--to', 'nowhere', ...w.client], {code: 2});
      ctx.assert.match(bad.stderr, /--to/);
    },
  },
  {
    name: 'pay goes on with a stored channel, and --new opens another',
    async run(ctx) {
      const w = await world(ctx);
      const server = await w.serve();
      const pay = (...more) => w.pay(['--channel', 400000, ...more]);
      const first = (await pay('--payments', 10, '--amount', 100)).opened;
      ctx.assert.equal(first.resumed, false);
      const second = await pay('--payments', 10, '--amount', 100);
      ctx.assert.deepEqual(second.opened, {event: 'opened', channel: first.channel, paid: 2000, resumed: true, protocol: 2});
      ctx.assert.equal(second.all('acked').at(-1).total, 3000);
      // What the channel cannot bear, and what is asked for, opens another.
      await w.node.mine(1);
      const third = (await pay('--new', '--payments', 1, '--amount', 100)).opened;
      ctx.assert.notEqual(third.channel, first.channel);
      ctx.assert.equal(third.resumed, false);
      // Over a kill -9 of the server too.
      await server.kill('SIGKILL');
      await w.serve();
      await w.node.mine(1);
      const big = await pay('--payments', 1, '--amount', 300000, '--settle');
      ctx.assert.equal(big.opened.resumed, true);
      await w.mined(big.all('settled')[0].txid);
      ctx.assert.equal((await w.channels('client')).length, 2);
    },
  },
  {
    name: 'after the loss of a client\'s store no key of the chain is used again',
    async run(ctx) {
      const w = await world(ctx);
      await w.serve();
      const pay = async (store, version) => {
        const args = w.payArgs('--version', version, '--channel', 400000, '--payments', 1, '--amount', 100, '--settle');
        const tool = await ctx.run(replaced(args, '--store', `sqlite:${ctx.path(store)}`));
        const tx = await w.mined(tool.all('settled')[0].txid);
        // The keys stand in the contract (version 1), or in the script that the settlement shows.
        const redeem = version === 2 ? operations(tx.vin[0].scriptSig.hex)[3] : undefined;
        const [{expiry}] = (await ctx.run(['channels', '--store', `sqlite:${ctx.path(store)}`, '--json'])).all('channel');
        const contract = await w.node.transaction(tool.all('opened')[0].channel);
        return Object.values(checkContract(ctx, contract, {protocol: version, expiry, value: 400000}, redeem));
      };
      const keys = [...await pay('first.db', 2), ...await pay('second.db', 1), ...await pay('third.db', 2)];
      ctx.assert.equal(new Set(keys).size, 6, keys.join(' '));
    },
  },
  {
    name: 'refunds that are due are printed where there is no node',
    async run(ctx) {
      const {w, server} = await paid(ctx,
        {serve: ['--min-window', 7800], pay: ['--channel', 300000, '--payments', 1, '--amount', 1000, '--window', 8000]});
      await server.kill('SIGKILL');
      const print = replaced(w.client, '--chain', 'print:');
      const early = await ctx.run(['refund', ...print], {code: 3});
      ctx.assert.equal(early.all('transaction').length, 0);
      const due = ctx.own(new Tool(['refund', ...print].map(String), {cwd: ctx.folder, env: otherClock(ctx, 3 * 86400)}));
      ctx.assert.equal((await due.exit()).code, 0, due.tail());
      // The contract, in case nobody has broadcast it, and the refund.
      const [, refund] = due.all('transaction');
      const [{channel}] = await w.channels('client');
      await w.node.passTime(Math.floor(Date.now() / 1000) + 86400);
      await w.node.call('sendrawtransaction', refund.hex);
      const tx = await w.mined(refund.txid);
      ctx.assert.equal(tx.vin[0].txid, channel);
    },
  },
  {
    name: 'birthdays, wrong passwords and nodes that say nothing: an end, and one line',
    async run(ctx) {
      const w = await world(ctx);
      const lone = async (args, pattern, code) => {
        const tool = await ctx.run(args.filter((a) => a !== '--json'), {code});
        ctx.assert.equal(tool.stderr.trim().split('\n').length, 1, tool.stderr);
        ctx.assert.match(tool.stderr, pattern);
        return tool;
      };
      const missing = replaced(w.client, '--store', `sqlite:${ctx.path('none.db')}`);
      await lone(['settle', '--all', ...missing], /none.db|no such store/, 2);
      ctx.assert.ok(!fs.existsSync(ctx.path('none.db')), 'settle makes no store');
      const server = await w.serve('--birthday', 50);
      await server.kill('SIGTERM');
      await lone(['serve', '--listen', '127.0.0.1:0', ...w.server, '--birthday', 60], /only lower/, 2);
      await ctx.run(['balance', ...w.server, '--birthday', 10]);
      await lone(['balance', ...w.server, '--birthday', 51], /which is 50/, 2);
      await ctx.run(['sweep', '--to', 'bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080', ...w.client, '--birthday', 100000], {code: 1});
      await lone(['sweep', '--to', 'bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080', ...w.client, '--birthday', 100000], /waiting for block 100000/, 1);
      ctx.assert.equal((await w.balance('client')).confirmed, 50 * coin, 'a slip of the hand is not kept');
      const wrong = replaced(w.client, '--chain', `rpc:http://user:wrong@127.0.0.1:${w.node.rpcport}`);
      const refused = await ctx.run(['balance', ...wrong], {code: 1});
      ctx.assert.equal(refused.all('node')[0].status, 'unreachable');
      ctx.assert.equal(refused.all('error').length, 1);
      await lone(['balance', ...w.client, 'rpc:http://user:secret@host'], /argument \d+ was not expected; see/, 2);
      const extra = await lone(['balance', ...w.client, '--password=secret'], /--password/, 2);
      ctx.assert.doesNotMatch(extra.stderr, /secret/);
      await lone(['demo', '--payments', 1000000, '--amount', 10], /raise --channel/, 2);
      await lone(['serve', '--listen', '127.0.0.1:0', ...w.server, '--min-window', 7200], /7800/, 2);
    },
  },
  {
    name: 'the server settles by itself before the expiry',
    async run(ctx) {
      const {w, server} = await paid(ctx, {pay: ['--channel', 500000, '--payments', 5, '--amount', 2000, '--window', 20000]});
      await w.node.mine(1);
      const [channel] = await w.channels('server');
      await w.node.passTime(channel.expiry - 7100);  // the margin is 7,200 s
      const settled = await server.event('settled');
      const tx = await w.mined(settled.txid);
      await checkSettlement(ctx, w.node, tx, channel, 489000, 11000);
      ctx.assert.ok(await w.node.medianTime() < channel.expiry);
    },
  },
  {
    name: 'a node that goes away delays a settlement, and loses none',
    async run(ctx) {
      const w = await world(ctx, {node: {datadir: ctx.path('node')}});
      const server = await w.serve();
      const client = ctx.tool(...w.payArgs('--channel', 400000, '--payments', 300, '--amount', 20, '--settle'));
      await client.event('opened');
      await w.node.stop();
      await client.until(() => client.all('acked').length === 300 || undefined, '300 acks without a node', 60000);
      await server.event((e) => e.event === 'node' && e.status === 'unreachable');
      const again = await ctx.node({datadir: ctx.path('node'), rpcport: w.node.rpcport, port: w.node.port});
      const settled = await client.event('settled', 60000);
      ctx.assert.equal((await client.exit()).code, 0);
      // It has forgotten contract and settlement: they go out again at once.
      await ctx.eventually('the node has the settlement', () => again.transaction(settled.txid));
      await again.mine(1);
      await checkSettlement(ctx, again, await again.transaction(settled.txid), (await w.channels('client'))[0], 393000, 7000);
    },
  },
  {
    name: 'a node that was started anew is given at once what it has forgotten, and payments wait for the contract',
    async run(ctx) {
      const datadir = ctx.path('node');
      const w = await world(ctx, {node: {datadir}});
      const restarted = async () => {
        await w.node.stop();
        await server.until(() => server.events.findLast((e) => e.event === 'node').status === 'unreachable' || undefined, 'no node', 30000);
        w.node = await ctx.node({datadir, rpcport: w.node.rpcport, port: w.node.port});
        ctx.assert.deepEqual(await w.node.call('getrawmempool').then((all) => all.filter((id) => id !== channel)), []);
      };
      let channel;
      const server = await w.serve();
      const pay = ['--channel', 400000, '--payments', 2, '--amount', 2000];
      channel = (await w.pay(pay)).opened.channel;
      const height = await w.node.height();
      await restarted();
      await ctx.eventually('the node has the contract', () => w.node.transaction(channel));
      await w.pay(pay);
      const {txid} = (await w.pay([...pay, '--settle'])).all('settled')[0];
      await restarted();
      await ctx.eventually('the node has the settlement', () => w.node.transaction(txid));
      ctx.assert.ok(await w.node.transaction(channel));
      ctx.assert.equal(await w.node.height(), height, 'no block was needed');
      await w.mined(txid);
      ctx.assert.equal((await server.event('confirmed')).txid, txid);
      ctx.assert.equal((await w.channels('server'))[0].paid, 1000 + 6 * 2000);
    },
  },
  {
    name: 'a contract that the node refuses is told to the client, and no payment is made',
    async run(ctx) {
      // Two clients with one seed and stores of their own spend the same coin.
      const {w} = await paid(ctx, {pay: ['--channel', 400000, '--payments', 1, '--amount', 100]});
      const tool = await ctx.run(replaced(w.payArgs('--channel', 500000, '--payments', 1, '--amount', 100), '--store',
        `sqlite:${ctx.path('other.db')}`), {code: 1});
      const error = tool.all('error')[0];
      ctx.assert.equal(error.code, 'BAD_TRANSACTION');
      ctx.assert.match(error.peer_says, /refuses the contract/);
      ctx.assert.equal(tool.all('acked').length, 0);
      ctx.assert.equal(tool.all('error').length, 1);
      // The coin stays reserved for the contract, which a network could still take, until something else spends it.
      const args = replaced(w.client, '--store', `sqlite:${ctx.path('other.db')}`);
      const held = (await ctx.run(['balance', ...args])).all('balance')[0];
      ctx.assert.deepEqual([held.confirmed, held.reserved], [0, 50 * coin]);
    },
  },
  {
    name: 'wrong options and missing files: one line that says what to do',
    async run(ctx) {
      const w = await world(ctx);
      const refuse = async (args, pattern, code = 2) => {
        const tool = await ctx.run(args, {code});
        ctx.assert.equal(tool.stderr.trim().split('\n').length, 1, tool.stderr);
        ctx.assert.match(tool.stderr, pattern);
      };
      await refuse([], /subcommand/);
      await refuse(['serve'], /--listen|--store/);
      await refuse(['balance', ...w.client.map((a) => a === 'regtest' ? 'moon' : a)], /moon/);
      await refuse(['channels', '--store', `sqlite:${ctx.path('none.db')}`], /none.db/);
      await refuse(['channels', '--store', 'none.db'], /sqlite:FILE/);
      const other = (flag, value) => replaced(w.client, flag, value);
      await ctx.run(['sweep', '--to', await w.address('client'), ...w.client]);  // makes the store
      await refuse(['balance', ...other('--seed', ctx.path('no.seed'))], /paychan address/);
      await refuse(['balance', ...other('--chain', 'rpc:http://127.0.0.1:1')], /USER:PASS/);
      await refuse(['pay', '--connect', '127.0.0.1:1', ...other('--network', 'mainnet').map((a) => String(a).replace('client.db', 'main.db')),
        '--channel', 100000, '--payments', 1, '--amount', 1], /--birthday/);
      await refuse(['pay', '--connect', 'nowhere', ...w.client, '--channel', 100000, '--payments', 1, '--amount', 1], /HOST:PORT/);
      await refuse(['serve', '--listen', '8.8.8.8:1', ...w.server], /listen/, 1);
      const pay = [...w.payArgs('--channel', 100000, '--payments', 1, '--amount', 1)];
      await refuse([...pay, '--version', '3'], /--version.*2or1/);
      await refuse([...pay, '--info', '0x00'], /--info .*hexadecimal/);
      await refuse([...pay, '--info', '123'], /--info .*odd number/);
      await refuse([...pay, '--info', '00'.repeat(32001)], /--info .*32000/);
      const serve = ['serve', '--listen', '127.0.0.1:0', ...w.server];
      await refuse([...serve, '--ack-info', 'no'], /--ack-info .*hexadecimal/);
      await refuse([...serve, '--settle-after', '0'], /--settle-after/);
      for (const versions of ['3', '1,3', '1;2', '', '1,'])
        await refuse([...serve, '--versions', versions], /--versions must be 1, 2 or 1,2/);
      // A store of another network, and a server that is not there.
      await refuse(['balance', ...other('--network', 'testnet'), '--birthday', 0], /regtest/);
      const nobody = await ctx.run(['pay', '--connect', `127.0.0.1:${await ctx.freePort()}`, ...w.client, '--channel', 100000, '--payments', 1,
        '--amount', 1], {code: 1});
      ctx.assert.equal(nobody.all('error')[0].code, 'unreachable');
    },
  },
];
