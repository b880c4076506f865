// Nobody looks: nodes that hold blocks back or have deleted them, stores that are away, full or damaged, and the exit status that tells.
'use strict';
const fs = require('fs');
const http = require('http');
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

/** The node without the blocks of these heights, or without any, as long as `held` is true: getblock is answered with `how`.
 *  saysSo  it says up to where it has deleted them */
async function without(ctx, w, heights, how, saysSo = false) {
  const hashes = new Set();
  for (const height of heights || []) hashes.add(await w.node.call('getblockhash', height));
  const front = {held: true};
  const isHeld = (call) => front.held && call.method === 'getblock' && (!heights || hashes.has(call.params[0]));
  const pruned = async () => ({result: {...await w.node.call('getblockchaininfo'), pruned: true, pruneheight: Math.max(...heights)}});
  const {url, close} = await proxy(w.node, (call) => (saysSo && call.method === 'getblockchaininfo' ? pruned() : isHeld(call) ? how : undefined));
  front.kill = async () => close();
  front.tail = () => 'a proxy before the node';
  // Commands that read all blocks: else they would not ask for those that an earlier one has read.
  front.args = (side) => [...replaced(w[side], '--chain', `rpc:${url}`), '--rescan'];
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

/** Channels whose contract the network refused once, and took later. */
async function unbacked(ctx) {
  const {w, server, channel} = await paid(ctx, channelOf);
  await server.kill('SIGKILL');
  const {url, close} = await proxy(w.node, ({method}) => method === 'sendrawtransaction' ? {code: -26, message: 'mempool min fee not met'} : undefined);
  ctx.own({kill: async () => close(), tail: () => 'a proxy that refuses'});
  const refused = ctx.tool('watch', ...replaced(w.server, '--chain', `rpc:${url}`));
  await ctx.eventually('unbacked', async () => (await w.channels('server'))[0].stage === 'unbacked');
  await refused.kill('SIGKILL');
  await w.node.mine(1);
  ctx.assert.equal((await w.node.transaction(channel)).confirmations, 1);
  const [record] = await w.channels('server');
  const front = await without(ctx, w, [3], 503);
  await w.node.passTime(record.expiry - 7000);
  const tool = ctx.tool('watch', '--until-idle', ...front.args('server'));
  const {txid} = await taken(tool, channel);
  await checkSettlement(ctx, w.node, await w.mined(txid), record, 300000 - record.paid, record.paid);
  ctx.assert.ok(!tool.events.some((e) => e.event === 'watching'), 'the chain is not read yet');
  front.held = false;
  ctx.assert.equal((await tool.exit()).code, 0);
  ctx.assert.deepEqual(tool.all('error'), []);
}

/** The end of a channel that the store knows, in a block that the node has deleted since. */
async function prunedEnd(ctx) {
  const {w, channel} = await deserted(ctx, channelOf);
  const settled = await ctx.run(['settle', '--all', ...w.server]);
  const {txid} = settled.all('settled')[0];
  await w.mined(txid);
  const ends = {};
  for (const [command, side] of [['settle', 'server'], ['refund', 'client']]) {
    await ctx.run([command, ...w[side]]);
    [ends[side]] = await w.channels(side);
    ctx.assert.deepEqual([ends[side].channel, ends[side].closing, ends[side].closing_height], [channel, txid, await w.node.height()]);
  }
  const front = await without(ctx, w, [...Array(await w.node.height() + 1).keys()], {code: -1, message: 'Block not available (pruned data)'});
  await w.node.passTime(ends.client.expiry + 600);
  for (const side of ['client', 'server']) {
    const tool = ctx.tool('watch', '--until-idle', ...front.args(side));
    ctx.assert.equal((await tool.exit()).code, 0, 'nothing is left to do');
    ctx.assert.deepEqual([...tool.all('broadcast'), ...tool.all('error')], []);
    ctx.assert.deepEqual(await w.channels(side), [ends[side]]);
  }
  await w.node.mine(100);
  for (const side of ['client', 'server']) {
    await ctx.run([side === 'client' ? 'refund' : 'settle', ...front.args(side)]);
    ctx.assert.deepEqual(await w.channels(side), [], 'it is buried');
  }
}

/** The end of a channel in a block that the node has deleted before anybody read it: the node's unspent outputs tell. */
async function prunedUnseen(ctx) {
  const {w, channel} = await deserted(ctx, channelOf);
  const [{expiry}] = await w.channels('client');
  const settled = await ctx.run(['settle', '--all', ...w.server]);
  const {txid} = settled.all('settled')[0];
  await w.mined(txid);
  const height = await w.node.height();
  await w.node.mine(2);
  await w.node.passTime(expiry + 600);
  const front = await without(ctx, w, [...Array(await w.node.height() + 1).keys()], {code: -1, message: 'Block not available (pruned data)'}, true);
  const args = (side) => front.args(side).filter((a) => a !== '--rescan');
  // The server's own transaction: its output is there, so the node knows in which block.
  await ctx.run(['settle', ...args('server')]);
  const [server] = await w.channels('server');
  ctx.assert.deepEqual([server.channel, server.closing, server.closing_height], [channel, txid, height]);
  // Another's: the contract is spent, and the client's refund did not do it.
  const refund = await ctx.run(['refund', ...args('client')]);
  const told = refund.all('confirmed');
  ctx.assert.equal(told.length, 1);
  ctx.assert.equal(told[0].txid, undefined);
  ctx.assert.match(told[0].explanation, /a block that the node has deleted.*what spends its output 0/);
  const [client] = await w.channels('client');
  ctx.assert.deepEqual([client.channel, client.closing, client.closing_height], [channel, undefined, await w.node.height()]);
  for (const [command, side] of [['settle', 'server'], ['refund', 'client']]) {
    const again = await ctx.run([command, ...args(side)]);
    ctx.assert.deepEqual([...again.all('broadcast'), ...again.all('confirmed'), ...again.all('error')], []);
    ctx.assert.equal((await ctx.tool('watch', '--until-idle', ...args(side)).exit()).code, 0, 'nothing is left to do');
  }
  await w.node.mine(100);
  for (const [command, side] of [['settle', 'server'], ['refund', 'client']]) {
    await ctx.run([command, ...args(side)]);
    ctx.assert.deepEqual(await w.channels(side), [], 'it is buried');
  }
}

/** A block is held back, and no settlement can be written: it leaves all the same in the last hour. */
async function heldBackOnFullDisk(ctx) {
  const {w, channel} = await deserted(ctx, channelOf);
  const [record] = await w.channels('server');
  const store = await intoFolder(ctx, w, 'server');
  await ctx.run(['settle', ...replaced(w.server, '--store', store)], {code: 3});
  const front = await without(ctx, w, null, 503);
  await w.node.passTime(record.expiry - 1500);
  const under = ['bash', '-c', 'trap "" XFSZ; ulimit -f 0; exec "$0" "$@"'];
  const args = ['watch', ...replaced(front.args('server'), '--store', store)].map(String).filter((a) => a !== '--rescan');
  const tool = ctx.own(new Tool(args, {cwd: ctx.folder, under}));
  const {txid} = await taken(tool, channel);
  await checkSettlement(ctx, w.node, await w.mined(txid), record, 300000 - record.paid, record.paid);
}

/** A file store with what the side's store has, by export and import. */
async function intoFolder(ctx, w, side) {
  const store = `file:${ctx.path('folder')}`;
  await ctx.run(['export', '--store', w.store(side), '--network', 'regtest', '--all', '--to', ctx.path('files'), '--json']);
  const files = fs.readdirSync(ctx.path('files')).map((f) => path.join(ctx.path('files'), f));
  await ctx.run(['import', '--store', store, '--network', 'regtest', '--seed', ctx.path(`${side}.seed`), '--json', ...files]);
  return store;
}

/** What the store says of its network and its birthday is damaged: told, repaired, and no reason to leave money out. */
async function damagedHousekeeping(ctx) {
  const {w, channel} = await deserted(ctx, channelOf);
  const [record] = await w.channels('server');
  const store = await intoFolder(ctx, w, 'server');
  const server = replaced(w.server, '--store', store);
  await ctx.run(['settle', ...server], {code: 3});
  const zeros = '0'.repeat(64);
  const files = [8, 9].map((kind) => path.join(ctx.path('folder'), `${kind}-${zeros}.record`));
  for (const file of files) {
    const bytes = fs.readFileSync(file);
    bytes[bytes.length - 5] ^= 1;
    fs.writeFileSync(file, bytes);
  }
  await w.node.passTime(record.expiry - 7000);
  const tool = ctx.tool('watch', '--until-idle', ...server);
  const {txid} = await taken(tool, channel);
  await checkSettlement(ctx, w.node, await w.mined(txid), record, 300000 - record.paid, record.paid);
  ctx.assert.equal((await tool.exit()).code, 0);
  const told = tool.all('error');
  ctx.assert.deepEqual(told.map((e) => e.code), ['corrupt_record', 'corrupt_record']);
  ctx.assert.match(told[0].explanation, /9-0+\.record.*--network is taken at its word/);
  ctx.assert.match(told[1].explanation, /8-0+\.record.*going on from block 0/);
  ctx.assert.deepEqual((await ctx.run(['settle', ...server])).all('error'), [], 'repaired');
  await ctx.run(['settle', ...replaced(server, '--network', 'testnet')], {code: 2});
  // The same of a store that gives the bytes as they are.
  change(ctx.path('server.db'), "UPDATE record SET bytes = x'0102' WHERE kind IN (8, 9) AND channel = zeroblob(32)");
  ctx.assert.equal((await ctx.run(['settle', ...w.server])).all('error').length, 2);
  ctx.assert.deepEqual((await ctx.run(['settle', ...w.server])).all('error'), [], 'repaired');
  await ctx.run(['settle', ...replaced(w.server, '--network', 'testnet')], {code: 2});
}

/** The node as one of another network. */
async function renamed(ctx, node, chain) {
  const server = http.createServer((request, response) => {
    const onward = http.request({host: '127.0.0.1', port: node.rpcport, method: 'POST', path: '/', agent: false, headers: request.headers}, (from) => {
      let text = '';
      from.on('data', (piece) => { text += piece; });
      from.on('end', () => {
        text = text.replace('"chain":"regtest"', `"chain":"${chain}"`);
        response.writeHead(from.statusCode, {'content-type': 'application/json', 'content-length': Buffer.byteLength(text)});
        response.end(text);
      });
    });
    onward.on('error', () => request.socket.destroy());
    request.pipe(onward);
  });
  const port = await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server.address().port)));
  server.unref();
  ctx.own({kill: async () => server.close(), tail: () => 'a node by another name'});
  return `rpc:${node.url.replace(/:[0-9]+$/, `:${port}`)}`;
}

