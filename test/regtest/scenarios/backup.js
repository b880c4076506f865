// Export files that lie, stores that are damaged, folders that several write to: nothing that is good gets lost by a backup.
'use strict';
const fs = require('fs');
const path = require('path');
const {execFileSync} = require('child_process');
const {createHash} = require('crypto');
const {checkSettlement, checkRefund} = require('../harness/scripts');
const {proxy} = require('../harness/proxy');
const {replaced, deserted, paid, world} = require('../harness/world');

const sha256 = (b) => createHash('sha256').update(b).digest();

/** Runs SQL on a store, as somebody who damages it. */
const sql = (file, command) => execFileSync('python3', ['-c',
  'import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute(sys.argv[2]); c.commit(); c.close()', file, command]);

/** An export file with another record in it, under checksums that fit.  change(record) returns the record, or changes it. */
function forged(file, to, change) {
  const bytes = fs.readFileSync(file);
  const size = bytes.readUInt16LE(7);
  let record = Buffer.from(bytes.subarray(9, 9 + size));
  record = change(record) || record;
  sha256(sha256(record.subarray(0, -4))).copy(record, record.length - 4, 0, 4);
  const length = Buffer.alloc(2);
  length.writeUInt16LE(record.length);
  const content = Buffer.concat([bytes.subarray(0, 7), length, record, bytes.subarray(9 + size, -32)]);
  fs.writeFileSync(to, Buffer.concat([content, sha256(content)]));
  return to;
}

// Where things are in a record: see record_io.hpp.
const at = {version: 1, stage: 13, expiry: 1 + 8 + 4 + 1 + 36 + 8};

/** The record with a signature of a high S, which no node relays. */
function withHighS(record) {
  let key = at.expiry + 8;
  key += 1 + record[key];
  const length = key + 1 + record[key] + 16;
  const sig = record.subarray(length + 1, length + 1 + record[length]);
  const r = sig.subarray(2, 4 + sig[3]);
  const order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141n;
  const low = BigInt('0x' + sig.subarray(6 + sig[3], -1).toString('hex'));
  const high = Buffer.concat([Buffer.alloc(1), Buffer.from((order - low).toString(16).padStart(64, '0'), 'hex')]);
  const both = Buffer.concat([r, Buffer.from([2, high.length]), high]);
  const made = Buffer.concat([Buffer.from([0x30, both.length]), both, sig.subarray(-1)]);
  return Buffer.concat([record.subarray(0, length), Buffer.from([made.length]), made, record.subarray(length + 1 + record[length])]);
}

const exportArgs = (store, folder, network = 'regtest') => ['export', '--store', store, '--network', network, '--all', '--to', folder, '--json'];
const importArgs = (ctx, side, store, ...files) =>
  ['import', '--store', store, '--network', 'regtest', '--seed', ctx.path(`${side}.seed`), '--json', ...files];
const fileOf = (folder, channel, side) => path.join(folder, `${channel}.${side}.channel`);

/** Imports one file, and gives what the tool said of it. */
const importOne = async (ctx, side, store, file) => (await ctx.run(importArgs(ctx, side, store, file))).all('imported')[0];

const long = ['--channel', 300000, '--payments', 5, '--amount', 1000, '--window', 15000];

/** The one transaction of the mempool that spends the channel. */
async function inMempool(ctx, w, channel) {
  for (const txid of await w.node.call('getrawmempool')) {
    const tx = await w.node.transaction(txid);
    if (tx.vin.some((i) => i.txid === channel)) return txid;
  }
  return ctx.assert.fail('nothing in the mempool spends the channel');
}

async function oneFolder(ctx) {
  const {w, channel} = await deserted(ctx, {pay: long});
  const [record] = await w.channels('server');
  const folder = ctx.path('exports');
  for (const side of ['client', 'server']) {
    const [done] = (await ctx.run(exportArgs(w.store(side), folder))).all('exported');
    ctx.assert.deepEqual([done.result, done.role, done.file], ['written', side, fileOf(folder, channel, side)]);
  }
  ctx.assert.deepEqual(fs.readdirSync(folder).sort(), [`${channel}.client.channel`, `${channel}.server.channel`]);
  // Under the name that older versions gave it, and by people, who are told of the watch.
  fs.renameSync(fileOf(folder, channel, 'client'), path.join(folder, `${channel}.channel`));
  const store = {client: `sqlite:${ctx.path('new.client.db')}`, server: `sqlite:${ctx.path('new.server.db')}`};
  const told = await ctx.run(importArgs(ctx, 'client', store.client, path.join(folder, `${channel}.channel`)).filter((a) => a !== '--json'));
  ctx.assert.match(told.lines.join('\n') + told.stderr, /stored.*\n.*reads the blocks from the birthday/);
  ctx.assert.equal((await importOne(ctx, 'server', store.server, fileOf(folder, channel, 'server'))).result, 'stored');
  await ctx.run(['settle', '--all', ...replaced(w.server, '--store', store.server)]);
  const txid = await inMempool(ctx, w, channel);
  await checkSettlement(ctx, w.node, await w.mined(txid), record, 300000 - record.paid, record.paid);
}

