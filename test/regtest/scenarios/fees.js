// What a node's mempool takes: floors that rise, estimates that are missing, methods that are forbidden.
'use strict';
const {floored, rateOf} = require('../harness/floor');
const {satoshi} = require('../harness/node');
const {proxy} = require('../harness/proxy');
const {replaced, deserted} = require('../harness/world');

const channelOf = {pay: ['--channel', 300000, '--payments', 5, '--amount', 10000, '--window', 20000]};
const through = (front, args) => replaced(args, '--chain', `rpc:${front.url}`);

/** The settlement that the network took, mined. */
async function settlementOf(ctx, w, server, contract) {
  const {txid} = await server.until(
    () => server.all('broadcast').find((e) => e.outcome === 'accepted' && e.txid !== contract), 'a settlement', 30000);
  const {hex} = await w.node.transaction(txid);
  const rate = await rateOf(w.node, hex);
  const [record] = await w.channels('server');
  const tx = await w.mined(txid);
  ctx.assert.equal(tx.vin[0].txid, contract);
  ctx.assert.equal(satoshi(tx.vout[0].value), 300000 - record.paid);  // the client's, whatever the fee
  ctx.assert.ok(await w.node.medianTime() < record.expiry);
  return rate;
}

module.exports = [
  {
    name: 'a settlement pays what a full mempool takes, though its node has no estimate',
    async run(ctx) {
      const {w, channel} = await deserted(ctx, channelOf);
      const [{expiry}] = await w.channels('server');
      const front = await floored(w.node, 10000);
      await w.node.passTime(expiry - 7000);
      const server = ctx.tool('serve', '--listen', '127.0.0.1:0', ...through(front, w.server));
      const rate = await settlementOf(ctx, w, server, channel);
      ctx.assert.ok(rate >= 10000 && rate < 15000, `it pays ${rate} sat/kvB`);
      ctx.assert.deepEqual(front.refused, []);
      front.close();
    },
  },
  ...[false, true].map((restart) => ({
    name: `a settlement that the floor has left behind is built anew above it${restart ? ', also after a restart' : ''}`,
    async run(ctx) {
      const {w, channel} = await deserted(ctx, channelOf);
      const [{expiry}] = await w.channels('server');
      const front = await floored(w.node, 1000);
      const start = async () => {
        const tool = ctx.tool('serve', '--listen', '127.0.0.1:0', ...through(front, w.server));
        await tool.event('listening');
        return tool;
      };
      let server = await start();
      front.rate = 10000;
      await w.node.passTime(expiry - 7000);
      await ctx.eventually('a refusal', () => front.refused.length > 0);
      if (restart) {
        await server.kill('SIGKILL');
        const before = front.refused.length;
        server = await start();
        await ctx.eventually('another', () => front.refused.length > before);
      }
      await w.node.mine(1);
      const rate = await settlementOf(ctx, w, server, channel);
      ctx.assert.ok(rate >= 10000 && rate < 15000, `it pays ${rate} sat/kvB`);
      ctx.assert.ok(front.refused.every((r) => r < 10000));
      front.close();
    },
  })),
  {
    name: 'a settlement leaves where the node forbids the methods that tell fees',
    async run(ctx) {
      const {w, channel} = await deserted(ctx, channelOf);
      const [{expiry}] = await w.channels('server');
      const front = await proxy(w.node, ({method}) => ['estimatesmartfee', 'getmempoolinfo'].includes(method) ? 403 : undefined);
      await w.node.passTime(expiry - 7000);
      const server = ctx.tool('serve', '--listen', '127.0.0.1:0', ...through(front, w.server));
      const rate = await settlementOf(ctx, w, server, channel);
      ctx.assert.ok(rate >= 2000 && rate < 2100, `it pays ${rate} sat/kvB`);
      front.close();
    },
  },
  {
    name: 'a method that the node forbids is told by its name',
    async run(ctx) {
      const {w} = await deserted(ctx, channelOf);
      const front = await proxy(w.node, ({method}) => method === 'getblockchaininfo' ? 403 : undefined);
      const tool = await ctx.run(['balance', ...through(front, w.client)], {code: 1});
      ctx.assert.match(JSON.stringify(tool.all('node')), /forbids this user or this address to call it: getblockchaininfo/);
      front.close();
    },
  },
];
