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
];
