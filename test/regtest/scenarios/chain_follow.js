// The library's view of the chain: blocks, reorganisations, broadcasts, a node that restarts.
// The bitcoind backend through build/bitcoind_follow (test/bitcoind/follow.cpp).  The program is $CHAIN_FOLLOW, or build/bitcoind_follow.
'use strict';
process.env.NODE_BACKEND = 'js';  // bcoin without native builds, as in regnode.js
const path = require('path');
const readline = require('readline');
const {spawn} = require('child_process');
const bcoin = require('bcoin');
const {proxy} = require('../harness/proxy');

const program = path.resolve(process.env.CHAIN_FOLLOW || path.join(__dirname, '..', '..', '..', 'build', 'bitcoind_follow'));
const minersScript = '0014751e76e8199196d454941c45d1b3a323f1433bd6';  // of minersAddress in harness/node.js
const otherAddress = 'bcrt1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qzf4jry';  // P2WSH, BIP173's examples

/** The program as a process that takes commands.  When we end, its stdin does, and then it does, too. */
class Follower {
  constructor(ctx, url, ...args) {
    this.name = [program, '--chain', `rpc:${url}`, '--poll-ms', '100', ...args].join(' ');
    this.events = [];
    this.next = 0;
    this.wake = () => {};
    this.process = spawn(program, ['--chain', `rpc:${url}`, '--poll-ms', '100', ...args.map(String)],
      {stdio: ['pipe', 'pipe', 'inherit']});
    this.ended = new Promise((resolve) => {
      this.process.on('error', (e) => { this.failure = e; resolve(e.message); this.wake(); });
      this.process.on('close', (code, signal) => { resolve(signal || code); this.wake(); });
    });
    this.process.stdin.on('error', () => {});  // it may have ended already
    readline.createInterface({input: this.process.stdout}).on('line', (line) => { this.events.push(JSON.parse(line)); this.wake(); });
    ctx.children.push(this);
  }

  tail() { return [`  ${this.name}`, ...this.events.slice(-15).map((e) => '    ' + JSON.stringify(e))].join('\n'); }
  kill(signal) { if (this.process.exitCode === null) this.process.kill(signal); return this.ended; }

  /** Ends it as asked.  Resolves with its exit status. */
  quit() { this.process.stdin.write('quit\n'); return this.ended; }

  /** The next event that has all these fields; those before it are passed over. */
  async event(wanted, ms = 30000) {
    for (const end = Date.now() + ms; ;) {
      while (this.next < this.events.length) {
        const event = this.events[this.next++];
        if (Object.entries(wanted).every(([key, value]) => event[key] === value)) return event;
      }
      if (this.failure) throw this.failure;
      if (Date.now() > end) throw new Error(`no ${JSON.stringify(wanted)} within ${ms} ms`);
      await new Promise((resolve) => { const timer = setTimeout(resolve, 1000); this.wake = () => { clearTimeout(timer); resolve(); }; });
    }
  }

  /** Resolves with the outcome. */
  broadcast(tx) {
    this.process.stdin.write(`broadcast ${tx.toRaw().toString('hex')}\n`);
    return this.event({event: 'broadcast'});
  }

  all(wanted) { return this.events.filter((e) => Object.entries(wanted).every(([key, value]) => e[key] === value)); }
}

/**
 * Every block that was reported is in the node's chain with this median time, unless it was taken away again.  Several followers
 * are one that was restarted.
 */
async function checkBlocks(ctx, node, ...followers) {
  const chain = new Map();
  for (const e of followers.flatMap((f) => f.events)) {
    if (e.event === 'block') {
      if (chain.size > 0) ctx.assert.ok(chain.has(e.height - 1), `a gap below block ${e.height}`);
      ctx.assert.ok(!chain.has(e.height), `block ${e.height} twice`);
      chain.set(e.height, e);
    }
    if (e.event === 'blocks_disconnected') {
      ctx.assert.ok(chain.has(e.from), `block ${e.from} cannot go: it was not reported`);
      for (const height of [...chain.keys()]) if (height >= e.from) chain.delete(height);
    }
  }
  ctx.assert.equal(Math.max(...chain.keys()), await node.height());
  for (const [height, e] of chain) {
    ctx.assert.equal(e.hash, await node.call('getblockhash', height));
    ctx.assert.equal(e.median_time, (await node.call('getblockheader', e.hash, true)).mediantime, `median time of block ${height}`);
  }
}

