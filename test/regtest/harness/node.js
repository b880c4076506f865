// A regtest Bitcoin node on 127.0.0.1, started by regnode.js, and its JSON-RPC.
'use strict';
const http = require('http');
const path = require('path');
const {Child} = require('./child');
const {freePort} = require('./ports');

const regnode = path.join(__dirname, '..', 'regnode.js');
const password = 'x';
// A P2WPKH address that no test pays otherwise: the key of BIP173's examples.
const minersAddress = 'bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080';

/** What the node answered instead of a result; `code` is Bitcoin Core's. */
class RpcError extends Error {
  constructor(method, {code, message}) {
    super(`${method}: ${message} (${code})`);
    this.code = code;
    this.reason = message;
  }
}

class Node {
  /** options  what regnode.js takes, e.g. {nonstd: 1, datadir: '/tmp/x'} */
  static async start(options = {}) {
    let last;
    for (let attempt = 0; attempt < 3; ++attempt) {  // a free port may be taken before the node has it
      const node = new Node();
      node.rpcport = options.rpcport || await freePort();
      node.port = options.port || await freePort();
      const args = Object.entries({...options, rpcport: node.rpcport, port: node.port, rpcpassword: password})
        .map(([key, value]) => `--${key}=${value}`);
      node.child = new Child(process.execPath, [regnode, ...args], {cwd: path.dirname(regnode)});
      try {
        await node.child.until(() => node.child.lines.find((l) => l.startsWith('READY ')), 'READY', 60000);
        return node;
      } catch (e) {
        last = e;
        await node.child.kill('SIGKILL');
        if (!/EADDRINUSE/.test(node.child.stderr)) break;
      }
    }
    throw last;
  }

  /** For `--chain rpc:URL`. */
  get url() { return `http://user:${password}@127.0.0.1:${this.rpcport}`; }

  /** call('getblockhash', 0).  Rejects with RpcError if the node refuses. */
  call(method, ...params) {
    const body = JSON.stringify({jsonrpc: '1.0', id: 1, method, params});
    return new Promise((resolve, reject) => {
      const request = http.request({host: '127.0.0.1', port: this.rpcport, method: 'POST', path: '/', agent: false, timeout: 60000,
        headers: {'content-type': 'application/json', 'content-length': Buffer.byteLength(body),
          authorization: 'Basic ' + Buffer.from('user:' + password).toString('base64')}}, (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (piece) => { text += piece; });
        response.on('end', () => {
          let answer;
          try { answer = JSON.parse(text); } catch (e) {
            return reject(new Error(`${method}: HTTP ${response.statusCode}, not JSON: ${text.slice(0, 200)}`));
          }
          if (answer.error) reject(new RpcError(method, answer.error)); else resolve(answer.result);
        });
        response.on('error', reject);
      });
      request.on('timeout', () => request.destroy(new Error(`${method}: no answer within 60 s`)));
      request.on('error', reject);
      request.end(body);
    });
  }

  /** Mines n blocks; their rewards go to `address`.  Resolves with the hashes. */
  mine(n, address = minersAddress) { return this.call('generatetoaddress', n, address); }

  height() { return this.call('getblockcount'); }

  async medianTime() { return (await this.call('getblockheader', await this.call('getbestblockhash'))).mediantime; }

  /** Sets the node's clock [unix s]; 0 gives it the real one back. */
  setTime(time) { return this.call('setmocktime', time); }

  /** Moves clock and chain until the median time of the last 11 blocks, which lock times are compared with, is >= time. */
  async passTime(time) {
    await this.setTime(time);
    await this.mine(12);
    const median = await this.medianTime();
    if (median < time) throw new Error(`median time is ${median}, not ${time}`);
  }

  /** The verbose transaction, from mempool or chain; null if the node does not know it. */
  async transaction(txid) {
    try { return await this.call('getrawtransaction', txid, true); } catch (e) { if (e.code === -5) return null; throw e; }
  }

  /** All unspent outputs of a script in the active chain: [{txid, n, value [satoshi], height}]. */
  async unspent(scriptHex) {
    const found = new Map();
    const tip = await this.height();
    for (let height = 1; height <= tip; ++height) {
      const block = await this.call('getblock', await this.call('getblockhash', height), 2);
      for (const tx of block.tx) {
        for (const input of tx.vin) found.delete(`${input.txid}:${input.vout}`);
        for (const output of tx.vout) {
          if (output.scriptPubKey.hex !== scriptHex) continue;
          found.set(`${tx.txid}:${output.n}`, {txid: tx.txid, n: output.n, value: satoshi(output.value), height});
        }
      }
    }
    return [...found.values()];
  }

  /** [satoshi] what the active chain holds for a script. */
  async balance(scriptHex) { return (await this.unspent(scriptHex)).reduce((sum, output) => sum + output.value, 0); }

  /** Ends it as an operator would.  Resolves with {code, signal}. */
  stop() { return this.child.kill('SIGTERM'); }
}

/** [satoshi] of a JSON number of coins. */
function satoshi(coins) { return Math.round(coins * 1e8); }

module.exports = {Node, RpcError, minersAddress, satoshi};
