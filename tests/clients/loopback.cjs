// Keeps a server to 127.0.0.1 and says which port it got: `node --require loopback.cjs server.js`.
const net = require('node:net');

const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (...args) {
  const wanted = typeof args[0] === 'object' && args[0] !== null ? args[0].port : args[0];
  const callback = args.find((arg) => typeof arg === 'function');
  this.once('listening', () => process.stderr.write(`LISTENING ${this.address().port}\n`));
  return listen.call(this, { port: Number(wanted) || 0, host: '127.0.0.1' }, callback);
};