/** A store of before, that does not say its network, meets a node of another one: that is not kept. */
async function slipOfNetwork(ctx) {
  const {w, channel} = await deserted(ctx, channelOf);
  const [record] = await w.channels('server');
  const other = await ctx.node();
  await other.mine(20);
  const testnet = (side) => replaced(replaced(w[side], '--network', 'testnet'), '--chain', testnet.chain);
  testnet.chain = await renamed(ctx, other, 'test');
  const commands = [['settle', 'server'], ['refund', 'client']];
  for (const [command, side] of commands) {
    change(ctx.path(`${side}.db`), "DELETE FROM record WHERE kind = 9; UPDATE record SET bytes = x'0102' WHERE kind = 8");
    const slip = await ctx.run([command, ...testnet(side)], {code: 3});
    // Without a birthday the tip is where it begins.
    ctx.assert.match(slip.all('error')[0].explanation, /--birthday HEIGHT mends it/);
    ctx.assert.equal(slip.all('waiting')[0].channel, channel);
  }
  for (const [command, side] of commands) {
    await ctx.run([command, ...w[side]], {code: 3});
    ctx.assert.match((await ctx.run([command, ...testnet(side)], {code: 2})).stderr, /channels of regtest/, 'the chain has shown it');
  }
  const settled = await ctx.run(['settle', '--all', ...w.server]);
  const tx = await w.mined(settled.all('settled')[0].txid);
  await checkSettlement(ctx, w.node, tx, record, 300000 - record.paid, record.paid);
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
  {name: 'watch: a channel that was unbacked is settled while an early block is held back', run: unbacked},
  {name: 'watch: a full disk and a block that is held back keep no settlement at home in the last hour', run: heldBackOnFullDisk},
  {name: 'an end that the store knows, in blocks that the node has deleted, is an end', run: prunedEnd},
  {name: 'an end that nobody read, in blocks that the node has deleted, is learnt from its unspent outputs', run: prunedUnseen},
  {name: 'a damaged network or birthday is told and repaired, and money comes home', run: damagedHousekeeping},
  {name: 'a store that does not say its network is not bound to a wrong one by a slip of the hand', run: slipOfNetwork},
  {name: 'watch: a record that cannot be read is told once, and is no success', run: unreadable},
  {name: 'watch waits for a database that is down at the start', run: noDatabaseAtStart},
  {name: 'watch: a disk without room for the birthday holds no refund up', run: fullDisk},
  {name: 'pay: a backup that was asked for and is not written is no success', run: exportFolders},
  {name: 'a damaged store: exit status 1, not that of wrong options', run: damagedStore},
];
