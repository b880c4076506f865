// What scenarios of channels begin with: a node, a client with coins, a server; and a channel between them.
'use strict';

const coin = 100000000;  // [satoshi]

/** The arguments with another value for this option. */
const replaced = (args, flag, value) => args.map((a, i) => args[i - 1] === flag ? value : a);

/**
 * A node, a client with coins, and what both sides' commands need.
 *   legacy       the client's coins are P2PKH
 *   serverCoins  the server has some, too
 *   node         options of the node
 */
async function world(ctx, {legacy = false, serverCoins = false, node: options = {}} = {}) {
  const node = await ctx.node(options);
  const w = {node, port: await ctx.freePort()};
  const common = (side) => ['--store', `sqlite:${ctx.path(side + '.db')}`, '--chain', `rpc:${node.url}`, '--network', 'regtest',
    '--seed', ctx.path(side + '.seed'), '--poll', 100, '--patience', 5, '--json'];
  w.client = common('client');
  w.server = common('server');
  w.address = async (side, ...more) => {
    const tool = await ctx.run(['address', '--seed', ctx.path(side + '.seed'), '--network', 'regtest', '--json', ...more]);
    return tool.all('address')[0].address;
  };
  await node.mine(1, await w.address('client', ...(legacy ? ['--legacy'] : [])));
  const server = await w.address('server');
  if (serverCoins) await node.mine(1, server);
  await node.mine(100);

  /** Starts a server, on w.port: a client that comes again takes it for the same one. */
  w.serve = async (...more) => {
    const tool = ctx.tool('serve', '--listen', `127.0.0.1:${w.port}`, ...w.server, ...more);
    await tool.event('listening');
    return tool;
  };
  w.payArgs = (...more) => ['pay', '--connect', `127.0.0.1:${w.port}`, ...w.client, ...more];
  /** Pays, and waits for the end.  Resolves with the tool; `opened` is its event, if there was one. */
  w.pay = async (args, options) => {
    const tool = await ctx.run(w.payArgs(...args), {ms: 120000, ...options});
    tool.opened = tool.all('opened')[0];
    return tool;
  };
  w.balance = async (side) => (await ctx.run(['balance', ...w[side]])).all('balance')[0];
  w.store = (side) => w[side][w[side].indexOf('--store') + 1];
  w.channels = async (side) => (await ctx.run(['channels', '--store', w.store(side), '--json'])).all('channel');
  /** The transaction, mined: asserts that it is in the mempool, mines a block, and returns what the node says of it. */
  w.mined = async (txid) => {
    ctx.assert.ok((await node.call('getrawmempool')).includes(txid), `${txid} is in the mempool`);
    await node.mine(1);
    const tx = await node.transaction(txid);
    ctx.assert.equal(tx.confirmations, 1, `${txid} is in a block`);
    return tx;
  };
  return w;
}

/**
 * A world with a server, and a channel that a client has paid on and left.  Resolves with {w, server, client, channel}.
 *   serve, pay  further arguments; pay those of the channel
 *   world       options of the world
 */
async function paid(ctx, {pay, serve = [], world: options} = {}) {
  const w = await world(ctx, options);
  const server = await w.serve(...serve);
  const client = await w.pay(pay);
  return {w, server, client, channel: client.opened.channel};
}

/** The same, and then the server vanished and the contract was mined. */
async function deserted(ctx, options) {
  const all = await paid(ctx, options);
  await all.server.kill('SIGKILL');
  await all.w.node.mine(1);
  return all;
}

module.exports = {coin, replaced, world, paid, deserted};
