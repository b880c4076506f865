// Channels between build/paychan processes, on the real node: every transaction mined, every satoshi counted.
'use strict';
const {execFileSync} = require('child_process');
const http = require('http');
const net = require('net');
const {satoshi} = require('../harness/node');

const coin = 100000000;  // [satoshi]

/** A node, a client with coins, and what both sides' commands need. */
async function world(ctx, {legacy = false, serverCoins = false, node: options = {}} = {}) {
  const node = await ctx.node(options);
  const w = {node};
  const common = (side) => ['--store', `sqlite:${ctx.path(side + '.db')}`, '--chain', `rpc:${node.url}`, '--network', 'regtest',
    '--seed', ctx.path(side + '.seed'), '--poll', 100, '--patience', 5, '--json'];
  w.client = common('client');
  w.server = common('server');
  w.address = async (side, ...more) => {
    const tool = await ctx.run(['address', '--seed', ctx.path(side + '.seed'), '--network', 'regtest', '--json', ...more]);
    return tool.all('address')[0].address;
  };
  await node.mine(1, await w.address('client', ...(legacy ? ['--legacy'] : [])));
  const server = await w.address('server');
  if (serverCoins) await node.mine(1, server);
  await node.mine(100);

  w.serve = async (...more) => {
    const tool = ctx.tool('serve', '--listen', '127.0.0.1:0', ...w.server, ...more);
    tool.port = (await tool.event('listening')).port;
    return tool;
  };
  w.payArgs = (server, ...more) => ['pay', '--connect', `127.0.0.1:${server.port}`, ...w.client, ...more];
  w.balance = async (side) => (await ctx.run(['balance', ...w[side]])).all('balance')[0];
  w.channels = async (side) => (await ctx.run(['channels', '--store', `sqlite:${ctx.path(side + '.db')}`, '--json'])).all('channel');
  /** The transaction, mined: asserts that it is in the mempool, mines a block, and returns what the node says of it. */
  w.mined = async (txid) => {
    ctx.assert.ok((await node.call('getrawmempool')).includes(txid), `${txid} is in the mempool`);
    await node.mine(1);
    const tx = await node.transaction(txid);
    ctx.assert.equal(tx.confirmations, 1, `${txid} is in a block`);
    return tx;
  };
  return w;
}

/**
 * A proxy in front of the node that passes on all calls but those that `stop(method)` names: to these it answers with
 * `answer` (an HTTP status), or drops the connection if that is 0.
 */
async function proxy(ctx, node, stop) {
  const server = http.createServer((request, response) => {
    const pieces = [];
    request.on('data', (piece) => pieces.push(piece));
    request.on('end', () => {
      const body = Buffer.concat(pieces);
      const answer = stop(JSON.parse(body).method);
      if (answer === 0) return request.socket.destroy();
      if (answer) { response.writeHead(answer); return response.end(); }
      const onward = http.request({host: '127.0.0.1', port: node.rpcport, method: 'POST', path: '/', agent: false, headers: request.headers},
        (from) => { response.writeHead(from.statusCode, from.headers); from.pipe(response); });
      onward.on('error', () => request.socket.destroy());
      onward.end(body);
    });
  });
  const port = await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server.address().port)));
  server.unref();
  return {url: node.url.replace(/:[0-9]+$/, `:${port}`), close: () => { server.close(); server.closeAllConnections && server.closeAllConnections(); }};
}

/** A proxy that refuses these transactions as a node would that wants a higher fee. */
async function refusing(node, hexes) {
  const server = http.createServer((request, response) => {
    const pieces = [];
    request.on('data', (piece) => pieces.push(piece));
    request.on('end', () => {
      const body = Buffer.concat(pieces);
      const {id, method, params} = JSON.parse(body);
      if (method === 'sendrawtransaction' && hexes.includes(params[0])) {
        response.writeHead(500, {'content-type': 'application/json'});
        return response.end(JSON.stringify({result: null, error: {code: -26, message: 'min relay fee not met'}, id}));
      }
      const onward = http.request({host: '127.0.0.1', port: node.rpcport, method: 'POST', path: '/', agent: false, headers: request.headers},
        (from) => { response.writeHead(from.statusCode, from.headers); from.pipe(response); });
      onward.on('error', () => request.socket.destroy());
      onward.end(body);
    });
  });
  const port = await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server.address().port)));
  server.unref();
  return {server, url: node.url.replace(/:[0-9]+$/, `:${port}`)};
}

