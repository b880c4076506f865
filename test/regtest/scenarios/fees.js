// What a node's mempool takes: floors that rise, estimates that are missing, methods that are forbidden.
'use strict';
const {floored, rateOf} = require('../harness/floor');
const {satoshi} = require('../harness/node');
const {proxy} = require('../harness/proxy');
const {checkRefund} = require('../harness/scripts');
const {replaced, deserted} = require('../harness/world');

const channelOf = {pay: ['--channel', 300000, '--payments', 5, '--amount', 10000, '--window', 20000]};
const through = (front, args) => replaced(args, '--chain', `rpc:${front.url}`);

/** The settlement that the network took, mined.  Of a server that was killed between that and the answer, it tells nothing. */
async function settlementOf(ctx, w, contract) {
  const txid = await ctx.eventually('a settlement', async () => {
    for (const id of await w.node.call('getrawmempool')) {
      const tx = await w.node.transaction(id);
      if (tx && tx.vin[0].txid === contract) return id;
    }
    return null;
  });
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
      ctx.tool('serve', '--listen', '127.0.0.1:0', ...through(front, w.server));
      const rate = await settlementOf(ctx, w, channel);
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
      await ctx.eventually('its floor is known', () => front.asked > 0);  // and asked for again a minute later
      front.rate = 10000;
      await w.node.passTime(expiry - 7000);
      await ctx.eventually('a refusal', () => front.refused.length > 0);
      if (restart) {
        await server.kill('SIGKILL');
        server = await start();
      }
      const rate = await settlementOf(ctx, w, channel);
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
      ctx.tool('serve', '--listen', '127.0.0.1:0', ...through(front, w.server));
      const rate = await settlementOf(ctx, w, channel);
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
  ...[1, 2].flatMap((version) => [false, true].map((restart) => ({
    name: `version ${version}: a refund that a floor of 50 sat/vB has left behind is made anew above it${restart ? ', also after a restart' : ''}`,
    async run(ctx) {
      const {w, channel} = await deserted(ctx, {pay: [...channelOf.pay, '--version', version]});
      const [record] = await w.channels('client');
      const front = await floored(w.node, 1000);
      const start = async () => {
        const tool = ctx.tool('watch', '--until-idle', ...through(front, w.client));
        await tool.event('watching');
        return tool;
      };
      let tool = await start();
      front.rate = 50000;
      await w.node.passTime(record.expiry + 600);
      await ctx.eventually('a refusal', () => front.refused.length > 0);
      if (restart) {
        await tool.kill('SIGKILL');
        tool = await start();
      }
      const {txid} = await tool.until(
        () => tool.all('broadcast').find((e) => e.outcome === 'accepted' && e.txid !== channel), 'a refund', 30000);
      const {hex} = await w.node.transaction(txid);
      const rate = await rateOf(w.node, hex);
      ctx.assert.ok(rate >= 50000 && rate < 65000, `it pays ${rate} sat/kvB`);
      await checkRefund(ctx, w.node, await w.mined(txid), record, Math.floor(rate * (hex.length / 2) / (hex.length / 2 + 4)));
      ctx.assert.equal((await tool.exit()).code, 0);
      front.close();
    },
  }))),
  ...[false, true].map((restart) => ({
    name: `a child pays for a settlement that this node replaces with nothing${restart ? ', also after a restart' : ''}`,
    async run(ctx) {
      const {w, channel} = await deserted(ctx, channelOf);
      const [{expiry}] = await w.channels('server');
      const start = async (rate) => {
        const tool = ctx.tool('serve', '--listen', '127.0.0.1:0', '--fee-rate', rate, ...w.server);
        await tool.event('listening');
        return tool;
      };
      let server = await start(1000);
      await w.node.passTime(expiry - 7000);
      const {txid} = await server.until(
        () => server.all('broadcast').find((e) => e.outcome === 'accepted' && e.txid !== channel), 'a settlement', 30000);
      await server.kill('SIGKILL');
      server = await start(40000);
      const child = await server.until(
        () => server.all('broadcast').find((e) => e.outcome === 'accepted' && ![channel, txid].includes(e.txid)), 'a child', 30000);
      if (restart) {
        await server.kill('SIGKILL');
        server = await start(40000);
        await server.until(() => server.all('broadcast').some((e) => e.txid === child.txid && e.outcome === 'accepted'), 'the same child', 30000);
      }
      const parts = await Promise.all([txid, child.txid].map(async (id) => (await w.node.transaction(id)).hex));
      const [settlement, paying] = await Promise.all(parts.map((hex) => w.node.call('decoderawtransaction', hex)));
      ctx.assert.deepEqual([paying.vin.length, paying.vin[0].txid], [1, txid]);
      const fee = 300000 - satoshi(settlement.vout[0].value) - satoshi(paying.vout[0].value);
      const size = (settlement.vsize || settlement.size) + (paying.vsize || paying.size);
      ctx.assert.ok(fee >= 40 * size - 40 && fee < 42 * size, `both pay ${fee} for ${size} bytes`);
      ctx.assert.ok(await w.node.medianTime() < expiry);
      const tx = await w.mined(txid);
      ctx.assert.equal(tx.vin[0].txid, channel);
      ctx.assert.equal((await w.node.transaction(child.txid)).confirmations, 1);
      ctx.assert.equal((await server.event('confirmed')).txid, txid);
    },
  })),
];