async function wrongNetwork(ctx) {
  const {w, channel} = await paid(ctx, {pay: long});
  const folder = ctx.path('exports');
  for (const network of ['mainnet', 'testnet', 'signet']) {
    const refused = await ctx.run(exportArgs(w.store('client'), folder, network).filter((a) => a !== '--json'), {code: 2});
    ctx.assert.match(refused.stderr, new RegExp(`the store has channels of regtest, and --network is ${network}`));
  }
  ctx.assert.ok(!fs.existsSync(folder));
  const elsewhere = replaced(w.client, '--network', 'testnet').filter((a) => a !== '--json');
  for (const command of ['refund', 'watch', 'balance'])
    ctx.assert.match((await ctx.run([command, ...elsewhere], {code: 2})).stderr, /channels of regtest/);
  await ctx.run(exportArgs(w.store('client'), folder));
  // A store of before: it does not know its network, until a node has confirmed it.  `channels` and `balance` write nothing.
  sql(ctx.path('client.db'), 'DELETE FROM record WHERE kind = 9');
  const later = ctx.path('later');
  const doubted = await ctx.run(exportArgs(w.store('client'), later));
  ctx.assert.equal(doubted.all('exported')[0].warning, 'unproven network');
  ctx.assert.match(doubted.stderr, /WARNING: unproven network: .*\. The files say regtest/);
  ctx.assert.equal((await ctx.tool('refund', ...replaced(w.client, '--network', 'testnet'), '--birthday', 0).exit()).code, 1, 'not of this node');
  await ctx.run(['balance', ...w.client]);
  ctx.assert.equal((await ctx.run(exportArgs(w.store('client'), later))).all('exported')[0].warning, 'unproven network');
  await ctx.run(['refund', ...w.client], {code: 3});
  const known = await ctx.run(exportArgs(w.store('client'), later));
  ctx.assert.deepEqual([known.all('exported')[0].warning, known.stderr], [undefined, '']);
  // And an import tells the store, too.
  const store = `sqlite:${ctx.path('new.db')}`;
  await importOne(ctx, 'client', store, fileOf(later, channel, 'client'));
  await ctx.run(exportArgs(store, ctx.path('again')));
  await ctx.run(exportArgs(store, ctx.path('again'), 'testnet'), {code: 2});
  ctx.assert.ok(fs.readFileSync(fileOf(ctx.path('again'), channel, 'client')).equals(fs.readFileSync(fileOf(later, channel, 'client'))));
}

