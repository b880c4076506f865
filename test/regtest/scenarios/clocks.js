// Clocks that are wrong, beside a chain that is right.
'use strict';
const {otherClock} = require('../harness/clock');
const {Peer, type} = require('../harness/peer');
const {Tool} = require('../harness/tool');
const {coin, world} = require('../harness/world');

const days = -2 * 86400;
const now = () => Math.floor(Date.now() / 1000);

/** A program of the client's or the server's whose clock is wrong by so much [s]. */
const wrong = (ctx, by, args) => ctx.own(new Tool(args.map(String), {cwd: ctx.folder, env: otherClock(ctx, by)}));

module.exports = [
  {
    name: 'a server whose clock is two days slow opens nothing, says so, and settles what is open by the chain\'s time',
    async run(ctx) {
      const w = await world(ctx);
      await w.node.passTime(now() - 3600);  // as it is on the mainnet
      const right = await w.serve();
      const client = await w.pay(['--channel', 500000, '--payments', 5, '--amount', 2000, '--window', 20000]);
      await right.kill('SIGTERM');
      const server = wrong(ctx, days, ['serve', '--listen', `127.0.0.1:${w.port}`, ...w.server]);
      await server.event('listening');
      const told = await server.until(() => server.all('clock_wrong')[0], 'clock_wrong', 30000);
      ctx.assert.ok(Math.abs(told.clock - (now() + days)) < 60, JSON.stringify(told));
      ctx.assert.equal(told.chain_time, await w.node.medianTime());

      // Whoever knows how slow it is would have it open a channel whose refund is due already.
      const thief = new Peer(w.port);
      thief.send(type.clientVersion, {1: 2, 2: 0, 4: 86340});
      const answer = await thief.next();
      ctx.assert.equal(answer.type, type.error);
      ctx.assert.match(answer[2].toString(), /its clock is behind the time of the chain/);
      ctx.assert.equal(await thief.next(), null);

      // What is open goes on, until the chain's time is near the expiry.
      await w.pay(['--channel', 500000, '--payments', 1, '--amount', 2000]);
      const [record] = await w.channels('server');
      ctx.assert.equal(record.channel, client.opened.channel);
      ctx.assert.equal(record.paid, 1000 + 6 * 2000);
      await w.node.mine(1);
      await w.node.passTime(record.expiry - 7100);
      const settled = await server.until(() => server.all('settled')[0], 'the settlement', 30000);
      await w.mined(settled.txid);
      ctx.assert.ok(await w.node.medianTime() < record.expiry);
    },
  },
  {
    name: 'a client whose clock is two days slow locks no coins, and is told why',
    async run(ctx) {
      const w = await world(ctx);
      await w.node.passTime(now() - 3600);
      await w.serve();
      const client = wrong(ctx, days, w.payArgs('--channel', 500000, '--payments', 1, '--amount', 2000));
      ctx.assert.equal((await client.exit()).code, 1, client.tail());
      ctx.assert.match(JSON.stringify(client.all('error')), /wrong_clock/);
      ctx.assert.deepEqual(await w.channels('client'), []);
      const balance = await w.balance('client');
      ctx.assert.equal(balance.confirmed, 50 * coin);
      ctx.assert.equal(balance.reserved, 0);
      await w.pay(['--channel', 500000, '--payments', 1, '--amount', 2000]);
    },
  },
];
