// A contract whose coins another transaction spends, before any block shows it.
'use strict';
const {proxy} = require('../harness/proxy');
const {replaced, world} = require('../harness/world');

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

module.exports = [
  {
    name: 'a contract that was replaced in the mempool takes no more payments after a minute, without a block',
    limit: 180,
    async run(ctx) {
      const w = await world(ctx);
      const front = {};
      // As a node that has taken another spend of the same coins, for a higher fee.
      const {url, close} = await proxy(w.node, ({method, params}) =>
        (front.contract && method === 'sendrawtransaction' && params[0] === front.contract ? {code: -26, message: 'txn-mempool-conflict'} : undefined));
      w.server = replaced(w.server, '--chain', `rpc:${url}`);
      const server = await w.serve();
      const pay = ['--channel', 400000, '--payments', 2, '--amount', 2000];
      const {opened} = await w.pay(pay);
      const height = await w.node.height();
      await pause(5000);  // it is offered once more when it has opened
      front.contract = (await w.node.transaction(opened.channel)).hex;
      await ctx.eventually('the server notices', async () => (await w.channels('server'))[0].stage === 'unbacked', 75000);
      ctx.assert.equal(await w.node.height(), height);
      const again = ctx.tool(...w.payArgs(...pay));
      ctx.assert.equal((await again.exit()).code, 1, again.tail());
      ctx.assert.deepEqual(again.all('acked'), []);
      ctx.assert.equal((await w.channels('server'))[0].paid, 1000 + 2 * 2000);
      ctx.assert.equal(server.result, null, 'it goes on');
      close();
    },
  },
  {
    name: 'a server that wants a block first takes payments behind it, and tells its client so',
    async run(ctx) {
      const w = await world(ctx);
      const server = await w.serve('--min-confirmations', 1);
      const pay = ['--channel', 400000, '--payments', 2, '--amount', 2000];
      const early = ctx.tool(...w.payArgs(...pay));
      ctx.assert.equal((await early.exit()).code, 1, early.tail());
      ctx.assert.match(early.tail(), /too few confirmations/);
      ctx.assert.deepEqual(early.all('acked'), []);
      await w.node.mine(1);
      await ctx.eventually('the server sees the block', async () => {
        const again = ctx.tool(...w.payArgs(...pay));
        return (await again.exit()).code === 0 && again.all('acked').length === 2;
      });
      const channels = await w.channels('server');
      ctx.assert.equal(channels.length, 1, 'the first channel goes on');
      ctx.assert.equal(channels[0].paid, 1000 + 2 * 2000);
      ctx.assert.equal(server.result, null);
    },
  },
  {
    name: 'without a block a server takes what it may owe in all, also after kill -9',
    async run(ctx) {
      const w = await world(ctx);
      let server = await w.serve('--max-unconfirmed', 5500);
      const pay = (payments) => ctx.tool(...w.payArgs('--channel', 400000, '--payments', payments, '--amount', 2000));
      const first = pay(3);
      ctx.assert.equal((await first.exit()).code, 1, first.tail());
      ctx.assert.match(first.tail(), /contracts that are in no block/);
      ctx.assert.equal(first.all('acked').length, 2);
      await server.kill('SIGKILL');
      server = await w.serve('--max-unconfirmed', 5500);
      const second = pay(1);
      ctx.assert.equal((await second.exit()).code, 1, second.tail());
      ctx.assert.equal((await w.channels('server'))[0].paid, 1000 + 2 * 2000);
      await w.node.mine(1);
      await ctx.eventually('the server sees the block', async () => (await pay(1).exit()).code === 0);
      ctx.assert.equal((await w.channels('server'))[0].paid, 1000 + 4 * 2000, 'with the one that was refused');
    },
  },
];
