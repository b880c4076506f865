// How the tool behaves as a process: readers that stall, disks that are full, terminals that close, strangers in crowds.
'use strict';
const fs = require('fs');
const net = require('net');
const {execFileSync} = require('child_process');
const {Peer, type} = require('../harness/peer');
const {Relay} = require('../harness/relay');
const {Tool} = require('../harness/tool');
const {replaced, world} = require('../harness/world');

/** A server whose standard output is a fifo that nobody reads once it listens, but read(). */
async function unheard(ctx, w, more = []) {
  const fifo = ctx.path('lines');
  execFileSync('mkfifo', [fifo]);
  const fd = fs.openSync(fifo, fs.constants.O_RDWR | fs.constants.O_NONBLOCK);
  const server = ctx.own(new Tool(['serve', '--listen', `127.0.0.1:${w.port}`, ...w.server, ...more].map(String),
    {cwd: ctx.folder, under: ['sh', '-c', 'exec "$@" > lines', 'sh']}));
  let text = '';
  /** The events so far. */
  server.read = () => {
    const part = Buffer.alloc(1 << 16);
    try { for (let n; (n = fs.readSync(fd, part)) > 0;) text += part.toString('utf8', 0, n); } catch (e) { if (e.code !== 'EAGAIN') throw e; }
    return text.split('\n').slice(0, -1).map((line) => JSON.parse(line));
  };
  await ctx.eventually('it listens', () => server.read().some((e) => e.event === 'listening'));
  return server;
}

/** Nobody reads: payments and settlements go on, and who reads in the end hears how much was lost. */
async function stalledReader(ctx) {
  const w = await world(ctx);
  const server = await unheard(ctx, w);
  // Lines of a kilobyte: what waits for the reader is bounded.
  const paid = await w.pay(['--channel', 10000000, '--payments', 3000, '--amount', 1000, '--info', 'ab'.repeat(400)]);
  ctx.assert.equal(paid.all('acked').length, 3000);
  await w.node.mine(1);
  const [channel] = await w.channels('client');
  await w.node.passTime(channel.expiry - 3600);
  await ctx.eventually('the settlement is sent', async () => (await w.node.call('getrawmempool')).length > 0);
  const events = await ctx.eventually('lines_lost', () => { const e = server.read(); return e.some((x) => x.event === 'lines_lost') && e; });
  const lost = events.filter((e) => e.event === 'lines_lost');
  ctx.assert.equal(lost.length, 1);
  const heard = events.filter((e) => e.event === 'payment').length;
  ctx.assert.ok(heard > 500 && heard < 2000 && heard + lost[0].lines >= 3000, `${heard} heard, ${lost[0].lines} lost`);
  await w.node.mine(1);
  await ctx.eventually('it is heard again', () => server.read().some((e) => e.event === 'confirmed'));
  ctx.assert.equal((await server.kill('SIGTERM')).code, 0);
  ctx.assert.equal(server.read().pop().event, 'stopped');
}

/** A command is there to be heard: its lines wait for a slow reader, and a full disk is a failure. */
async function slowReaders(ctx) {
  const w = await world(ctx);
  await w.serve();
  await w.pay(['--channel', 1000000, '--payments', 1, '--amount', 1000]);
  const through = (script, ...args) => {
    const tool = ctx.own(new Tool(args.map(String), {cwd: ctx.folder, under: ['sh', '-c', script, 'sh']}));
    return tool.exit(60000).then((result) => ({...result, lines: tool.lines, stderr: tool.stderr}));
  };
  const look = ['channels', '--store', w.store('client')];
  for (const args of [look, [...look, '--json'], ['--help'], ['balance', ...w.client]]) {
    const full = await through('"$@" > /dev/full', ...args);
    ctx.assert.equal(full.code, 1, `${args[0]} > /dev/full: ${full.code}`);
    if (args[0] !== '--help') ctx.assert.match(full.stderr, /standard output: No space left/);
  }
  // 500 lines of a kilobyte, which no pipe holds.
  const slow = await through('"$@" | { sleep 3; cat; }', ...w.payArgs('--channel', 1000000, '--payments', 500, '--amount', 10, '--info', 'cd'.repeat(400)));
  ctx.assert.equal(slow.lines.filter((l) => JSON.parse(l).event === 'acked').length, 500);
  // Closed descriptors are not taken for the store's or a connection's.
  ctx.assert.equal((await through('"$@" <&- >&- 2>&-', ...look)).code, 0);
}

/** A terminal that closes ends neither of those who guard money. */
async function hangup(ctx) {
  const w = await world(ctx);
  const server = await w.serve();
  const watch = ctx.tool('watch', ...w.server);
  await watch.event('watching');
  for (const tool of [server, watch]) tool.process.kill('SIGHUP');
  const client = await w.pay(['--channel', 400000, '--payments', 5, '--amount', 100, '--settle']);
  ctx.assert.equal(client.all('acked').length, 5);
  for (const tool of [server, watch]) ctx.assert.equal((await tool.kill('SIGTERM')).code, 0);
}