/** A server's file that its client has changed, against a store that has the channel, and one that lost it. */
async function hostileFiles(ctx) {
  const {w, server, channel} = await paid(ctx, {pay: long});
  const folder = ctx.path('early');
  await ctx.run(exportArgs(w.store('server'), folder));
  await w.pay(long);
  await server.kill('SIGTERM');
  await w.node.mine(1);
  const [record] = await w.channels('server');
  const early = fileOf(folder, channel, 'server');
  const file = (name, change) => forged(early, ctx.path(name), change);
  const version = (n) => (r) => { r.writeBigUInt64LE(n, at.version); };
  // Less was paid by it, whatever number is on it.
  ctx.assert.equal((await importOne(ctx, 'server', w.store('server'), file('newer', version(1000n)))).result, 'kept');
  ctx.assert.deepEqual(await w.channels('server'), [record]);
  const last = await ctx.run(importArgs(ctx, 'server', w.store('server'), file('last', version((1n << 63n) - 1n))), {code: 1});
  ctx.assert.equal(last.all('error')[0].code, 'corrupt_record');
  ctx.assert.deepEqual(await w.channels('server'), [record]);
  // What was paid more is taken, beside all that the store knows.
  await ctx.run(exportArgs(w.store('server'), ctx.path('late')));
  const old = `sqlite:${ctx.path('old.db')}`;
  await importOne(ctx, 'server', old, early);
  const better = forged(fileOf(ctx.path('late'), channel, 'server'), ctx.path('better'), version(1n));
  ctx.assert.equal((await importOne(ctx, 'server', old, better)).result, 'stored');
  const [now] = (await ctx.run(['channels', '--store', old, '--json'])).all('channel');
  ctx.assert.deepEqual([now.paid, now.stage, now.expiry], [record.paid, 'open', record.expiry]);

  // The store is lost: the same payment as ever, settled at its deadline whatever stage the file gives.
  const late = fileOf(ctx.path('late'), channel, 'server');
  for (const [name, stage] of Object.entries({none: 0, opening: 1, unbacked: 4})) {
    const store = `sqlite:${ctx.path(`${name}.db`)}`;
    const made = forged(late, ctx.path(name), (r) => { r[at.stage] = stage; });
    const imported = await importOne(ctx, 'server', store, made);
    ctx.assert.deepEqual([imported.result, imported.settles], ['stored', false]);
    ctx.assert.equal((await ctx.run(['channels', '--store', store, '--json'])).all('channel')[0].stage, 'open');
  }
  const store = `sqlite:${ctx.path('high.db')}`;
  await importOne(ctx, 'server', store, forged(late, ctx.path('high'), withHighS));
  await ctx.run(['settle', ...replaced(w.server, '--store', store)], {code: 3});
  ctx.assert.deepEqual(await w.node.call('getrawmempool'), [], 'not due');
  await w.node.passTime(record.expiry - 3000);
  await ctx.run(['settle', ...replaced(w.server, '--store', store)]);
  const txid = await inMempool(ctx, w, channel);
  await checkSettlement(ctx, w.node, await w.mined(txid), record, 300000 - record.paid, record.paid);
}

/** In version 1 nothing in a server's file shows when the client can take all back. */
async function lateExpiry(ctx) {
  const {w, channel} = await deserted(ctx, {pay: ['--version', 1, ...long]});
  const [record] = await w.channels('server');
  const folder = ctx.path('exports');
  await ctx.run(exportArgs(w.store('server'), folder));
  const year = forged(fileOf(folder, channel, 'server'), ctx.path('year'),
    (r) => { r.writeBigInt64LE(BigInt(record.expiry + 365 * 86400), at.expiry); });
  // What the store knows stays.
  ctx.assert.equal((await importOne(ctx, 'server', w.store('server'), year)).result, 'kept');
  ctx.assert.deepEqual(await w.channels('server'), [record]);
  const store = `sqlite:${ctx.path('new.db')}`;
  const imported = await importOne(ctx, 'server', store, year);
  ctx.assert.deepEqual([imported.result, imported.settles], ['stored', true]);
  // No client goes on with it, and any command that meets a node settles it.
  const args = replaced(w.server, '--store', store);
  const server = ctx.tool('serve', '--listen', `127.0.0.1:${w.port}`, ...args);
  await server.event('listening');
  const txid = await ctx.eventually('the settlement', () => inMempool(ctx, w, channel).catch(() => null));
  const other = await w.pay(['--version', 1, ...long]);
  ctx.assert.notEqual(other.opened.channel, channel);
  await w.node.mine(1);
  const tx = await w.node.transaction(txid);
  ctx.assert.equal(tx.confirmations, 1);
  await checkSettlement(ctx, w.node, tx, record, 300000 - record.paid, record.paid);
}

