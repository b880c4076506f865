// Free ports on 127.0.0.1.
'use strict';
const net = require('net');

/** A port that nobody listens on at the moment; someone else may take it before you do. */
function freePort() {
  return new Promise((resolve, reject) => {
    const server = net.createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const {port} = server.address();
      server.close(() => resolve(port));
    });
  });
}

module.exports = {freePort};
