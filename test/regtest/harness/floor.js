// A node whose mempool is full, as Bitcoin Core's is then: below its floor it takes nothing, and it says what that is.
'use strict';
const {proxy} = require('./proxy');
const {satoshi} = require('./node');

/** [sat/kvB] What a transaction pays; null if the node does not know all that it spends. */
async function rateOf(node, hex) {
  const tx = await node.call('decoderawtransaction', hex);
  let fee = 0;
  for (const {txid, vout} of tx.vin) {
    const from = await node.transaction(txid);
    if (!from) return null;
    fee += satoshi(from.vout[vout].value);
  }
  for (const out of tx.vout) fee -= satoshi(out.value);
  return fee * 1000 / (tx.vsize || tx.size);
}

/**
 * A proxy in front of the node.  What it returns has
 *   rate      [sat/kvB] the floor; change it at any time
 *   refused   the rates of the transactions that it refused
 *   asked     how often it has told its floor
 */
async function floored(node, rate) {
  const front = {rate, refused: [], asked: 0};
  const answer = async ({method, params}) => {
    if (method === 'getmempoolinfo') front.asked += 1;
    if (method === 'getmempoolinfo') return {result: {loaded: true, mempoolminfee: front.rate / 1e8, minrelaytxfee: 0.00001}};
    if (method !== 'sendrawtransaction') return undefined;
    const pays = await rateOf(node, params[0]);
    if (pays === null || pays >= front.rate) return undefined;
    front.refused.push(pays);
    return {code: -26, message: 'mempool min fee not met'};
  };
  return Object.assign(front, await proxy(node, answer));
}

module.exports = {floored, rateOf};
