// Nobody looks: nodes that hold blocks back or have deleted them, stores that are away, full or damaged, and the exit status that tells.
'use strict';
const fs = require('fs');
const path = require('path');
const {execFileSync} = require('child_process');
const {Postgres} = require('../harness/postgres');
const {proxy} = require('../harness/proxy');
const {checkSettlement, checkRefund} = require('../harness/scripts');
const {Tool} = require('../harness/tool');
const {replaced, world, paid, deserted} = require('../harness/world');

const channelOf = {pay: ['--channel', 300000, '--payments', 5, '--amount', 1000, '--window', 15000]};
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Statements for a SQLite store. */
const change = (file, sql) => execFileSync('python3', ['-c',
  'import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.executescript(sys.argv[2]); c.commit()', file, sql]);

/** The node without the blocks of these heights, or without any, as long as `held` is true: getblock is answered with `how`. */
async function without(ctx, w, heights, how) {
  const hashes = new Set();
  for (const height of heights || []) hashes.add(await w.node.call('getblockhash', height));
  const front = {held: true};
  const isHeld = (call) => front.held && call.method === 'getblock' && (!heights || hashes.has(call.params[0]));
  const {url, close} = await proxy(w.node, (call) => (isHeld(call) ? how : undefined));
  front.kill = async () => close();
  front.tail = () => 'a proxy before the node';
  front.args = (side) => replaced(w[side], '--chain', `rpc:${url}`);
  return ctx.own(front);
}

/** The broadcast that the network has taken, of anything but this contract. */
const taken = (tool, contract) => tool.until(
  () => tool.all('broadcast').find((e) => e.outcome === 'accepted' && e.txid !== contract), 'a broadcast', 30000);

/** A due settlement or refund reaches a node that never gives an early block. */
async function heldBack(ctx, command, side) {
  const {w, channel} = await deserted(ctx, channelOf);
  const [record] = await w.channels(side);
  const front = await without(ctx, w, [3], 503);
  await w.node.passTime(record.expiry + (side === 'client' ? 600 : -7000));
  const listening = command === 'serve' ? ['--listen', '127.0.0.1:0'] : [];
  const tool = ctx.tool(command, ...listening, ...front.args(side), ...(command === 'watch' ? ['--until-idle'] : []));
  const {txid} = await taken(tool, channel);
  const tx = await w.mined(txid);
  if (side === 'client') await checkRefund(ctx, w.node, tx, record);
  else await checkSettlement(ctx, w.node, tx, record, 300000 - record.paid, record.paid);
  ctx.assert.ok(!tool.events.some((e) => e.event === 'watching' || e.event === 'listening'), 'the chain is not read yet');
  if (command === 'settle' || command === 'refund') {
    ctx.assert.equal((await tool.exit()).code, 1, 'what else is due is not known');
    return;
  }
  ctx.assert.equal(tool.result, null, 'it goes on');
  front.held = false;
  const confirmed = await tool.until(() => tool.all('confirmed')[0], 'an end', 30000);
  ctx.assert.equal(confirmed.txid, txid);
  if (command === 'serve') {
    await tool.event('listening');
    tool.process.kill('SIGTERM');
  }
  ctx.assert.equal((await tool.exit()).code, 0);
  ctx.assert.deepEqual(tool.all('error'), []);
}

/** The same when blocks cease to come later on. */
async function heldBackLater(ctx) {
  const {w, channel} = await deserted(ctx, channelOf);
  const [record] = await w.channels('client');
  const front = await without(ctx, w, null, 503);
  front.held = false;
  const tool = ctx.tool('watch', '--until-idle', ...front.args('client'));
  await tool.event('watching');
  front.held = true;
  await w.node.passTime(record.expiry + 600);
  const {txid} = await taken(tool, channel);
  await checkRefund(ctx, w.node, await w.mined(txid), record);
  ctx.assert.equal(tool.result, null, 'it goes on');
  front.held = false;
  ctx.assert.equal((await tool.until(() => tool.all('confirmed')[0], 'an end', 30000)).txid, txid);
  ctx.assert.equal((await tool.exit()).code, 0);
  ctx.assert.deepEqual(tool.all('error'), []);
}

/** Channels that are not due stay as they are while a block is held back. */
async function notDue(ctx) {
  const {w, channel} = await deserted(ctx, channelOf);
  const [before] = await w.channels('server');
  const front = await without(ctx, w, [3], 503);
  const tools = ['client', 'server'].map((side) => ctx.tool('watch', ...front.args(side)));
  for (const tool of tools) await tool.event((e) => e.event === 'node' && e.status === 'unreachable');
  await pause(3000);
  for (const tool of tools) ctx.assert.deepEqual([tool.all('broadcast'), tool.result], [[], null]);
  ctx.assert.deepEqual(await w.node.call('getrawmempool'), []);
  ctx.assert.deepEqual(await w.channels('server'), [before]);
  ctx.assert.equal(before.channel, channel);
}

