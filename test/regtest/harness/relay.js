// Stands between clients and one of several servers, as a load balancer does: the clients' address stays, the server changes.
'use strict';
const net = require('net');

class Relay {
  /** Passes connections on to 127.0.0.1:`target`, a port that may change; each connection stays where it began. */
  static async start(target) {
    const relay = new Relay();
    relay.target = target;
    relay.links = [];
    relay.server = net.createServer((client) => relay.join(client));
    await new Promise((resolve) => relay.server.listen(0, '127.0.0.1', resolve));
    relay.port = relay.server.address().port;
    relay.server.unref();
    return relay;
  }

  join(client) {
    const server = net.connect(this.target, '127.0.0.1');
    const link = {client, server, target: this.target, answer: Buffer.alloc(0)};  // answer: all that the server has sent
    this.links.push(link);
    for (const [from, to] of [[client, server], [server, client]]) {
      from.setNoDelay(true);
      from.on('data', (data) => {
        if (from === server) link.answer = Buffer.concat([link.answer, data]);
        if (from === client && link.held) link.held.push(data);
        else if (!to.destroyed) to.write(data);
      });
      from.on('error', () => {});
      from.on('close', () => { if (!link.kept) to.destroy(); });
    }
  }

  /** From now on what the last client sends waits here, in `held`.  Gives its link. */
  hold() {
    const link = this.links[this.links.length - 1];
    link.held = [];
    return link;
  }

  /** Gives the server what waited, and cuts the client off, of which the server hears nothing. */
  release(link) {
    for (const data of link.held) link.server.write(data);
    link.kept = true;
    link.client.destroy();
  }

  // Of a scenario's children:
  tail() { return `  relay on port ${this.port}: ${this.links.length} connections`; }
  async kill() {
    this.server.close();
    for (const {client, server} of this.links) { client.destroy(); server.destroy(); }
  }
}

module.exports = {Relay};
