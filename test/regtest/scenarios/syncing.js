// A node that says it is still downloading the chain, for ever perhaps: its last block is old.
'use strict';
const {Peer, type} = require('../harness/peer');
const {proxy} = require('../harness/proxy');
const {checkSettlement, checkRefund} = require('../harness/scripts');
const {replaced, world} = require('../harness/world');

/** The node as one of a signet, for on regtest its word on this does not count.  While `syncing`, it is downloading. */
async function signet(ctx, w) {
  const front = {syncing: true};
  Object.assign(front, await proxy(w.node, async ({method, params}) => {
    if (method !== 'getblockchaininfo') return undefined;
    return {result: Object.assign(await w.node.call(method, ...params), {chain: 'signet', initialblockdownload: front.syncing})};
  }));
  for (const side of ['client', 'server']) {
    w[side] = [...replaced(replaced(w[side], '--chain', `rpc:${front.url}`), '--network', 'signet'), '--birthday', 0];
  }
  return ctx.own({kill: async () => front.close(), tail: () => 'a proxy before the node', front}).front;
}

/** A channel whose server has vanished, on a node that is no longer up to date when `side` is due. */
async function overdue(ctx, side) {
  const w = await world(ctx);
  const front = await signet(ctx, w);
  front.syncing = false;
  const server = await w.serve();
  const {opened} = await w.pay(['--channel', 300000, '--payments', 5, '--amount', 1000, '--window', 15000]);
  await server.kill('SIGKILL');
  await w.node.mine(1);
  const [record] = await w.channels(side);
  await w.node.passTime(record.expiry + (side === 'client' ? 600 : -7000));
  front.syncing = true;
  return {w, front, record, channel: opened.channel};
}

const isSyncing = (e) => e.event === 'node' && e.status === 'syncing';

async function due(ctx, command, side) {
  const {w, record, channel} = await overdue(ctx, side);
  const listening = command === 'serve' ? ['--listen', '127.0.0.1:0'] : [];
  const tool = ctx.tool(command, ...listening, ...w[side]);
  const {txid} = await tool.until(
    () => tool.all('broadcast').find((e) => e.outcome === 'accepted' && e.txid !== channel), 'a broadcast', 30000);
  if (command === 'settle' || command === 'refund') ctx.assert.equal((await tool.exit()).code, 0, tool.tail());
  const tx = await w.mined(txid);
  if (side === 'client') await checkRefund(ctx, w.node, tx, record);
  else await checkSettlement(ctx, w.node, tx, record, 300000 - record.paid, record.paid);
  if (command === 'watch' || command === 'serve') {
    ctx.assert.equal((await tool.until(() => tool.all('confirmed')[0], 'an end', 30000)).txid, txid);
    await tool.event(isSyncing);
  }
  ctx.assert.deepEqual(tool.all('error'), []);
}

module.exports = [
  ...[['serve', 'server'], ['watch', 'server'], ['settle', 'server'], ['watch', 'client'], ['refund', 'client']].map(([command, side]) => ({
    name: `${command}, ${side}: what is due reaches a node that is downloading the chain`,
    run: (ctx) => due(ctx, command, side),
  })),
  {
    name: 'a server whose node is downloading the chain opens nothing, and goes on with what is open',
    async run(ctx) {
      const w = await world(ctx);
      const front = await signet(ctx, w);
      front.syncing = false;
      const server = await w.serve();
      const pay = ['--channel', 300000, '--payments', 2, '--amount', 1000];
      await w.pay(pay);
      front.syncing = true;
      await server.event(isSyncing);
      const stranger = new Peer(w.port);
      stranger.send(type.clientVersion, {1: 2, 2: 0, 4: 86340});
      const answer = await stranger.next();
      ctx.assert.equal(answer.type, type.error);
      ctx.assert.match(answer[2].toString(), /its node is still downloading the chain/);
      // Coins of this client may be spent already: it waits.
      const waiting = ctx.tool(...w.payArgs('--new', ...pay));
      ctx.assert.equal((await waiting.exit()).code, 1);
      ctx.assert.ok(waiting.events.some(isSyncing));
      front.syncing = false;
      await w.pay(pay);
    },
  },
];
