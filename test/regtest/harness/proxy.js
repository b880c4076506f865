// Proxies in front of the node, that answer some calls themselves.
'use strict';
const http = require('http');

/**
 * Passes on all calls but those that `answer({id, method, params})` answers, now or as a promise: with an HTTP status (0 drops the
 * connection), with {result}, or with another object, which is the error of a 500 as nodes give it.
 * Resolves with {url, close}.
 */
async function proxy(node, answer) {
  const server = http.createServer((request, response) => {
    const pieces = [];
    request.on('data', (piece) => pieces.push(piece));
    request.on('end', async () => {
      const body = Buffer.concat(pieces);
      const call = JSON.parse(body);
      let own;
      try { own = await answer(call); } catch (e) { own = 0; }  // what it asked, the node or another, is gone
      if (own === 0) return request.socket.destroy();
      if (own && own.result !== undefined) {
        response.writeHead(200, {'content-type': 'application/json'});
        return response.end(JSON.stringify({result: own.result, error: null, id: call.id}));
      }
      if (typeof own === 'object') {
        response.writeHead(500, {'content-type': 'application/json'});
        return response.end(JSON.stringify({result: null, error: own, id: call.id}));
      }
      if (own) { response.writeHead(own); return response.end(); }
      const onward = http.request({host: '127.0.0.1', port: node.rpcport, method: 'POST', path: '/', agent: false, headers: request.headers},
        (from) => { response.writeHead(from.statusCode, from.headers); from.pipe(response); });
      onward.on('error', () => request.socket.destroy());
      onward.end(body);
    });
  });
  const port = await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server.address().port)));
  server.unref();
  return {url: node.url.replace(/:[0-9]+$/, `:${port}`), close: () => { server.close(); server.closeAllConnections && server.closeAllConnections(); }};
}

module.exports = {proxy};