/** The arguments with another value for this option. */
const replaced = (args, flag, value) => args.map((a, i) => args[i - 1] === flag ? value : a);

/** Asserts that a settlement pays what was paid, in the shape that both sides signed. */
function checkSettlement(ctx, tx, contract, change, paid, funded = false) {
  ctx.assert.deepEqual([tx.vin[0].txid, tx.vin[0].vout], [contract, 0], 'input 0 spends the contract');
  ctx.assert.equal(satoshi(tx.vout[0].value), change, 'output 0 is the client\'s change');
  ctx.assert.equal(tx.vout.length, 2);
  const payout = satoshi(tx.vout[1].value);
  if (funded) {
    ctx.assert.equal(tx.vin.length, 2, 'the server added an input');
  } else {
    ctx.assert.equal(tx.vin.length, 1);
    ctx.assert.ok(payout < paid && payout > paid - 2000, `the server gets what was paid less a fee: ${payout} of ${paid}`);
  }
  return payout;
}

async function openPaySettle(ctx, legacy) {
  const w = await world(ctx, {legacy});
  const server = await w.serve();
  const client = await ctx.run(w.payArgs(server, '--channel', 1000000, '--payments', 1000, '--amount', 10, '--settle',
    ...(legacy ? ['--legacy'] : [])), {ms: 120000});
  const opened = client.all('opened')[0];
  ctx.assert.equal(client.all('acked').length, 1000);
  ctx.assert.equal(client.all('acked')[999].total, 11000);  // the first payment, and 1,000 of 10
  const settled = client.all('settled')[0];
  ctx.assert.equal(settled.paid, 11000);
  // The server announces the first payment too, before it announces the opening.
  ctx.assert.equal(server.all('payment').length, 1001);
  ctx.assert.equal((await server.event('settled')).txid, settled.txid);

  const mempool = await w.node.call('getrawmempool');
  ctx.assert.ok(mempool.includes(opened.channel) && mempool.includes(settled.txid));
  await w.node.mine(1);
  const contract = await w.node.transaction(opened.channel);
  ctx.assert.equal(contract.confirmations, 1);
  ctx.assert.equal(satoshi(contract.vout[0].value), 1000000);
  ctx.assert.equal(contract.vout[0].scriptPubKey.hex.slice(0, 4), '5221', 'a bare 2-of-2');
  const tx = await w.node.transaction(settled.txid);
  ctx.assert.equal(tx.confirmations, 1);
  ctx.assert.equal(tx.hex, settled.hex);
  const payout = checkSettlement(ctx, tx, opened.channel, 989000, 11000);

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
  const [channel] = await w.channels('server');
  ctx.assert.deepEqual([channel.stage, channel.paid, channel.closing], ['settling', 11000, settled.txid]);
}

