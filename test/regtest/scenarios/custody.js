// Money comes home by itself: processes that are killed, stores that are lost, databases that go away, deadlines with nobody there.
'use strict';
const fs = require('fs');
const path = require('path');
const {execFileSync} = require('child_process');
const {createHash} = require('crypto');
const {Child} = require('../harness/child');
const {typesOf} = require('../harness/peer');
const {Postgres, secret} = require('../harness/postgres');
const {Relay} = require('../harness/relay');
const {checkSettlement, checkRefund, checkContract, operations} = require('../harness/scripts');
const {Tool, program} = require('../harness/tool');
const {replaced, world, deserted} = require('../harness/world');

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Numbers in [0, 1) from a seed (mulberry32), so that a run that failed can be had again. */
function numbers(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** `paychan watch` on one side's store, when it has caught up. */
async function watch(ctx, w, side, ...more) {
  const tool = ctx.tool('watch', ...w[side], ...more);
  await tool.event('watching');
  return tool;
}

const lastAck = (tool) => tool.all('acked').reduce((most, e) => Math.max(most, e.total), 0);

async function killedAtRandom(ctx) {
  const seed = Number(process.env.PAYCHAN_SEED) || Date.now() % 1000000;
  const random = numbers(seed);
  const w = await world(ctx);
  const amount = 100;
  const pay = () => ctx.tool(...w.payArgs('--channel', 1000000000, '--payments', 1000000, '--amount', amount));
  let server = await w.serve();
  let client = pay();
  const {channel, paid: first} = await client.event('opened');
  await w.node.mine(1);
  let best = first;  // [satoshi] the most that the client was ever told to be paid
  const kills = {server: 0, client: 0};
  /** Of a client that has ended: what it was told. */
  const note = () => {
    for (const {paid} of client.all('opened')) {
      ctx.assert.ok(paid >= best && paid <= best + 2 * amount, `seed ${seed}: ${paid} after ${best}: one was on its way, and one ack`);
      best = paid;
    }
    best = Math.max(best, lastAck(client));
  };
  const stored = async (side) => {
    const [one, ...others] = await w.channels(side);
    ctx.assert.deepEqual([one.channel, others], [channel, []], `seed ${seed}`);
    ctx.assert.ok(one.paid >= best, `seed ${seed}: the ${side} has ${one.paid}, and ${best} were acked`);
    return one;
  };
  while (kills.server + kills.client < 200) {
    // Mostly among payments, now and then while a process starts or a channel is resumed.
    if (random() < 0.7) await client.until(() => client.all('acked').length > 0 || undefined, `an ack (seed ${seed})`, 60000);
    await pause(random() * 150);
    const side = random() < 0.5 ? 'server' : 'client';
    ++kills[side];
    if (side === 'server') {
      await server.kill('SIGKILL');
      await client.exit();  // by itself: the connection is gone
      note();
      await stored('server');
      server = await w.serve();
    } else {
      await client.kill('SIGKILL');
      note();
      await stored('client');
    }
    client = pay();
  }
  await client.until(() => client.all('acked').length > 0 || undefined, 'an ack', 60000);
  await client.kill('SIGKILL');
  note();
  const last = await w.pay(['--channel', 1000000000, '--payments', 10, '--amount', amount, '--settle']);
  ctx.assert.ok(last.opened.paid >= best && last.opened.paid <= best + 2 * amount, `seed ${seed}: ${last.opened.paid} after ${best}`);
  const settled = last.all('settled')[0];
  ctx.assert.equal(settled.paid, last.opened.paid + 10 * amount);
  const both = [await stored('server'), await stored('client')];
  ctx.assert.deepEqual(both.map((c) => [c.paid, c.stage, c.closing]), Array(2).fill([settled.paid, 'settling', settled.txid]));
  const tx = await w.mined(settled.txid);
  await checkSettlement(ctx, w.node, tx, both[0], 1000000000 - settled.paid, settled.paid);
  console.log(`    seed ${seed}: ${kills.server} kills of the server, ${kills.client} of the client, ${settled.paid / amount | 0} payments`);
}

/** A world whose server keeps its channels in PostgreSQL, reached by a relay. */
async function shared(ctx) {
  const db = ctx.own(await Postgres.start());
  const w = await world(ctx);
  w.server = replaced(w.server, '--store', db.store);
  const relay = ctx.own(await Relay.start(0));
  w.port = relay.port;
  const serve = async () => {
    const tool = ctx.tool('serve', '--listen', '127.0.0.1:0', ...w.server);
    tool.port = (await tool.event('listening')).port;
    return tool;
  };
  return {db, w, relay, serve};
}

/** Nothing that the tool has said holds the database's password. */
function noSecret(ctx, ...tools) {
  for (const tool of tools) ctx.assert.ok(!(tool.lines.join('\n') + tool.stderr).includes(secret), 'a password was shown');
}

async function twoServers(ctx) {
  const {db, w, relay, serve} = await shared(ctx);
  const [first, second] = [await serve(), await serve()];
  const pay = (n, ...more) => ['--channel', 100000000, '--payments', n, '--amount', 10, ...more];
  relay.target = first.port;
  const client = ctx.tool(...w.payArgs(...pay(100000)));
  await client.until(() => client.all('acked').length >= 200 || undefined, '200 acks', 60000);
  const {channel} = client.all('opened')[0];
  await first.kill('SIGKILL');
  ctx.assert.equal((await client.exit()).code, 1);
  let acked = lastAck(client);
  relay.target = second.port;
  const resumed = await w.pay(pay(50));
  ctx.assert.deepEqual([resumed.opened.channel, resumed.opened.resumed], [channel, true]);
  ctx.assert.ok(resumed.opened.paid >= acked && resumed.opened.paid <= acked + 20, `${resumed.opened.paid} after ${acked}`);
  await w.node.mine(1);

  // A third one takes payments, and is stopped with one of them waiting at its door.
  const third = await serve();
  relay.target = third.port;
  const payer = ctx.tool(...w.payArgs(...pay(100000)));
  await payer.until(() => payer.all('acked').length >= 50 || undefined, '50 acks', 60000);
  const link = relay.hold();
  await ctx.eventually('a payment on its way', () => link.held.length > 0);
  await ctx.eventually('every ack has arrived', () => third.all('payment').length === payer.all('acked').length);
  third.process.kill('SIGSTOP');
  relay.release(link);
  await payer.exit();
  acked = lastAck(payer);
  const before = link.answer.length;
  // Meanwhile the channel goes on at the second.
  relay.target = second.port;
  const more = await w.pay(pay(50));
  ctx.assert.deepEqual([more.opened.channel, more.opened.resumed, more.opened.paid], [channel, true, acked + 10]);
  const [there] = await w.channels('server');
  ctx.assert.equal(there.paid, acked + 510);
  const heard = third.all('payment').length;
  third.process.kill('SIGCONT');
  const refusal = await third.event((e) => e.event === 'error');
  ctx.assert.deepEqual([refusal.code, refusal.channel], ['stale_record', channel]);
  await ctx.eventually('the end of its connection', () => link.server.destroyed);
  ctx.assert.deepEqual(typesOf(link.answer.subarray(before)), [10], 'an ERROR leaves, and no PAYMENT_ACK (11)');
  ctx.assert.equal(third.all('payment').length, heard);
  ctx.assert.deepEqual(await w.channels('server'), [there], 'nothing was written');

  // It has learned: with the second one gone, the channel goes on there, and is settled.
  await second.kill('SIGKILL');
  relay.target = third.port;
  const last = await w.pay(pay(10, '--settle'));
  ctx.assert.deepEqual([last.opened.channel, last.opened.resumed, last.opened.paid], [channel, true, there.paid]);
  const settled = last.all('settled')[0];
  ctx.assert.equal(settled.paid, there.paid + 100);
  const tx = await w.mined(settled.txid);
  await checkSettlement(ctx, w.node, tx, there, 100000000 - settled.paid, settled.paid);
  noSecret(ctx, first, second, third);
  ctx.assert.equal(db.run(`SELECT count(*) FROM paychan_record WHERE kind = 4`), '1');
}

async function databaseGoesAway(ctx) {
  const {db, w, relay, serve} = await shared(ctx);
  const refused = async (store, pattern, code) => {
    const args = replaced(w.server, '--store', store).filter((a) => a !== '--json');
    const tool = await ctx.run(['serve', '--listen', '127.0.0.1:0', ...args], {code});
    ctx.assert.equal(tool.stderr.trim().split('\n').length, 1, tool.stderr);
    ctx.assert.match(tool.stderr, pattern);
    noSecret(ctx, tool);
  };
  await refused(db.store.replace(/port=\d+/, `port=${await ctx.freePort()}`), /--store: PostgreSQL database postgres: .*cannot be reached/, 1);
  await refused(db.store.replace('dbname=postgres', 'dbname=nowhere'), /no such database/, 2);
  await refused(`postgres:${secret}`, /connection string/, 2);

  const server = await serve();
  relay.target = server.port;
  const pay = (n, ...more) => ['--channel', 100000000, '--payments', n, '--amount', 10, ...more];
  const client = ctx.tool(...w.payArgs(...pay(100000)));
  await client.until(() => client.all('acked').length >= 100 || undefined, '100 acks', 60000);
  await db.stop();
  ctx.assert.equal((await client.exit()).code, 1);
  const acked = lastAck(client);
  ctx.assert.equal((await server.event((e) => e.event === 'error')).code, 'store_failed');
  // Still away: an error and no ack.  The server stays.
  const meanwhile = await w.pay(pay(1), {code: 1});
  ctx.assert.equal(meanwhile.all('acked').length, 0);
  ctx.assert.equal(server.result, null, 'the server runs');
  await db.resume();
  const again = await w.pay(pay(20));
  const {channel} = client.all('opened')[0];
  ctx.assert.deepEqual([again.opened.channel, again.opened.resumed], [channel, true]);
  ctx.assert.ok(again.opened.paid >= acked && again.opened.paid <= acked + 20, `${again.opened.paid} after ${acked}`);
  // Away while the server does nothing: the next call connects again.
  await db.stop();
  await db.resume();
  const last = await w.pay(pay(5, '--settle'));
  ctx.assert.equal(last.opened.paid, again.opened.paid + 200);
  const settled = last.all('settled')[0];
  const [stored] = await w.channels('server');
  const tx = await w.mined(settled.txid);
  await checkSettlement(ctx, w.node, tx, stored, 100000000 - settled.paid, settled.paid);
  noSecret(ctx, server);
  await server.kill('SIGTERM');
  db.run('UPDATE paychan_record SET version = 2 WHERE kind = 0');
  await refused(db.store, /newer version of paychan/, 2);
  db.run('DROP TABLE paychan_record; CREATE TABLE paychan_record (name TEXT)');
  await refused(db.store, /paychan_record/, 1);
}

async function refundUnattended(ctx) {
  const {w, channel} = await deserted(ctx, {pay: ['--channel', 300000, '--payments', 1, '--amount', 1000, '--window', 15000]});
  const [record] = await w.channels('client');
  const watchers = [await watch(ctx, w, 'client', '--until-idle'), await watch(ctx, w, 'client', '--until-idle')];
  ctx.assert.equal(watchers[0].all('watching')[0].next_refund, record.expiry);
  // The clock alone does not do, nor a median time that is not past the expiry yet.
  await w.node.setTime(record.expiry + 600);
  await w.node.mine(5);
  ctx.assert.ok(await w.node.medianTime() <= record.expiry);
  const early = await ctx.run(['refund', '--early', ...w.client], {code: 1});
  const refused = early.all('broadcast').find((b) => b.outcome === 'refused');
  ctx.assert.match(refused.reason, /non-final/);
  // Killed and started again, it has forgotten nothing.
  await watchers[1].kill('SIGKILL');
  watchers[1] = await watch(ctx, w, 'client', '--until-idle');
  ctx.assert.deepEqual(await w.node.call('getrawmempool'), []);
  await w.node.passTime(record.expiry + 600);
  let txid = null;  // both make the same one
  for (const tool of watchers) {
    ctx.assert.equal((await tool.event('refunding')).channel, channel);
    const taken = await tool.event((e) => e.event === 'broadcast' && e.txid !== channel && e.outcome === 'accepted');
    txid = txid || taken.txid;
    ctx.assert.equal(taken.txid, txid);
  }
  const tx = await w.mined(txid);
  await checkRefund(ctx, w.node, tx, record);
  for (const tool of watchers) {
    ctx.assert.equal((await tool.exit()).code, 0);
    ctx.assert.equal(tool.all('confirmed')[0].txid, txid);
    ctx.assert.deepEqual(tool.all('broadcast').filter((b) => b.outcome !== 'accepted'), [], 'nothing was sent too early');
    ctx.assert.deepEqual(tool.all('error'), []);
  }
}

async function settlementUnattended(ctx) {
  const {w, channel} = await deserted(ctx, {pay: ['--channel', 500000, '--payments', 5, '--amount', 2000, '--window', 20000]});
  const [record] = await w.channels('server');
  const before = await watch(ctx, w, 'server');
  ctx.assert.equal(before.all('watching')[0].next_settlement, record.expiry - 7200);
  await before.kill('SIGKILL');
  const watchers = [await watch(ctx, w, 'server', '--until-idle'), await watch(ctx, w, 'server', '--until-idle')];
  ctx.assert.deepEqual(await w.node.call('getrawmempool'), [], 'it is not due yet');
  await w.node.passTime(record.expiry - 7100);
  await watchers[0].event('settled');
  await watchers[1].event((e) => e.event === 'broadcast' && e.outcome === 'accepted' && e.txid !== channel);
  const [txid, ...others] = await w.node.call('getrawmempool');
  ctx.assert.deepEqual(others, []);
  const tx = await w.mined(txid);
  await checkSettlement(ctx, w.node, tx, record, 489000, 11000);
  ctx.assert.ok(await w.node.medianTime() < record.expiry);
  for (const tool of watchers) {
    ctx.assert.equal((await tool.exit()).code, 0);
    ctx.assert.equal(tool.all('confirmed')[0].txid, txid);
    ctx.assert.deepEqual(tool.all('error'), []);
  }
  const [after] = await w.channels('server');
  ctx.assert.deepEqual([after.stage, after.paid, after.closing], ['settling', 11000, txid]);
}

async function watchWithoutDatabase(ctx) {
  const db = ctx.own(await Postgres.start());
  const w = await world(ctx);
  w.client = replaced(w.client, '--store', db.store);
  const server = await w.serve();
  const paid = await w.pay(['--channel', 300000, '--payments', 1, '--amount', 1000, '--window', 15000]);
  await server.kill('SIGKILL');
  await w.node.mine(1);
  const [record] = await w.channels('client');
  const custodian = await watch(ctx, w, 'client', '--until-idle');
  await db.stop();
  await w.node.passTime(record.expiry + 600);
  ctx.assert.equal((await custodian.event((e) => e.event === 'error')).code, 'store_failed');
  ctx.assert.deepEqual(await w.node.call('getrawmempool'), []);
  await db.resume();
  const {txid} = await custodian.until(() => custodian.all('broadcast').find((e) => e.outcome === 'accepted' && e.txid !== paid.opened.channel),
    'a refund', 30000);
  await db.stop();  // and when the block comes
  const tx = await w.mined(txid);
  await db.resume();
  await checkRefund(ctx, w.node, tx, record);
  ctx.assert.equal((await custodian.exit()).code, 0);
  noSecret(ctx, custodian);
}

/** Another process stores a channel while the watcher runs: it is brought home too. */
async function laterChannels(ctx) {
  const w = await world(ctx);
  const server = await w.serve();
  const first = await w.pay(['--channel', 500000, '--payments', 1, '--amount', 2000, '--settle']);
  await w.mined(first.all('settled')[0].txid);
  const [client, custodian] = [await watch(ctx, w, 'client'), await watch(ctx, w, 'server')];
  const paid = await w.pay(['--channel', 500000, '--payments', 3, '--amount', 2000, '--window', 20000]);
  const {channel} = paid.opened;
  for (const [tool, count] of [[client, 'client_channels'], [custodian, 'server_channels']])
    await tool.event((e) => e.event === 'watching' && e[count] === 1);
  await server.kill('SIGKILL');
  await w.node.mine(1);
  const record = (await w.channels('server')).find((c) => c.channel === channel);
  await w.node.passTime(record.expiry - 7100);
  const settled = await custodian.event('settled');
  ctx.assert.equal(settled.channel, channel);
  await checkSettlement(ctx, w.node, await w.mined(settled.txid), record, 493000, 7000);
  for (const tool of [client, custodian])
    await tool.event((e) => e.event === 'confirmed' && e.txid === settled.txid && e.channel === channel);
  await w.node.passTime(record.expiry + 600);  // and no refund of what is settled
  await w.node.mine(1);
  ctx.assert.equal((await client.kill('SIGTERM')).code, 0);
  ctx.assert.equal((await custodian.kill('SIGTERM')).code, 0);
  ctx.assert.deepEqual(client.all('refunding'), []);
}

/** The store is gone, with all that belongs to it. */
function lose(ctx, name) {
  for (const end of ['', '-wal', '-shm']) fs.rmSync(ctx.path(name) + end, {force: true});
}

const exports_ = (ctx) => fs.readdirSync(ctx.path('exports')).map((f) => path.join(ctx.path('exports'), f));

const importInto = (ctx, w, files, options) => {
  const at = (flag) => w.client[w.client.indexOf(flag) + 1];
  return ctx.run(['import', '--store', at('--store'), '--network', 'regtest', '--seed', at('--seed'), '--json', ...files], options);
};

async function refundFromExports(ctx, version) {
  const {w, channel} = await deserted(ctx, {pay: ['--version', version, '--channel', 300000, '--payments', 20, '--amount', 1000, '--window', 15000,
    '--export-folder', ctx.path('exports')]});
  const [file, ...others] = exports_(ctx);
  ctx.assert.deepEqual([path.basename(file), others], [`${channel}.client.channel`, []]);
  ctx.assert.equal(fs.statSync(file).mode & 0o777, 0o600);
  ctx.assert.equal(fs.statSync(ctx.path('exports')).mode & 0o777, 0o700);
  lose(ctx, 'client.db');
  const imported = (await importInto(ctx, w, [file])).all('imported')[0];
  ctx.assert.deepEqual([imported.channel, imported.role, imported.result], [channel, 'client', 'stored']);
  const [record] = await w.channels('client');
  const custodian = await watch(ctx, w, 'client', '--until-idle');
  await w.node.passTime(record.expiry + 600);
  await custodian.event('refunding');
  const {txid} = await custodian.event((e) => e.event === 'broadcast' && e.outcome === 'accepted' && e.txid !== channel);
  await checkRefund(ctx, w.node, await w.mined(txid), record);
  ctx.assert.equal((await custodian.exit()).code, 0);
}

async function goOnFromExports(ctx) {
  const w = await world(ctx);
  await w.serve();
  const pay = (n, ...more) => w.pay(['--channel', 400000, '--payments', n, '--amount', 100, '--export-folder', ctx.path('exports'), ...more]);
  const before = await pay(50);
  const {channel} = before.opened;
  await w.node.mine(1);
  lose(ctx, 'client.db');
  const [file] = exports_(ctx);
  const imported = (await importInto(ctx, w, [file])).all('imported')[0];
  ctx.assert.deepEqual([imported.result, imported.paid], ['stored', 1000], 'as it was when it opened');
  // The server shows it the last signature that it has forgotten.
  const after = await pay(20);
  ctx.assert.deepEqual([after.opened.channel, after.opened.resumed, after.opened.paid], [channel, true, 6000]);
  ctx.assert.equal(lastAck(after), 8000);
  // The old file changes nothing now.
  fs.copyFileSync(file, ctx.path('old.channel'));
  ctx.assert.equal((await importInto(ctx, w, [ctx.path('old.channel')])).all('imported')[0].result, 'kept');
  ctx.assert.equal((await w.channels('client'))[0].paid, 8000);
  const last = await pay(1, '--settle');
  const settled = last.all('settled')[0];
  ctx.assert.equal(settled.paid, 8100);
  const [record] = await w.channels('server');
  const tx = await w.mined(settled.txid);
  await checkSettlement(ctx, w.node, tx, record, 391900, 8100);
  // The next channel has keys of its own, also where the chain is not asked: the import has raised the counter.
  const fresh = await pay(1, '--new', '--settle');
  const [next] = (await w.channels('client')).filter((c) => c.channel === fresh.opened.channel);
  const other = await w.mined(fresh.all('settled')[0].txid);
  const keys = [[record, tx], [next, other]].map(async ([c, t]) =>
    checkContract(ctx, await w.node.transaction(c.channel), c, operations(t.vin[0].scriptSig.hex)[3]));
  const [one, two] = await Promise.all(keys);
  ctx.assert.equal(new Set([one.client, one.server, two.client, two.server]).size, 4);
}

async function moveStores(ctx) {
  // From SQLite by files to PostgreSQL, and to a folder: both sides, in the middle of a channel.
  const db = ctx.own(await Postgres.start());
  const w = await world(ctx);
  const server = await w.serve();
  const first = await w.pay(['--channel', 400000, '--payments', 30, '--amount', 100]);
  await server.kill('SIGTERM');
  await w.node.mine(1);
  for (const [side, store] of [['server', db.store], ['client', `file:${ctx.path('client.folder')}`]]) {
    const folder = ctx.path(`${side}.exports`);
    const out = await ctx.run(['export', '--store', w.store(side), '--network', 'regtest', '--all', '--to', folder, '--json']);
    ctx.assert.deepEqual(out.all('exported').map((e) => [e.role, e.channel, e.result]), [[side, first.opened.channel, 'written']]);
    const again = await ctx.run(['export', '--store', w.store(side), '--network', 'regtest', '--channel', first.opened.channel, '--to', folder,
      '--json']);
    ctx.assert.equal(again.all('exported')[0].result, 'kept');
    w[side] = replaced(w[side], '--store', store);
    await ctx.run(['import', '--store', store, '--network', 'regtest', '--seed', ctx.path(`${side}.seed`),
      ...fs.readdirSync(folder).map((f) => path.join(folder, f))]);
  }
  await w.serve();
  const last = await w.pay(['--channel', 400000, '--payments', 10, '--amount', 100, '--settle']);
  ctx.assert.deepEqual([last.opened.channel, last.opened.resumed, last.opened.paid], [first.opened.channel, true, 4000]);
  const [record] = await w.channels('server');
  ctx.assert.deepEqual(record.paid, (await w.channels('client'))[0].paid);
  await checkSettlement(ctx, w.node, await w.mined(last.all('settled')[0].txid), record, 395000, 5000);
}

async function badExports(ctx) {
  const w = await world(ctx);
  await w.serve();
  const folder = ctx.path('exports');
  const paid = await w.pay(['--channel', 400000, '--payments', 1, '--amount', 100, '--export-folder', folder]);
  const [good] = exports_(ctx);
  const bytes = fs.readFileSync(good);
  const write = (name, content) => { fs.writeFileSync(ctx.path(name), content); return ctx.path(name); };
  const newer = Buffer.from(bytes);  // of format 2, with a checksum that is right
  newer[4] = 2;
  createHash('sha256').update(newer.subarray(0, -32)).digest().copy(newer, newer.length - 32);
  const changed = (at) => Buffer.from(bytes.map((b, i) => i === at ? b ^ 1 : b));
  const files = [
    [write('damaged', changed(200)), 'corrupt_record'],
    [write('cut', bytes.subarray(0, 300)), 'corrupt_record'],
    [write('empty', ''), 'corrupt_record'],
    [write('text', 'not ours\n'.repeat(100)), 'corrupt_record'],
    [write('huge', Buffer.alloc(10000000)), 'corrupt_record'],
    [ctx.path('missing'), 'not_found'],
    [folder, 'corrupt_record'],
    [write('newer', newer), 'unknown_format'],
  ];
  lose(ctx, 'client.db');
  const tool = await importInto(ctx, w, [...files.map(([f]) => f), good], {code: 1});
  ctx.assert.deepEqual(tool.all('error').map((e) => [e.file, e.code]), files);
  for (const [i, [file]] of files.entries()) ctx.assert.ok(tool.all('error')[i].explanation.includes(file));
  ctx.assert.deepEqual(tool.all('imported').map((e) => [e.channel, e.result]), [[paid.opened.channel, 'stored']]);
  // Another network's, and another seed's.
  const elsewhere = (network, side) => ctx.run(['import', '--store', `sqlite:${ctx.path('other.db')}`, '--network', network,
    '--seed', ctx.path(`${side}.seed`), '--json', good], {code: 1});
  const foreign = await elsewhere('testnet', 'client');
  ctx.assert.match(foreign.all('error')[0].explanation, /regtest/);
  const stranger = await elsewhere('regtest', 'server');
  ctx.assert.equal(stranger.all('error')[0].code, 'invalid_key');
  ctx.assert.deepEqual((await ctx.run(['channels', '--store', `sqlite:${ctx.path('other.db')}`, '--json'])).all('channel'), []);
  // A record that the store cannot read, whatever its version: it is told, and stays.
  const broken = `import sqlite3, sys
c = sqlite3.connect(sys.argv[1]); c.execute("UPDATE record SET bytes = x'0102', version = 9 WHERE kind = 1"); c.commit()`;
  fs.copyFileSync(ctx.path('client.db'), ctx.path('broken.db'));
  execFileSync('python3', ['-c', broken, ctx.path('broken.db')]);
  const unread = await ctx.run(['import', '--store', `sqlite:${ctx.path('broken.db')}`, '--network', 'regtest', '--seed', ctx.path('client.seed'),
    '--json', good], {code: 1});
  ctx.assert.equal(unread.all('error')[0].code, 'corrupt_record');
  // A folder that cannot be written: no contract leaves.
  await w.node.mine(1);
  const blocked = await w.pay(['--new', '--channel', 400000, '--payments', 1, '--amount', 100, '--export-folder', write('plain', '')], {code: 1});
  ctx.assert.equal(blocked.all('error')[0].code, 'store_failed');
  ctx.assert.deepEqual(await w.node.call('getrawmempool'), []);
  ctx.assert.equal((await w.channels('client')).length, 1, 'nothing was stored');
}

async function badStores(ctx) {
  const w = await world(ctx);
  const server = await w.serve();
  await w.pay(['--channel', 400000, '--payments', 1, '--amount', 100]);
  await server.kill('SIGTERM');
  const file = ctx.path('server.db');
  const refused = async (store, pattern, {code = 2, command = ['serve', '--listen', '127.0.0.1:0']} = {}) => {
    const tool = await ctx.run([...command, ...replaced(w.server, '--store', store).filter((a) => a !== '--json')], {code});
    ctx.assert.equal(tool.stderr.trim().split('\n').length, 1, tool.stderr);
    ctx.assert.match(tool.stderr, pattern);
  };
  // SQLite's header: user_version at 60, application_id at 68, both 4 bytes, big-endian.
  const header = (name, at, value) => {
    const bytes = fs.readFileSync(file);
    bytes.writeUInt32BE(value, at);
    fs.writeFileSync(ctx.path(name), bytes);
    return `sqlite:${ctx.path(name)}`;
  };
  await refused(header('newer.db', 60, 2), /newer version of paychan/);
  await refused(header('foreign.db', 68, 0x12345678), /another program/);
  fs.writeFileSync(ctx.path('text.db'), 'not a database\n'.repeat(100));
  await refused(`sqlite:${ctx.path('text.db')}`, /not a paychan store/);
  await refused('sqlite:', /sqlite:FILE, file:FOLDER or postgres:/);
  await refused('memory:', /sqlite:FILE, file:FOLDER or postgres:/);

  // Locked for longer than the tool waits.
  const python = `import sqlite3, sys, time
c = sqlite3.connect(sys.argv[1], isolation_level=None)
c.execute('PRAGMA locking_mode = EXCLUSIVE'); c.execute('BEGIN EXCLUSIVE'); print('locked', flush=True); time.sleep(60)`;
  const holder = ctx.own(new Child('python3', ['-c', python, file]));
  await holder.until(() => holder.lines.includes('locked') || undefined, 'a lock', 10000);
  await refused(`sqlite:${file}`, /locked/, {code: 1});
  await holder.kill('SIGKILL');
  await ctx.eventually('the lock is gone', async () => {
    const tool = ctx.tool('channels', '--store', `sqlite:${file}`);
    return (await tool.exit()).code === 0;
  });

  // A folder: one process at a time, and files of others.
  const folder = `file:${ctx.path('folder')}`;
  const held = ctx.tool('serve', '--listen', '127.0.0.1:0', ...replaced(w.server, '--store', folder));
  await held.event('listening');
  await refused(folder, /another process uses the store/, {code: 1});
  await held.kill('SIGTERM');
  fs.writeFileSync(path.join(ctx.path('folder'), 'paychan.lock'), 'paychan file store, format 2\n');
  await refused(folder, /newer version of paychan/);
  await refused(`file:${file}`, /no folder/, {code: 1});

  // Not ours to write: as a user who may only read.
  if (process.getuid() === 0) {
    const home = ctx.path('reader');
    fs.chmodSync(ctx.folder, 0o755);
    fs.mkdirSync(home);
    fs.copyFileSync(program, path.join(home, 'paychan'));
    fs.chmodSync(path.join(home, 'paychan'), 0o755);
    fs.copyFileSync(ctx.path('server.seed'), path.join(home, 'seed'));
    fs.chmodSync(path.join(home, 'seed'), 0o600);
    fs.chownSync(path.join(home, 'seed'), 65534, 65534);
    fs.copyFileSync(file, path.join(home, 'server.db'));
    fs.chmodSync(path.join(home, 'server.db'), 0o644);
    const args = replaced(replaced(w.server, '--store', `sqlite:${path.join(home, 'server.db')}`), '--seed', path.join(home, 'seed'));
    const reader = ctx.own(new Child(path.join(home, 'paychan'), ['serve', '--listen', '127.0.0.1:0', ...args].map(String),
      {cwd: home, uid: 65534, gid: 65534}));
    ctx.assert.equal((await reader.exit()).code, 1);
    ctx.assert.match(reader.stderr, /may not be written to|permission/i);
  }
}

async function fullDisk(ctx) {
  const w = await world(ctx);
  // A limit on the length of files stands for a disk that fills up: SQLite's log can grow to 400 KB.
  const under = ['bash', '-c', 'trap "" XFSZ; ulimit -f 400; exec "$0" "$@"'];
  const limited = ctx.own(new Tool(['serve', '--listen', `127.0.0.1:${w.port}`, ...w.server].map(String), {cwd: ctx.folder, under}));
  await limited.event('listening');
  const pay = (n, ...more) => ['--channel', 400000, '--payments', n, '--amount', 10, ...more];
  const client = await w.pay(pay(10000), {code: 1});
  const acked = lastAck(client);
  ctx.assert.ok(acked > 1000, `${acked}`);
  const failed = await limited.event((e) => e.event === 'error');
  ctx.assert.equal(failed.code, 'store_failed');
  ctx.assert.equal(client.all('error')[0].peer_says !== undefined, true, 'the client hears of it');
  ctx.assert.equal(limited.result, null, 'the server runs');
  await limited.kill('SIGKILL');
  const [stored] = await w.channels('server');
  ctx.assert.equal(stored.paid, acked);
  await w.serve();
  const last = await w.pay(pay(10, '--settle'));
  ctx.assert.deepEqual([last.opened.resumed, last.opened.paid], [true, acked + 10]);
  const settled = last.all('settled')[0];
  await checkSettlement(ctx, w.node, await w.mined(settled.txid), stored, 400000 - settled.paid, settled.paid);
}

module.exports = [
  {name: 'kill -9, 200 times at random, of either side: nothing acked is lost, both sides agree, the settlement is mined', limit: 420,
    run: killedAtRandom},
  {name: 'PostgreSQL: two servers share a store; one is killed, one is stopped and comes back too late: nothing is lost, no late ack leaves',
    run: twoServers},
  {name: 'PostgreSQL: a database that is down at the start, and one that goes away in the middle', run: databaseGoesAway},
  {name: 'watch: a refund goes out when the median time allows and not before, with nobody there, by two watchers at once', run: refundUnattended},
  {name: 'watch: a settlement is mined before the expiry, after a restart, by two watchers at once', run: settlementUnattended},
  {name: 'watch: a database that goes away delays a refund, and loses none', run: watchWithoutDatabase},
  {name: 'watch: channels that other processes store later come home too', run: laterChannels},
  ...[1, 2].map((version) => ({
    name: `version ${version}: a lost client store: the export and the seed bring the refund home`,
    run: (ctx) => refundFromExports(ctx, version),
  })),
  {name: 'a lost client store: from the export the client goes on with what the server has, and uses no key twice', run: goOnFromExports},
  {name: 'channels move from one kind of store to another by their exports, and go on', run: moveStores},
  {name: 'exports that are damaged, cut, foreign or missing are refused by name, and the others are taken', run: badExports},
  {name: 'stores of other programs, newer ones, locked and read-only ones: one line that says what is wrong', run: badStores},
  {name: 'a disk that fills up: no payment is acked that is not on it, and all goes on when there is room', run: fullDisk},
];