async function pruned(ctx) {
  const {w, channel} = await deserted(ctx, channelOf);
  const [server] = await w.channels('server');
  const [client] = await w.channels('client');
  const gone = {code: -1, message: 'Block not available (pruned data)'};
  const front = await without(ctx, w, [...Array(60).keys(), 70], gone);
  // What pays from the wallet does not guess what it has.
  const balance = await ctx.run(['balance', ...front.args('client')], {code: 1});
  ctx.assert.match(balance.all('error')[0].explanation, /pruned block 0/);
  const early = await ctx.run(['settle', ...front.args('server')], {code: 3});
  ctx.assert.equal(early.all('waiting')[0].channel, channel);
  const watchers = ['client', 'server'].map((side) => ctx.tool('watch', '--until-idle', ...front.args(side)));
  for (const tool of watchers) {
    const told = await tool.event((e) => e.event === 'node' && e.status === 'pruned');
    ctx.assert.match(told.explanation, /deleted block 0/);
    await tool.event('watching');
  }
  await w.node.passTime(server.expiry - 7000);
  const {txid} = await watchers[1].event('settled');
  const tx = await w.mined(txid);
  await checkSettlement(ctx, w.node, tx, server, 300000 - server.paid, server.paid);
  ctx.assert.equal(client.paid, server.paid);
  for (const tool of watchers) {
    ctx.assert.equal((await tool.exit()).code, 0);
    ctx.assert.deepEqual(tool.all('error'), []);
  }
  const over = await ctx.run(['refund', ...front.args('client')]);
  ctx.assert.deepEqual(over.all('waiting'), []);
}

async function unreadable(ctx) {
  const {w, server, channel} = await paid(ctx, channelOf);
  await w.node.mine(1);  // its change
  const second = await w.pay(['--new', ...channelOf.pay]);
  await server.kill('SIGKILL');
  await w.node.mine(1);
  const bad = second.opened.channel;
  const file = ctx.path('client.db');
  fs.copyFileSync(file, ctx.path('good.db'));
  // The name of a record is the txid in the order of the wire.
  const wire = Buffer.from(bad, 'hex').reverse().toString('hex');
  const columns = execFileSync('python3', ['-c', 'import sqlite3, sys; print([r[1] for r in sqlite3.connect(sys.argv[1]).execute("PRAGMA table_info(record)")])', file]).toString();
  ctx.assert.match(columns, /channel/);
  change(file, `UPDATE record SET bytes = x'0102' WHERE kind = 1 AND channel = x'${wire}'`);
  const record = (await ctx.run(['channels', '--store', w.store('client'), '--json'], {code: 1})).all('channel')[0];
  ctx.assert.equal(record.channel, channel);
  const tool = ctx.tool('watch', '--until-idle', ...w.client);
  const isError = (e) => e.event === 'error' && e.channel === bad && e.code === 'corrupt_record';
  await tool.event(isError);
  ctx.assert.deepEqual((({client_channels, unreadable}) => [client_channels, unreadable])(await tool.event('watching')), [1, 1]);
  await w.node.passTime(record.expiry + 600);
  const {txid} = await tool.event((e) => e.event === 'broadcast' && e.outcome === 'accepted' && e.txid !== channel);
  await checkRefund(ctx, w.node, await w.mined(txid), record);
  ctx.assert.equal((await tool.exit()).code, 1);
  ctx.assert.equal(tool.all('error').length, 1, 'told once');
  ctx.assert.equal(tool.all('stopped')[0].unreadable, 1);
  // Another one, without anything else to do.
  ctx.assert.equal((await ctx.run(['watch', '--until-idle', ...w.client], {code: 1})).all('stopped')[0].unreadable, 1);
}

async function noDatabaseAtStart(ctx) {
  const db = ctx.own(await Postgres.start());
  const w = await world(ctx);
  w.client = replaced(w.client, '--store', db.store);
  const server = await w.serve();
  const opened = (await w.pay(channelOf.pay)).opened;
  await server.kill('SIGKILL');
  await w.node.mine(1);
  const [record] = await w.channels('client');
  await db.stop();
  const tool = ctx.tool('watch', '--until-idle', ...w.client);
  const stopped = ctx.tool('watch', ...w.client);
  for (const each of [tool, stopped]) {
    const away = await each.event((e) => e.event === 'store' && e.status === 'away');
    ctx.assert.match(away.explanation, /cannot be reached/);
  }
  stopped.process.kill('SIGTERM');
  ctx.assert.equal((await stopped.exit()).code, 1);
  await w.node.passTime(record.expiry + 600);
  await pause(1500);
  ctx.assert.equal(tool.all('store').length, 1, 'told once');
  await db.resume();
  await tool.event((e) => e.event === 'store' && e.status === 'there');
  const {txid} = await taken(tool, opened.channel);
  await checkRefund(ctx, w.node, await w.mined(txid), record);
  ctx.assert.equal((await tool.exit()).code, 0);
  // What is wrong and stays so is no reason to wait.
  await ctx.run(['watch', ...replaced(w.client, '--store', db.store.replace('dbname=postgres', 'dbname=nowhere'))], {code: 2});
  await ctx.run(['watch', ...replaced(w.client, '--store', `sqlite:${ctx.path('none.db')}`)], {code: 2});
}

