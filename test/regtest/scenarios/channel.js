// Channels between build/paychan processes, on the real node: every transaction mined, every satoshi counted.
'use strict';
const net = require('net');
const {satoshi} = require('../harness/node');

const coin = 100000000;  // [satoshi]

/** A node, a client with coins, and what both sides' commands need. */
async function world(ctx, {legacy = false, serverCoins = false, node: options = {}} = {}) {
  const node = await ctx.node(options);
  const w = {node};
  const common = (side) => ['--store', `sqlite:${ctx.path(side + '.db')}`, '--chain', `rpc:${node.url}`, '--network', 'regtest',
    '--seed', ctx.path(side + '.seed'), '--poll', 100, '--json'];
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

/** Asserts that a settlement pays what was paid, in the shape that both sides signed. */
function checkSettlement(ctx, tx, contract, change, paid, funded = false) {
  ctx.assert.deepEqual([tx.vin[0].txid, tx.vin[0].vout], [contract, 0], 'input 0 spends the contract');
  ctx.assert.equal(satoshi(tx.vout[0].value), change, 'output 0 is the client\'s change');
  ctx.assert.equal(tx.vout.length, 2);
  const payout = satoshi(tx.vout[1].value);
  if (funded) {
    ctx.assert.ok(tx.vin.length > 1, 'the server added an input');
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
    name: 'a settlement whose fee is more than was paid gets an input of the server\'s wallet',
    async run(ctx) {
      const w = await world(ctx, {serverCoins: true});
      await w.node.mine(1);
      const server = await w.serve('--fee-rate', 20000);
      const client = await ctx.run(w.payArgs(server, '--channel', 300000, '--payments', 2, '--amount', 500, '--settle'));
      const {channel} = client.all('opened')[0];
      const settled = client.all('settled')[0];
      await w.node.mine(1);
      const tx = await w.node.transaction(settled.txid);
      ctx.assert.equal(tx.confirmations, 1);
      const payout = checkSettlement(ctx, tx, channel, 298000, 2000, true);
      const fee = 2000 + 50 * coin - payout;
      ctx.assert.ok(fee > 2000 && fee < 20 * 600, `the fee is ${fee}`);
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
      await ctx.eventually('the settlement is in the mempool', async () => (await again.call('getrawmempool')).includes(settled.txid));
      await again.mine(1);
      checkSettlement(ctx, await again.transaction(settled.txid), client.all('opened')[0].channel, 393000, 7000);
    },
  },
  {
    name: 'a contract that the node refuses is told to the client, and nothing is locked',
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
      await refuse(['balance', ...other('--seed', ctx.path('no.seed'))], /paychan address/);
      await refuse(['balance', ...other('--chain', 'rpc:http://127.0.0.1:1')], /USER:PASS/);
      await refuse(['balance', ...other('--network', 'mainnet')], /--birthday/);
      await refuse(['pay', '--connect', 'nowhere', ...w.client, '--channel', 100000, '--payments', 1, '--amount', 1], /HOST:PORT/);
      await refuse(['serve', '--listen', '8.8.8.8:1', ...w.server], /listen/);
      // A node on another network, and a server that is not there.
      const wrong = await ctx.run(['balance', ...other('--network', 'testnet'), '--birthday', 0], {code: 1});
      ctx.assert.match(wrong.all('error')[0].explanation, /regtest/);
      const nobody = await ctx.run(['pay', '--connect', `127.0.0.1:${await ctx.freePort()}`, ...w.client, '--channel', 100000, '--payments', 1,
        '--amount', 1], {code: 1});
      ctx.assert.equal(nobody.all('error')[0].code, 'unreachable');
    },
  },
];
