// Contracts that no node takes: the client's coins come back, at its operator's word or after the expiry.
'use strict';
const {proxy} = require('../harness/proxy');
const {replaced, world} = require('../harness/world');

/** A world whose nodes take no bare multisig, as Bitcoin Core with -permitbaremultisig=0.
 *  lies  the server's says that it takes it, and so the server opens channels that are nowhere
 *  Of what it returns, `hold` keeps the client's node from answering what it is given. */
async function picky(ctx, {lies = false} = {}) {
  const w = await world(ctx);
  const front = {hold: false, close: () => sides.forEach((s) => s.close())};
  const bare = async (hex) => {
    const tx = await w.node.call('decoderawtransaction', hex);
    return tx.vout.some((o) => / OP_CHECKMULTISIG/.test(o.scriptPubKey.asm)) ? tx.txid : null;
  };
  const node = (side) => proxy(w.node, async ({method, params}) => {
    if (method !== 'sendrawtransaction') return undefined;
    const contract = await bare(params[0]);
    if (contract) return side === 'server' && lies ? {result: contract} : {code: -26, message: 'bare-multisig'};
    if (side === 'client' && front.hold) return new Promise(() => {});
    return undefined;
  });
  const sides = [];
  for (const side of ['client', 'server']) {
    const through = await node(side);
    sides.push(through);
    w[side] = replaced(w[side], '--chain', `rpc:${through.url}`);
  }
  await w.serve();
  const pay = ['--channel', 1000000, '--payments', 1, '--amount', 1000];
  await ctx.run(w.payArgs('--version', 1, ...pay), {code: lies ? 0 : 1});
  const [channel] = await w.channels('client');
  ctx.assert.equal((await w.balance('client')).reserved, 5000000000);
  return {w, front, pay, channel};
}

/** Free coins, a record that stays until that is buried, and a next channel that is paid from them. */
async function isHome(ctx, {w, pay, channel}, txid) {
  await w.mined(txid);
  const again = await ctx.run(['abandon', channel.channel, ...w.client]);
  ctx.assert.equal(again.all('over').length, 1);
  const balance = await w.balance('client');
  ctx.assert.equal(balance.reserved, 0);
  ctx.assert.ok(balance.confirmed > 5000000000 - 2000, JSON.stringify(balance));
  const paid = await w.pay(['--version', 2, ...pay]);
  ctx.assert.equal(paid.all('acked').length, 1);
  ctx.assert.equal((await w.channels('client')).length, 2);
  // What the network has is not given up.
  const refused = await ctx.run(['abandon', paid.opened.channel, ...w.client], {code: 1});
  ctx.assert.match(refused.all('error')[0].explanation, /the network takes its contract/);
  await w.node.mine(100);
  const watch = ctx.tool('watch', ...w.client);
  await watch.event('buried');
  ctx.assert.deepEqual((await w.channels('client')).map((c) => c.channel), [paid.opened.channel]);
}

module.exports = [
  ...[false, true].map((lies) => ({
    name: `a contract that no node takes is abandoned, and its coin pays again${lies ? ': of a server that opened it all the same' : ''}`,
    async run(ctx) {
      const all = await picky(ctx, {lies});
      const {w, channel, front} = all;
      await ctx.run(['abandon', '00'.repeat(32), ...w.client], {code: 1});
      const first = await ctx.run(['abandon', channel.channel, ...w.client]);
      const [{txid}] = first.all('taken_back');
      const again = await ctx.run(['abandon', channel.channel, ...w.client]);  // twice is once
      ctx.assert.equal(again.all('taken_back')[0].txid, txid);
      await isHome(ctx, all, txid);
      front.close();
    },
  })),
  {
    name: 'an abandoning that is killed before the node answers is done by the next one',
    async run(ctx) {
      const all = await picky(ctx, {lies: true});
      const {w, channel, front} = all;
      front.hold = true;
      const tool = ctx.tool('abandon', channel.channel, ...w.client);
      await ctx.eventually('the payments end', async () => (await w.channels('client'))[0].stage === 'settling');
      await tool.kill('SIGKILL');
      front.hold = false;
      const [{txid}] = (await ctx.run(['abandon', channel.channel, ...w.client])).all('taken_back');
      await isHome(ctx, all, txid);
      front.close();
    },
  },
  ...['refund', 'watch'].map((command) => ({
    name: `a contract that no node takes comes home after its expiry by ${command}`,
    async run(ctx) {
      const {w, front, channel} = await picky(ctx);
      if (command === 'refund') await ctx.run(['refund', ...w.client], {code: 3});
      await w.node.passTime(channel.expiry + 10);
      const tool = command === 'watch' ? ctx.tool('watch', '--until-idle', ...w.client) : await ctx.run(['refund', ...w.client]);
      const {txid} = await tool.event('taken_back');
      await w.mined(txid);
      if (command === 'watch') ctx.assert.equal((await tool.exit(30000)).code, 0, tool.tail());
      else await ctx.run(['refund', ...w.client]);
      const balance = await w.balance('client');
      ctx.assert.equal(balance.reserved, 0);
      ctx.assert.ok(balance.confirmed > 5000000000 - 2000, JSON.stringify(balance));
      front.close();
    },
  })),
];