/** A key whose coins are the rewards of blocks mined to `address`. */
function miner() {
  const ring = bcoin.KeyRing.generate();
  ring.witness = false;
  const address = bcoin.Address.fromHash(ring.getKeyHash(), bcoin.Address.types.PUBKEYHASH).toBase58('testnet');  // regtest's prefix in Bitcoin Core, too
  return {
    address,
    /** The reward of block `height`, less the fee [satoshi], to the miners' address. */
    async spend(node, height, {fee = 1000, lockTime = 0, sequence = 0xffffffff} = {}) {
      const block = bcoin.Block.fromRaw(await node.call('getblock', await node.call('getblockhash', height), 0), 'hex');
      const coin = bcoin.Coin.fromTX(block.txs[0], 0, height);
      const tx = new bcoin.MTX();
      tx.addCoin(coin);
      tx.inputs[0].sequence = sequence;
      tx.locktime = lockTime;
      tx.addOutput(bcoin.Script.fromRaw(minersScript, 'hex'), coin.value - fee);
      tx.sign(ring);
      return tx.toTX();
    },
  };
}
module.exports = [
  {
    name: 'chain_follow reports every block with its median time, from genesis, a height or the next one',
    async run(ctx) {
      const node = await ctx.node();
      await node.mine(30);
      for (const [args, first] of [[['--from', 0], 0], [['--from', 5], 5], [['--from', 30], 30]]) {
        const follower = new Follower(ctx, node.url, ...args);
        await follower.event({event: 'block', height: 30});
        await follower.event({event: 'node', status: 'following'});
        ctx.assert.equal(follower.all({event: 'block'}).length, 31 - first);
        await checkBlocks(ctx, node, follower);
        ctx.assert.equal(await follower.quit(), 0);
      }
      const next = new Follower(ctx, node.url);
      await next.event({event: 'node', status: 'following'});
      ctx.assert.equal(next.all({event: 'block'}).length, 0);
      await node.mine(2);
      await next.event({event: 'block', height: 32});
      ctx.assert.equal(next.all({event: 'block'}).length, 2);
      await checkBlocks(ctx, node, next);
      ctx.assert.equal(await next.quit(), 0);
    },
  },
  {
    name: 'chain_follow steps back over reorganisations, also between two looks and below its first block',
    async run(ctx) {
      const node = await ctx.node();
      await node.mine(30);
      const all = new Follower(ctx, node.url, '--from', 0);
      const late = new Follower(ctx, node.url, '--from', 28, '--poll-ms', 1500);
      await all.event({event: 'node', status: 'following'});
      await late.event({event: 'node', status: 'following'});

      await node.call('invalidateblock', await node.call('getblockhash', 26));
      await all.event({event: 'blocks_disconnected', from: 26});
      await node.mine(8, otherAddress);
      await all.event({event: 'block', height: 33});
      await late.event({event: 'block', height: 33});
      await checkBlocks(ctx, node, all);
      await checkBlocks(ctx, node, late);
      ctx.assert.equal(Math.min(...late.events.filter((e) => e.height !== undefined).map((e) => e.height)), 28);
      ctx.assert.equal(await all.quit(), 0);
      ctx.assert.equal(await late.quit(), 0);
    },
  },
  {
    name: 'chain_follow goes on from a stored position and asks for no block twice',
    async run(ctx) {
      const node = await ctx.node();
      await node.mine(60);
      const asked = new Map();  // by hash
      const watched = await proxy(node, ({method, params}) => {
        if (method === 'getblock') asked.set(params[0], (asked.get(params[0]) || 0) + 1);
      });
      const lives = [];
      const live = async (blocks) => {
        await node.mine(blocks);
        const follower = new Follower(ctx, watched.url, '--from', 20, '--position', ctx.path('position'));
        lives.push(follower);
        await follower.event({event: 'node', status: 'following'});
        ctx.assert.equal(follower.all({event: 'block'}).length, lives.length === 1 ? 41 : blocks);
        await checkBlocks(ctx, node, ...lives);
        ctx.assert.equal(await follower.quit(), 0);
      };
      for (const blocks of [0, 0, 1, 25, 0]) await live(blocks);
      ctx.assert.equal(asked.size, 67);  // 20 to 86
      ctx.assert.ok([...asked.values()].every((times) => times === 1), 'a block was asked for again');

      for (const depth of [1, 7, 30, 200]) {  // while it is down; the last one takes away all that it has seen
        const top = await node.height();
        const first = Math.max(1, top - depth + 1);
        await node.call('invalidateblock', await node.call('getblockhash', first));
        await node.mine(top - first + 3, otherAddress);
        const follower = new Follower(ctx, watched.url, '--from', 20, '--position', ctx.path('position'));
        lives.push(follower);
        await follower.event({event: 'node', status: 'following'});
        ctx.assert.equal(follower.all({event: 'blocks_disconnected'}).length, 1);
        await checkBlocks(ctx, node, ...lives);
        ctx.assert.equal(await follower.quit(), 0);
      }
      watched.close();
    },
  },
  {
    name: 'chain_follow follows a reorganisation deeper than all that it keeps densely, running or not',
    async run(ctx) {
      const node = await ctx.node();
      await node.mine(400);
      const position = ctx.path('position');
      const running = new Follower(ctx, node.url, '--from', 5, '--position', position);
      await running.event({event: 'node', status: 'following'});
      const reorganise = async (first) => {
        const top = await node.height();
        await node.call('invalidateblock', await node.call('getblockhash', first));
        await node.mine(top - first + 2, otherAddress);
        return top + 1;
      };
      let top = await reorganise(80);  // 321 blocks
      await running.event({event: 'block', height: top}, 60000);
      await checkBlocks(ctx, node, running);
      ctx.assert.equal(running.all({event: 'node', status: 'failed'}).length, 0);
      ctx.assert.equal(await running.quit(), 0);

      top = await reorganise(70);  // 332 blocks, with nobody there
      const again = new Follower(ctx, node.url, '--from', 5, '--position', position);
      await again.event({event: 'node', status: 'following'}, 60000);
      ctx.assert.equal(again.all({event: 'blocks_disconnected'}).length, 1);
      ctx.assert.ok(again.all({event: 'block'}).length < 400, 'it began anew');
      await checkBlocks(ctx, node, running, again);
      await node.mine(1);
      await again.event({event: 'block', height: top + 1});
      ctx.assert.equal(await again.quit(), 0);
    },
  },
  {
    name: 'chain_follow says that it is on the wrong network, or not let in',
    async run(ctx) {
      const node = await ctx.node();
      const wrong = new Follower(ctx, node.url, '--network', 'mainnet');
      ctx.assert.match((await wrong.event({event: 'node', status: 'failed'})).text, /chain regtest, not on main/);
      const stranger = new Follower(ctx, node.url.replace(':x@', ':wrong@'));
      ctx.assert.match((await stranger.event({event: 'node', status: 'unreachable'})).text, /refuses user or password/);
    },
  },
  {
    name: 'chain_follow tells how broadcasts ended: taken, known, in a block, refused with the node\'s words',
    async run(ctx) {
      const node = await ctx.node();
      const {address, spend} = miner();
      await node.mine(110, address);
      const follower = new Follower(ctx, node.url);
      await follower.event({event: 'node', status: 'following'});

      const payment = await spend(node, 1);
      const taken = await follower.broadcast(payment);
      ctx.assert.equal(taken.outcome, 'accepted');
      ctx.assert.equal(taken.txid, payment.txid());
      ctx.assert.equal((await follower.broadcast(payment)).outcome, 'accepted');
      await node.mine(1);
      await follower.event({event: 'block', height: 111, transactions: 2});
      ctx.assert.equal((await follower.broadcast(payment)).outcome, 'accepted');

      const refused = async (tx, words) => {
        const {outcome, reason} = await follower.broadcast(tx);
        ctx.assert.equal(outcome, 'refused');
        ctx.assert.match(reason, words);
      };
      await refused(await spend(node, 1, {fee: 2000}), /^bad-txns-inputs-missingorspent/);
      await refused(await spend(node, 2, {fee: 10}), /^min relay fee not met/);
      await refused(await spend(node, 3, {fee: 100000000}), /^Fee exceeds maximum/);

      const lockTime = await node.medianTime() + 3600;
      const refund = await spend(node, 4, {lockTime, sequence: 0xfffffffe});
      await refused(refund, /^non-final/);
      await node.passTime(lockTime + 1);
      ctx.assert.equal((await follower.broadcast(refund)).outcome, 'accepted');
      ctx.assert.equal(await follower.quit(), 0);
    },
  },
  {
    name: 'chain_follow tells once that the node is down and once that it is back, and goes on',
    async run(ctx) {
      const datadir = ctx.path('node');
      const node = await ctx.node({datadir});
      const {address, spend} = miner();
      await node.mine(110, address);
      const payment = await spend(node, 1);
      const follower = new Follower(ctx, node.url, '--from', 0);
      await follower.event({event: 'node', status: 'following'});

      await node.stop();
      await follower.event({event: 'node', status: 'unreachable'});
      for (let i = 0; i < 3; ++i) ctx.assert.equal((await follower.broadcast(payment)).outcome, 'unreachable');
      const again = await ctx.node({datadir, rpcport: node.rpcport, port: node.port});
      await follower.event({event: 'node', status: 'following'});
      ctx.assert.equal((await follower.broadcast(payment)).outcome, 'accepted');
      await again.mine(1);
      await follower.event({event: 'block', height: 111, transactions: 2});
      ctx.assert.equal(follower.all({event: 'node', status: 'unreachable'}).length, 1);
      ctx.assert.equal(follower.all({event: 'blocks_disconnected'}).length, 0);
      await checkBlocks(ctx, again, follower);
      ctx.assert.equal(await follower.quit(), 0);
    },
  },
];