/** Strangers who come again and again, always so many at a time; stop() ends them. */
function crowd(port, size) {
  const live = new Set();
  const come = () => {
    for (let i = live.size; i < size; ++i) {
      const socket = net.connect({port, host: '127.0.0.1', localAddress: `127.0.0.${2 + i % 6}`});
      live.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => live.delete(socket));
    }
  };
  const timer = setInterval(come, 50);
  come();
  return {stop() { clearInterval(timer); for (const socket of live) socket.destroy(); }};
}

/** Strangers take every place there is, and none of the descriptors that money needs. */
async function descriptors(ctx) {
  const w = await world(ctx);
  const gate = ctx.own(await Relay.start(w.node.rpcport));
  w.server = replaced(w.server, '--chain', `rpc:http://user:x@127.0.0.1:${gate.port}`);
  const server = ctx.own(new Tool(['serve', '--listen', `127.0.0.1:${w.port}`, ...w.server].map(String),
    {cwd: ctx.folder, under: ['prlimit', '--nofile=128:256']}));
  ctx.assert.equal((await server.event('fewer_connections')).connections, 256 - 64);  // the hard limit is taken
  await server.event('listening');
  await w.pay(['--channel', 1000000, '--payments', 5, '--amount', 50000]);
  await w.node.mine(1);
  const [channel] = await w.channels('client');
  const strangers = crowd(w.port, 300);
  try {
    const used = () => fs.readdirSync(`/proc/${server.pid}/fd`).length;
    await ctx.eventually('all places are taken', () => used() >= 192);
    gate.target = await ctx.freePort();  // where nobody is
    for (const link of gate.links) link.client.destroy();
    await new Promise((resolve) => setTimeout(resolve, 3000));
    ctx.assert.ok(used() <= 230, `${used()} descriptors`);
    gate.target = w.node.rpcport;
    await w.node.passTime(channel.expiry - 3600);
    await ctx.eventually('the settlement is sent', async () => (await w.node.call('getrawmempool')).length > 0);
    ctx.assert.equal((await server.kill('SIGTERM')).code, 0);
  } finally {
    strangers.stop();
  }
}

/** Whatever strangers do costs a bounded number of lines, which say how much there was; the limits are the operator's. */
async function strangers(ctx) {
  const w = await world(ctx);
  const server = await w.serve('--max-connections', 30, '--max-per-address', 20);
  const words = Buffer.alloc(2000, 0xff);
  const [clients, each] = [20, 100];
  await Promise.all(Array.from({length: clients}, async () => {
    for (let i = 0; i < each; ++i) {
      const peer = new Peer(w.port);
      peer.send(type.error, {1: 1, 2: words});
      await peer.rest();
    }
  }));
  const held = await Promise.all(Array.from({length: 25}, () => new Promise((resolve) => {
    const socket = net.connect(w.port, '127.0.0.1', () => resolve(socket));
    socket.on('error', () => {});
  })));
  await ctx.eventually('some are turned away', () => server.all('turned_away').length > 0);
  const told = (what) => server.all(what).length + server.all('not_told').reduce((sum, e) => sum + (e[what] || 0), 0);
  await ctx.eventually('the others are counted', () => told('error') + told('turned_away') >= clients * each + 5, 90000);
  for (const socket of held) socket.destroy();
  const errors = server.all('error');
  ctx.assert.ok(server.lines.length < 100, `${server.lines.length} lines`);
  ctx.assert.ok(errors.length > 0 && errors.every((e) => JSON.stringify(e).length < 1000));
  ctx.assert.ok(server.all('turned_away').every((e) => e.address === '127.0.0.1'));
  const client = await w.pay(['--channel', 400000, '--payments', 5, '--amount', 100, '--settle']);
  ctx.assert.equal(client.all('acked').length, 5);
}

/** Contracts that no node takes are free, too: the client's coins are of another chain. */
async function bogusContracts(ctx) {
  const w = await world(ctx);
  const server = await w.serve();
  const other = await ctx.node();
  await other.mine(26, await w.address('client'));
  await other.mine(100);
  const client = replaced(w.payArgs('--channel', 100000, '--payments', 1, '--amount', 1000, '--new'), '--chain', `rpc:${other.url}`);
  for (let i = 0; i < 24; ++i) await ctx.run(client, {code: 1});
  for (const what of ['stored', 'error', 'broadcast']) ctx.assert.ok(server.all(what).length <= 20, `${server.all(what).length} of ${what}`);
  ctx.assert.ok(server.lines.length < 80, `${server.lines.length} lines`);
}

/** Coins can be looked for before the first payment makes a store. */
async function firstBalance(ctx) {
  const w = await world(ctx);
  ctx.assert.equal((await w.balance('client')).confirmed, 5000000000);
}

module.exports = [
  {name: 'manners: a reader that stalls stops no payment and no settlement, and hears what it lost', run: stalledReader},
  {name: 'manners: commands wait for slow readers, and fail on a full disk', run: slowReaders},
  {name: 'manners: a terminal that closes ends neither serve nor watch', run: hangup},
  {name: 'manners: balance comes before the first payment', run: firstBalance},
  {name: 'manners: contracts that no node takes cost a bounded number of lines', run: bogusContracts},
  {name: 'manners: strangers take no descriptor that a settlement needs', run: descriptors},
  {name: 'manners: strangers cost a bounded number of lines', run: strangers},
];
