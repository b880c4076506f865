// Peers that are not ours, against build/paychan: frames by hand, as older releases and strangers send them.
'use strict';
const {world} = require('../harness/world');
const {Peer, type, frame} = require('../harness/peer');

module.exports = [
  {
    name: 'a client that demands another min_payment gets it at its next attempt',
    async run(ctx) {
      const w = await world(ctx);
      await w.serve();
      const attempt = async (version, expected) => {
        const peer = new Peer(w.port);
        peer.send(type.clientVersion, {1: version, 2: 0, 4: 86340});
        ctx.assert.deepEqual(await peer.next(), {type: type.serverVersion, 1: version, 2: 0});
        const initiate = await peer.next();
        ctx.assert.equal(initiate.type, type.initiate);
        // As bitcoinj 0.13.4 to 0.14.5 answer, which want exactly their own.
        peer.send(type.error, {1: 7, 2: `<b>${String.fromCharCode(27)}[31m</b>`, 3: expected});
        ctx.assert.equal(await peer.next(), null);
        return initiate[4];
      };
      ctx.assert.equal(await attempt(1, 5000), 1000);
      ctx.assert.equal(await attempt(1, 5000), 5000);
      ctx.assert.equal(await attempt(2, 20000), 5000);
      ctx.assert.equal(await attempt(2, 999), 1000, '20,000 is out of range');
      ctx.assert.equal(await attempt(2, 5000), 1000, 'so is 999');
      // Our own client at that address takes it.
      const client = await w.pay(['--channel', 400000, '--payments', 10, '--amount', 100, '--settle']);
      ctx.assert.equal(client.opened.paid, 5000);
      ctx.assert.equal(client.all('settled')[0].paid, 6000);
      await w.mined(client.all('settled')[0].txid);
    },
  },
  {
    name: 'strangers who talk nonsense are cut off, and paying goes on',
    async run(ctx) {
      const w = await world(ctx);
      const server = await w.serve();
      const talk = async (bytes) => {
        const peer = new Peer(w.port);
        peer.write(bytes);
        return (await peer.rest()).toString('latin1');
      };
      const hex = (text) => frame(Buffer.from(text, 'hex'));
      ctx.assert.equal(await talk('GET / HTTP/1.1\r\n\r\n'), '');
      ctx.assert.equal(await talk(Buffer.from([0, 0, 0, 0])), '');
      ctx.assert.equal(await talk(Buffer.from([0, 0, 0x80, 0])), '');
      ctx.assert.equal(await talk(hex('ffffffff')), '');
      ctx.assert.match(await talk(hex('080b')), /does not belong here/);  // PAYMENT_ACK first
      for (const major of ['00', '03', 'ffffffff07'])
        ctx.assert.match(await talk(hex(`080112${(major.length / 2 + 3).toString(16).padStart(2, '0')}08${major}1000`)), /protocol versions 1 and 2/);
      // What a peer says is shown so that it cannot steer a terminal.
      const peer = new Peer(w.port);
      peer.send(type.clientVersion, {1: 2, 2: 0, 4: 86340});
      await peer.next();
      await peer.next();
      peer.send(type.error, {1: 8, 2: '\x1b[2J"\\'});
      ctx.assert.equal(await peer.next(), null);
      const error = await ctx.eventually('the error', () => server.all('error').find((e) => e.peer_says));
      ctx.assert.equal(error.peer_says, '\\x1b[2J"\\x5c');
      await w.pay(['--channel', 400000, '--payments', 10, '--amount', 100, '--settle']);
    },
  },
];