async function damagedStore(ctx) {
  const {w, channel} = await deserted(ctx, {pay: long});
  const [record] = await w.channels('client');
  const folder = ctx.path('exports');
  await ctx.run(exportArgs(w.store('client'), folder));
  const file = fileOf(folder, channel, 'client');
  const good = fs.readFileSync(file);
  sql(ctx.path('client.db'), 'UPDATE record SET bytes = zeroblob(length(bytes)) WHERE kind IN (2, 3)');
  // Not over the file of better days, nor beside it.
  for (const to of [folder, ctx.path('empty')]) {
    const refused = await ctx.run(exportArgs(w.store('client'), to), {code: 1});
    ctx.assert.equal(refused.all('exported').length, 0);
    ctx.assert.ok(refused.all('error')[0].explanation.includes(channel));
  }
  ctx.assert.ok(fs.readFileSync(file).equals(good));
  ctx.assert.ok(!fs.existsSync(ctx.path('empty')));
  // The file mends the store.
  ctx.assert.equal((await importOne(ctx, 'client', w.store('client'), file)).result, 'repaired');
  ctx.assert.equal((await importOne(ctx, 'client', w.store('client'), file)).result, 'kept');
  ctx.assert.deepEqual(await w.channels('client'), [record]);
  // What a newer paychan wrote is not for this one to replace.
  const newer = Buffer.from(good);
  newer[4] = 2;
  sha256(newer.subarray(0, -32)).copy(newer, newer.length - 32);
  fs.writeFileSync(file, newer);
  const refused = await ctx.run(exportArgs(w.store('client'), folder), {code: 1});
  ctx.assert.equal(refused.all('error')[0].code, 'unknown_format');
  ctx.assert.ok(fs.readFileSync(file).equals(newer));
  // And the money is there.
  const custodian = ctx.tool('watch', ...w.client, '--until-idle');
  await custodian.event('watching');
  await w.node.passTime(record.expiry + 600);
  await custodian.event('refunding');
  const {txid} = await custodian.event((e) => e.event === 'broadcast' && e.outcome === 'accepted' && e.txid !== channel);
  await checkRefund(ctx, w.node, await w.mined(txid), record);
  ctx.assert.equal((await custodian.exit()).code, 0);
}

async function atTheSameTime(ctx) {
  const {w, channel} = await paid(ctx, {pay: long});
  sql(ctx.path('client.db'), 'PRAGMA wal_checkpoint(TRUNCATE)');
  fs.copyFileSync(ctx.path('client.db'), ctx.path('old.db'));
  await w.pay(long);
  const [record] = await w.channels('client');
  for (let round = 0; round < 12; ++round) {
    const folder = ctx.path(`round${round}`);
    const tools = ['client', 'old', 'client', 'old'].map((name) => ctx.tool(...exportArgs(`sqlite:${ctx.path(`${name}.db`)}`, folder)));
    for (const tool of tools) ctx.assert.equal((await tool.exit()).code, 0, tool.tail());
    ctx.assert.deepEqual(fs.readdirSync(folder), [`${channel}.client.channel`]);
    const imported = await importOne(ctx, 'client', `sqlite:${ctx.path(`round${round}.db`)}`, fileOf(folder, channel, 'client'));
    ctx.assert.equal(imported.paid, record.paid);
  }
}

/** A node is gone, or never was; and the store says nothing that can be read of its network. */
async function withoutNode(ctx) {
  const w = await world(ctx);
  const printing = replaced(w.server, '--chain', 'print:');
  const server = ctx.tool('serve', '--listen', `127.0.0.1:${w.port}`, ...printing);
  await server.event('listening');
  const {opened: {channel}} = await w.pay(long);
  await server.kill('SIGKILL');
  const [record] = await w.channels('server');
  await ctx.run(['settle', ...printing], {code: 3});
  const folder = ctx.path('exports');
  const done = await ctx.run(exportArgs(w.store('server'), folder));
  ctx.assert.deepEqual(done.all('exported'), [{event: 'exported', role: 'server', channel, file: fileOf(folder, channel, 'server'),
    result: 'written', network: 'regtest', warning: 'unproven network'}]);
  ctx.assert.match(done.stderr, /WARNING: unproven network/);
  // In a file store the record of the network can be damaged, and nothing else.
  const store = `file:${ctx.path('folder')}`;
  await importOne(ctx, 'server', store, fileOf(folder, channel, 'server'));
  const network = path.join(ctx.path('folder'), fs.readdirSync(ctx.path('folder')).find((f) => f.startsWith('9-')));
  const bytes = fs.readFileSync(network);
  bytes[bytes.length - 5] ^= 1;
  fs.writeFileSync(network, bytes);
  const again = await ctx.run(exportArgs(store, ctx.path('again')));
  ctx.assert.equal(again.all('exported')[0].warning, 'unproven network');
  const lost = `sqlite:${ctx.path('new.db')}`;
  ctx.assert.equal((await importOne(ctx, 'server', lost, fileOf(ctx.path('again'), channel, 'server'))).result, 'stored');
  await w.node.mine(1);
  await ctx.run(['settle', '--all', ...replaced(w.server, '--store', lost)]);
  const txid = await inMempool(ctx, w, channel);
  await checkSettlement(ctx, w.node, await w.mined(txid), record, 300000 - record.paid, record.paid);
}