module.exports = [
  {name: 'open, pay 1,000 times, settle: contract and settlement mined', run: (ctx) => openPaySettle(ctx, false)},
  {name: 'the same from P2PKH coins, for servers that cannot read SegWit', run: (ctx) => openPaySettle(ctx, true)},
  {
    name: 'a refund is refused before the lock time and mined after it',
    async run(ctx) {
      const w = await world(ctx);
      const server = await w.serve();
      const client = await ctx.run(w.payArgs(server, '--channel', 500000, '--payments', 3, '--amount', 1000));
      const {channel} = client.all('opened')[0];
      await server.kill('SIGKILL');  // vanishes
      await w.node.mine(1);

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
      const refund = sent.find((txid) => txid !== channel);
      const tx = await w.mined(refund);
      ctx.assert.equal(tx.vin[0].txid, channel);
      ctx.assert.equal(satoshi(tx.vout[0].value), 499000);
      // Again: it is home, nothing is left to do, and the money is in the wallet.
      await ctx.run(['refund', ...w.client]);
      const left = (await w.balance('client')).confirmed;
      ctx.assert.ok(left < 50 * coin - 1000 && left > 50 * coin - 10000, `the client has ${left}`);
    },
  },
  {
    name: 'a settlement that pays its fee, but no payout that nodes relay, gets an input of the server\'s wallet',
    async run(ctx) {
      const w = await world(ctx, {serverCoins: true});
      await w.node.mine(1);
      const server = await w.serve();
      const client = await ctx.run(w.payArgs(server, '--channel', 300000, '--payments', 0, '--amount', 1));
      const {channel, paid} = client.all('opened')[0];
      await server.kill('SIGKILL');
      await w.node.mine(1);
      // About 265 vB without and 334 vB with the input: paid - 294 (dust) < fee of the first, fee of the second < paid.
      const rate = Math.round(paid * 1000 / 370);
      const settle = await ctx.run(['settle', '--all', '--fee-rate', rate, ...w.server]);
      const tx = await w.mined(settle.all('settled')[0].txid);
      const payout = checkSettlement(ctx, tx, channel, 300000 - paid, paid, true);
      const added = 50 * coin;
      ctx.assert.ok(payout > added && payout < added + paid, `the payout is ${payout}`);
    },
  },
  {
    name: 'a settlement that reaches no network is not done, and goes out as soon as it can',
    async run(ctx) {
      const w = await world(ctx);
      const server = await w.serve();
      const client = await ctx.run(w.payArgs(server, '--channel', 300000, '--payments', 1, '--amount', 5000));
      const {channel} = client.all('opened')[0];
      await server.kill('SIGKILL');
      await w.node.mine(1);
      let answer = 403;
      const between = await proxy(ctx, w.node, (method) => method === 'sendrawtransaction' ? answer : undefined);
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
      checkSettlement(ctx, tx, channel, 294000, 6000);
      between.close();
    },
  },
  {
    name: 'a refund that reaches no network is not done, and goes out as soon as it can',
    async run(ctx) {
      const w = await world(ctx);
      const server = await w.serve();
      const client = await ctx.run(w.payArgs(server, '--channel', 300000, '--payments', 1, '--amount', 1000, '--window', 15000));
      const {channel} = client.all('opened')[0];
      await server.kill('SIGKILL');
      await w.node.mine(1);
      const [{expiry}] = await w.channels('client');
      await w.node.passTime(expiry + 600);
      let answer = 0;
      const between = await proxy(ctx, w.node, (method) => method === 'sendrawtransaction' ? answer : undefined);
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
      const w = await world(ctx);
      const server = await w.serve();
      const client = await ctx.run(w.payArgs(server, '--channel', 300000, '--payments', 1, '--amount', 20000));
      const {channel} = client.all('opened')[0];
      await server.kill('SIGKILL');
      await w.node.mine(1);
      // A node that never sees the first one, and one that refuses it.
      let refuse = 0;
      const between = await proxy(ctx, w.node, (method) => method === 'sendrawtransaction' && refuse === 0 ? 403 : undefined);
      const args = ['settle', ...replaced(w.server, '--chain', `rpc:${between.url}`)];
      const first = await ctx.run([...args, '--all', '--fee-rate', 1000], {code: 1});
      const [stored] = await w.channels('server');
      ctx.assert.equal(stored.stage, 'settling');
      between.close();
      const {server: picky, url} = await refusing(w.node, first.all('broadcast').map((b) => b.hex));
      const again = await ctx.run(['settle', '--all', '--fee-rate', 5000, ...replaced(w.server, '--chain', `rpc:${url}`)]);
      picky.close();
      ctx.assert.ok(again.all('broadcast').some((b) => b.txid === stored.closing && b.outcome === 'refused'));
      const {txid} = again.all('settled')[0];
      ctx.assert.notEqual(txid, stored.closing);
      const tx = await w.mined(txid);
      const fee = 21000 - satoshi(tx.vout[1].value);
      ctx.assert.ok(fee > 5 * 240 && fee < 5 * 300, `the fee is ${fee}`);
      ctx.assert.equal(tx.vin[0].txid, channel);
    },
  },
  {
    name: 'a server goes on when the reader of its lines goes away',
    async run(ctx) {
      const w = await world(ctx);
      const server = await w.serve();
      server.process.stdout.destroy();
      const client = await ctx.run(w.payArgs(server, '--channel', 400000, '--payments', 20, '--amount', 100, '--settle'));
      ctx.assert.equal(client.all('acked').length, 20);
      ctx.assert.equal((await server.kill('SIGTERM')).code, 0);
      await w.mined(client.all('settled')[0].txid);
    },
  },
  {
    name: 'sweep: earnings and refunds leave, and what channels need stays',
    async run(ctx) {
      const w = await world(ctx);
      const elsewhere = 'bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080';
      const server = await w.serve();
      const client = await ctx.run(w.payArgs(server, '--channel', 400000, '--payments', 1, '--amount', 50000, '--settle'));
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
      const again = await w.serve();
      const short = await ctx.run(w.payArgs(again, '--channel', 400000, '--payments', 1, '--amount', 1), {code: 1});
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
      const port = await ctx.freePort();
      const serve = async () => {
        const tool = ctx.tool('serve', '--listen', `127.0.0.1:${port}`, ...w.server);
        tool.port = (await tool.event('listening')).port;
        return tool;
      };
      const server = await serve();
      const pay = (...more) => ctx.run(w.payArgs(server, '--channel', 400000, ...more));
      const first = (await pay('--payments', 10, '--amount', 100)).all('opened')[0];
      ctx.assert.equal(first.resumed, false);
      const second = await pay('--payments', 10, '--amount', 100);
      ctx.assert.deepEqual(second.all('opened')[0], {event: 'opened', channel: first.channel, paid: 2000, resumed: true});
      ctx.assert.equal(second.all('acked').at(-1).total, 3000);
      // What the channel cannot bear, and what is asked for, opens another.
      await w.node.mine(1);
      const third = (await pay('--new', '--payments', 1, '--amount', 100)).all('opened')[0];
      ctx.assert.notEqual(third.channel, first.channel);
      ctx.assert.equal(third.resumed, false);
      // Over a kill -9 of the server too.
      await server.kill('SIGKILL');
      await serve();
      await w.node.mine(1);
      const big = await pay('--payments', 1, '--amount', 300000, '--settle');
      ctx.assert.equal(big.all('opened')[0].resumed, true);
      await w.mined(big.all('settled')[0].txid);
      ctx.assert.equal((await w.channels('client')).length, 2);
    },
  },
  {
    name: 'after the loss of a client\'s store no key of the chain is used again',
    async run(ctx) {
      const w = await world(ctx);
      const server = await w.serve();
      const pay = async (store) => {
        const args = w.payArgs(server, '--channel', 400000, '--payments', 1, '--amount', 100, '--settle');
        const tool = await ctx.run(replaced(args, '--store', `sqlite:${ctx.path(store)}`));
        const contract = await w.node.transaction(tool.all('opened')[0].channel);
        await w.mined(tool.all('settled')[0].txid);
        const hex = contract.vout[0].scriptPubKey.hex;
        return [hex.slice(4, 70), hex.slice(72, 138)];
      };
      const keys = [...await pay('first.db'), ...await pay('second.db'), ...await pay('third.db')];
      ctx.assert.equal(new Set(keys).size, 6, keys.join(' '));
    },
  },
  {
    name: 'refunds that are due are printed where there is no node',
    async run(ctx) {
      const w = await world(ctx);
      const server = await w.serve('--min-window', 7800);
      await ctx.run(w.payArgs(server, '--channel', 300000, '--payments', 1, '--amount', 1000, '--window', 8000));
      await server.kill('SIGKILL');
      const print = replaced(w.client, '--chain', 'print:');
      const early = await ctx.run(['refund', ...print], {code: 3});
      ctx.assert.equal(early.all('transaction').length, 0);
      // The clock three days on, by a library in front of the C library's.
      const shim = ctx.path('clock.so');
      execFileSync('g++', ['-shared', '-fPIC', '-x', 'c++', '-', '-o', shim], {input: `
        #include <sys/syscall.h>
        #include <time.h>
        #include <unistd.h>
        extern "C" int clock_gettime(clockid_t which, struct timespec* out) noexcept {
            const long failed = syscall(SYS_clock_gettime, which, out);
            if (failed == 0 && which == CLOCK_REALTIME) out->tv_sec += 3 * 86400;
            return static_cast<int>(failed);
        }`});
      process.env.LD_PRELOAD = shim;
      const started = ctx.run(['refund', ...print]);
      delete process.env.LD_PRELOAD;
      const due = await started;
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
      await lone(['balance', ...missing], /none.db|no such store/, 2);
      ctx.assert.ok(!require('fs').existsSync(ctx.path('none.db')), 'balance makes no store');
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
      const w = await world(ctx);
      const server = await w.serve();
      const client = await ctx.run(w.payArgs(server, '--channel', 500000, '--payments', 5, '--amount', 2000, '--window', 20000));
      const {channel} = client.all('opened')[0];
      await w.node.mine(1);
      const {expiry} = (await w.channels('server'))[0];
      await w.node.passTime(expiry - 7100);  // the margin is 7,200 s
      const settled = await server.event('settled');
      const tx = await w.mined(settled.txid);
      checkSettlement(ctx, tx, channel, 489000, 11000);
      ctx.assert.ok(await w.node.medianTime() < expiry);
    },
  },
  {
    name: 'after kill -9 of the server nothing that was acked is lost',
    async run(ctx) {
      const w = await world(ctx);
      const server = await w.serve();
      const client = ctx.tool(...w.payArgs(server, '--channel', 1000000, '--payments', 100000, '--amount', 5));
      await client.until(() => client.all('acked').length >= 200 || undefined, '200 acks', 60000);
      await server.kill('SIGKILL');
      const {code} = await client.exit();
      ctx.assert.equal(code, 1);
      const acked = client.all('acked').at(-1).total;
      const [stored] = await w.channels('server');
      ctx.assert.ok(stored.paid >= acked, `${acked} acked, ${stored.paid} stored`);
      ctx.assert.ok(stored.paid <= acked + 5, 'one payment may have been in flight');
      await ctx.run(['settle', ...w.server], {code: 3});  // not due yet
      const settle = await ctx.run(['settle', '--all', ...w.server]);
      const {channel} = client.all('opened')[0];
      const {txid} = settle.all('settled')[0];
      await w.node.mine(1);
      checkSettlement(ctx, await w.node.transaction(txid), channel, 1000000 - stored.paid, stored.paid);
      await ctx.run(['settle', ...w.server]);  // it is home
    },
  },
  {
    name: 'a node that goes away delays a settlement, and loses none',
    async run(ctx) {
      const w = await world(ctx, {node: {datadir: ctx.path('node')}});
      const server = await w.serve();
      const client = ctx.tool(...w.payArgs(server, '--channel', 400000, '--payments', 300, '--amount', 20, '--settle'));
      await client.event('opened');
      await w.node.stop();
      await client.until(() => client.all('acked').length === 300 || undefined, '300 acks without a node', 60000);
      await server.event((e) => e.event === 'node' && e.status === 'unreachable');
      const again = await ctx.node({datadir: ctx.path('node'), rpcport: w.node.rpcport, port: w.node.port});
      const settled = await client.event('settled', 60000);
      ctx.assert.equal((await client.exit()).code, 0);
      // The node may have taken the settlement before it went, and forgotten it: due transactions go out again with each block.
      await again.mine(1);
      await ctx.eventually('the node has the settlement', () => again.transaction(settled.txid));
      await again.mine(1);
      checkSettlement(ctx, await again.transaction(settled.txid), client.all('opened')[0].channel, 393000, 7000);
    },
  },
  {
    name: 'a contract that the node refuses is told to the client, and no payment is made',
    async run(ctx) {
      const w = await world(ctx);
      const server = await w.serve();
      // Two clients with one seed and stores of their own spend the same coin.
      await ctx.run(w.payArgs(server, '--channel', 400000, '--payments', 1, '--amount', 100));
      const other = [...w.client];
      other[1] = `sqlite:${ctx.path('other.db')}`;
      const tool = await ctx.run(['pay', '--connect', `127.0.0.1:${server.port}`, ...other, '--channel', 500000, '--payments', 1, '--amount', 100],
        {code: 1});
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
    name: 'strangers who talk nonsense are cut off, and paying goes on',
    async run(ctx) {
      const w = await world(ctx);
      const server = await w.serve();
      const talk = (bytes) => new Promise((resolve) => {
        const socket = net.connect(server.port, '127.0.0.1', () => socket.write(bytes));
        let seen = Buffer.alloc(0);
        socket.on('data', (d) => { seen = Buffer.concat([seen, d]); });
        socket.on('error', () => {});
        socket.on('close', () => resolve(seen));
      });
      const frame = (hex) => Buffer.concat([Buffer.from([0, 0, hex.length / 512, hex.length / 2]), Buffer.from(hex, 'hex')]);
      ctx.assert.equal((await talk('GET / HTTP/1.1\r\n\r\n')).length, 0);
      ctx.assert.equal((await talk(Buffer.from([0, 0, 0, 0]))).length, 0);
      ctx.assert.equal((await talk(Buffer.from([0, 0, 0x80, 0]))).length, 0);
      ctx.assert.equal((await talk(frame('ffffffff'))).length, 0);
      ctx.assert.match((await talk(frame('080b'))).toString('latin1'), /does not belong here/);  // PAYMENT_ACK first
      ctx.assert.match((await talk(frame('080112040803' + '1000'))).toString('latin1'), /protocol version 1/);  // version 3
      await ctx.run(w.payArgs(server, '--channel', 400000, '--payments', 10, '--amount', 100, '--settle'));
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
      const other = (flag, value) => w.client.map((a, i) => w.client[i - 1] === flag ? value : a);
      await ctx.run(['sweep', '--to', await w.address('client'), ...w.client]);  // makes the store
      await refuse(['balance', ...other('--seed', ctx.path('no.seed'))], /paychan address/);
      await refuse(['balance', ...other('--chain', 'rpc:http://127.0.0.1:1')], /USER:PASS/);
      await refuse(['pay', '--connect', '127.0.0.1:1', ...other('--network', 'mainnet').map((a) => String(a).replace('client.db', 'main.db')),
        '--channel', 100000, '--payments', 1, '--amount', 1], /--birthday/);
      await refuse(['pay', '--connect', 'nowhere', ...w.client, '--channel', 100000, '--payments', 1, '--amount', 1], /HOST:PORT/);
      await refuse(['serve', '--listen', '8.8.8.8:1', ...w.server], /listen/, 1);
      // A node on another network, and a server that is not there.
      const wrong = await ctx.run(['balance', ...other('--network', 'testnet'), '--birthday', 0], {code: 1});
      ctx.assert.match(wrong.all('error')[0].explanation, /regtest/);
      const nobody = await ctx.run(['pay', '--connect', `127.0.0.1:${await ctx.freePort()}`, ...w.client, '--channel', 100000, '--payments', 1,
        '--amount', 1], {code: 1});
      ctx.assert.equal(nobody.all('error')[0].code, 'unreachable');
    },
  },
];