/** A disk that takes nothing, not even the birthday: a refund needs none. */
async function fullDisk(ctx) {
  const {w, channel} = await deserted(ctx, {pay: [...channelOf.pay, '--export-folder', ctx.path('files')]});
  const [record] = await w.channels('client');
  const store = `file:${ctx.path('folder')}`;
  const files = fs.readdirSync(ctx.path('files')).map((f) => path.join(ctx.path('files'), f));
  await ctx.run(['import', '--store', store, '--network', 'regtest', '--seed', ctx.path('client.seed'), '--json', ...files]);
  await w.node.passTime(record.expiry + 600);
  // A limit on the length of files stands for a full disk.
  const under = ['bash', '-c', 'trap "" XFSZ; ulimit -f 0; exec "$0" "$@"'];
  const tool = ctx.own(new Tool(['watch', ...replaced(w.client, '--store', store)].map(String), {cwd: ctx.folder, under}));
  const {txid} = await taken(tool, channel);
  const about = tool.all('error').filter((e) => /--birthday is not stored/.test(e.explanation));
  ctx.assert.deepEqual(about.map((e) => e.code), ['store_failed']);
  await checkRefund(ctx, w.node, await w.mined(txid), record);
  await tool.until(() => tool.all('confirmed')[0], 'an end', 30000);
  ctx.assert.equal(tool.result, null, 'it goes on');
  tool.process.kill('SIGTERM');
  ctx.assert.equal((await tool.exit()).code, 0);
}

async function exportFolders(ctx) {
  const w = await world(ctx);
  await w.serve();
  const pay = (...more) => ['--channel', 300000, '--payments', 1, '--amount', 1000, ...more];
  const none = await w.pay(pay('--export-folder', ''), {code: 2});
  ctx.assert.match(none.stderr, /--export-folder/);
  ctx.assert.deepEqual(fs.readdirSync(ctx.folder).filter((f) => f.startsWith('client.db')), [], 'nothing has begun');
  ctx.assert.match((await ctx.run(['export', '--store', w.store('client'), '--network', 'regtest', '--all', '--to', ''], {code: 2})).stderr, /--to/);
  const {channel} = (await w.pay(pay())).opened;
  fs.writeFileSync(ctx.path('plain'), '');
  const resumed = await w.pay(pay('--export-folder', ctx.path('plain')), {code: 1});
  ctx.assert.deepEqual([resumed.opened.channel, resumed.opened.resumed], [channel, true]);
  ctx.assert.equal(resumed.all('acked').length, 1, 'it has paid');
  ctx.assert.deepEqual(resumed.all('error').map((e) => e.code), ['store_failed']);
  // It is there in the end, and asked for again.
  for (let i = 0; i < 2; ++i) await w.pay(pay('--export-folder', ctx.path('good')));
  ctx.assert.equal(fs.readdirSync(ctx.path('good')).length, 1);
}

async function damagedStore(ctx) {
  const {w} = await deserted(ctx, channelOf);
  change(ctx.path('server.db'), 'PRAGMA user_version = 0');
  for (const args of [['settle', ...w.server], ['watch', ...w.server], ['channels', '--store', w.store('server')]]) {
    const tool = await ctx.run(args, {code: 1});
    ctx.assert.match(tool.stderr, /no known version/);
  }
}

module.exports = [
  ...[['watch', 'client'], ['watch', 'server'], ['serve', 'server'], ['settle', 'server'], ['refund', 'client']].map(([command, side]) => ({
    name: `${command}, ${side}: what is due reaches a node that holds an early block back`,
    run: (ctx) => heldBack(ctx, command, side),
  })),
  {name: 'watch: a refund reaches a node whose new blocks do not come', run: heldBackLater},
  {name: 'watch: what is not due stays at home while a block is held back', run: notDue},
  {name: 'a node that has deleted old blocks: watch, settle and refund go on behind them', run: pruned},
  {name: 'watch: a record that cannot be read is told once, and is no success', run: unreadable},
  {name: 'watch waits for a database that is down at the start', run: noDatabaseAtStart},
  {name: 'watch: a disk without room for the birthday holds no refund up', run: fullDisk},
  {name: 'pay: a backup that was asked for and is not written is no success', run: exportFolders},
  {name: 'a damaged store: exit status 1, not that of wrong options', run: damagedStore},
];