/** An old store that has settled what it knew, and then gets a better payment. */
async function settledLess(ctx, late) {
  const {w, server, channel} = await paid(ctx, {pay: long});
  const [less] = await w.channels('server');
  await ctx.run(exportArgs(w.store('server'), ctx.path('early')));
  await w.pay(long);
  await server.kill('SIGKILL');
  await w.node.mine(1);
  const [more] = await w.channels('server');
  ctx.assert.ok(more.paid > less.paid);
  await ctx.run(exportArgs(w.store('server'), ctx.path('late')));
  const old = `sqlite:${ctx.path('old.db')}`;
  await importOne(ctx, 'server', old, fileOf(ctx.path('early'), channel, 'server'));
  const args = replaced(w.server, '--store', old);
  if (late) {
    await ctx.run(['settle', '--all', ...args]);
    const first = await inMempool(ctx, w, channel);
    await w.node.mine(1);
    await ctx.run(['settle', ...args]);
    const [before] = (await ctx.run(['channels', '--store', old, '--json'])).all('channel');
    ctx.assert.deepEqual([before.closing, before.closing_height], [first, await w.node.height()]);
    const file = fileOf(ctx.path('late'), channel, 'server');
    const tool = await ctx.run(importArgs(ctx, 'server', old, file), {code: 1});
    ctx.assert.equal(tool.all('imported')[0].result, 'too_late');
    // What is in the block stays, unless the block goes.
    await ctx.run(['settle', ...args]);
    const [now] = (await ctx.run(['channels', '--store', old, '--json'])).all('channel');
    ctx.assert.deepEqual([now.closing, now.closing_height], [first, before.closing_height]);
    ctx.assert.deepEqual(await w.node.call('getrawmempool'), []);
    return;
  }
  const {url, close} = await proxy(w.node, (call) => call.method === 'sendrawtransaction' ? 503 : undefined);
  ctx.own({kill: async () => close(), tail: () => 'proxy'});
  await ctx.run(['settle', '--all', ...replaced(args, '--chain', `rpc:${url}`)], {code: 1});
  const [before] = (await ctx.run(['channels', '--store', old, '--json'])).all('channel');
  ctx.assert.equal(before.stage, 'settling');
  const imported = await importOne(ctx, 'server', old, fileOf(ctx.path('late'), channel, 'server'));
  ctx.assert.deepEqual([imported.result, imported.settles, imported.discarded], ['stored', true, before.closing]);
  await ctx.run(['settle', ...args]);
  const txid = await inMempool(ctx, w, channel);
  await checkSettlement(ctx, w.node, await w.mined(txid), more, 300000 - more.paid, more.paid);
}

/** An export that is killed leaves a file that the next one removes. */
async function killedExport(ctx) {
  const {w, channel} = await deserted(ctx, {pay: long});
  const folder = ctx.path('exports');
  fs.mkdirSync(folder);
  const left = [`${channel}.server.channel.0123456789abcdef.new`, `${channel}.client.channel.fedcba9876543210.new`];
  const hourAgo = Date.now() / 1000 - 3600;
  for (const name of [...left, 'notes.new']) {
    fs.writeFileSync(path.join(folder, name), 'begun');
    fs.utimesSync(path.join(folder, name), hourAgo, hourAgo);
  }
  await ctx.run(exportArgs(w.store('server'), folder));
  ctx.assert.deepEqual(fs.readdirSync(folder).sort(), [`${channel}.server.channel`, 'notes.new'].sort());
}

module.exports = [
  {name: 'backup: both sides export into one folder, and each comes back from its own file', run: oneFolder},
  {name: 'backup: a store knows its network, and no other gets into a file', run: wrongNetwork},
  {name: 'backup: a server\'s file that its client has changed costs nothing', run: hostileFiles},
  {name: 'backup: a version 1 server\'s file with an expiry that is too late is settled at once', run: lateExpiry},
  {name: 'backup: a damaged store replaces no good file, and a good file mends it', run: damagedStore},
  {name: 'backup: several exports into one folder at a time leave the newest', run: atTheSameTime},
  {name: 'backup: with no node at all, channels are exported under a warning, and come home', run: withoutNode},
  {name: 'backup: a better payment takes the place of a stored settlement of less', run: (ctx) => settledLess(ctx, false)},
  {name: 'backup: a better payment after the end comes too late, and says so', run: (ctx) => settledLess(ctx, true)},
  {name: 'backup: what a killed export left is removed by the next', run: killedExport},
];
