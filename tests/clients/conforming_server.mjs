// A server that conforms in both eras on one endpoint: node conforming_server.mjs; says {url} and ends with its standard input.
// Stateless requests are `createMcpHandler`'s; sessions, which it does not have, stand beside it, each a server of its own.
// node conforming_server.mjs plain: `createMcpHandler` alone, which knows the revisions with sessions but opens none;
// node conforming_server.mjs stateless: the same without those revisions.
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';

import { answerLines, say } from './lines.mjs';
import { load } from './packages.mjs';
import { plainTools } from './conforming/tools.mjs';
import { questionPrompts, questionTools } from './conforming/questions.mjs';
import { prompts, resources, template } from './conforming/reading.mjs';
import { EXTENSION, answer as ofTasks, taskTools } from './conforming/tasks.mjs';

const {
  McpServer, ResourceTemplate, completable, createMcpHandler, createRequestStateCodec, fromJsonSchema, isLegacyRequest,
} = await load('@modelcontextprotocol/server');
const { NodeStreamableHTTPServerTransport, localhostHostValidation, localhostOriginValidation, toNodeHandler, toWebRequest } =
  await load('@modelcontextprotocol/node');
const { z } = await load('zod');

// Sessions and events at most; the oldest go first. Milliseconds until a client may ask again for a closed stream.
const SESSIONS = 1024;
const EVENTS = 4096;
const RETRY = 300;

const codec = createRequestStateCodec({ key: randomUUID() + randomUUID(), ttlSeconds: 300 });
const sessions = new Map();
const cancelled = new Set();

// Tells every session and every listening stream.
const everywhere = (tell) => sessions.forEach(({ server }) => void Promise.resolve(tell(server)).catch(() => {}));
const changed = {
  tools: () => (modern.notify.toolsChanged(), everywhere((server) => server.sendToolListChanged())),
  prompts: () => (modern.notify.promptsChanged(), everywhere((server) => server.sendPromptListChanged())),
  resource(uri) {
    modern.notify.resourceUpdated(uri);
    for (const { server, watched } of sessions.values()) {
      if (watched.has(uri)) void server.server.sendResourceUpdated({ uri }).catch(() => {});
    }
  },
  cancelled: (label) => cancelled.add(label),
  wasCancelled: (label) => cancelled.has(label),
};

const words = (name) => name.replaceAll('_', ' ');
const inputSchema = ({ schema, input = {}, required = Object.keys(input) }) =>
  fromJsonSchema(schema ?? { type: 'object', properties: input, required });

function offer(server) {
  for (const [name, tool] of Object.entries({ ...plainTools(changed), ...questionTools(codec), ...taskTools })) {
    server.registerTool(name, { description: words(name), inputSchema: inputSchema(tool) }, tool.run);
  }
  for (const [name, { uri, mimeType, of }] of Object.entries(resources)) {
    server.registerResource(name, uri, { description: words(name), mimeType }, () => ({ contents: [{ uri, mimeType, ...of }] }));
  }
  const about = { description: 'Data of whatever id', mimeType: template.mimeType };
  server.registerResource('template', new ResourceTemplate(template.uri, { list: undefined }), about, template.read);
  for (const [name, prompt] of Object.entries({ ...prompts, ...questionPrompts })) {
    const args = Object.entries(prompt.args ?? {}).map(([arg, description]) => [
      arg, completable(z.string().describe(description), (value) => [`${value}…`, `${value}!`]),
    ]);
    const argsSchema = args.length ? z.object(Object.fromEntries(args)) : undefined;
    const run = argsSchema ? prompt.run : (ctx) => prompt.run({}, ctx);
    server.registerPrompt(name, { description: words(name), argsSchema }, run);
  }
}

function made(watched = new Set(), extensions = undefined) {
  const listChanged = { listChanged: true };
  const server = new McpServer(
    { name: 'conforming', version: '1' },
    {
      capabilities: { tools: listChanged, prompts: listChanged, resources: { subscribe: true, ...listChanged }, logging: {}, completions: {}, extensions },
      cacheHints: Object.fromEntries(
        ['tools/list', 'prompts/list', 'resources/list', 'resources/templates/list', 'resources/read', 'server/discover'].map((method) => [
          method, { ttlMs: 1000, cacheScope: 'public' },
        ]),
      ),
      requestState: { verify: codec.verify },
    },
  );
  offer(server);
  server.server.setRequestHandler('resources/subscribe', ({ params }) => (watched.add(params.uri), {}));
  server.server.setRequestHandler('resources/unsubscribe', ({ params }) => (watched.delete(params.uri), {}));
  return server;
}

const how = process.argv[2];
const tasks = { [EXTENSION]: {} };
const modern = createMcpHandler(({ era }) => made(undefined, era === 'modern' ? tasks : undefined), { legacy: how === 'plain' ? 'stateless' : 'reject' });

// Events of one session's streams, to be sent again to who comes back.
function events() {
  const kept = [];
  let next = 0;
  return {
    async storeEvent(stream, message) {
      const id = `${stream}:${(next += 1)}`;
      kept.push({ id, stream, message });
      if (kept.length > EVENTS) kept.shift();
      return id;
    },
    async getStreamIdForEventId(id) {
      return id.slice(0, id.lastIndexOf(':'));
    },
    async replayEventsAfter(last, { send }) {
      const [stream, at] = [last.slice(0, last.lastIndexOf(':')), Number(last.slice(last.lastIndexOf(':') + 1))];
      for (const event of kept.filter((event) => event.stream === stream && Number(event.id.slice(stream.length + 1)) > at)) {
        if (Object.keys(event.message).length) await send(event.id, event.message);
      }
      return stream;
    },
  };
}

function refuse(res, status, code, message) {
  res.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify({ jsonrpc: '2.0', id: null, error: { code, message } }));
}

async function inSession(req, res, body) {
  const id = req.headers['mcp-session-id'];
  if (id !== undefined) {
    const session = sessions.get(id);
    return session ? session.transport.handleRequest(req, res, body) : refuse(res, 404, -32001, 'Session not found');
  }
  if (req.method !== 'POST' || body?.method !== 'initialize') return refuse(res, 400, -32000, 'A session is needed');
  const watched = new Set();
  const server = made(watched);
  const transport = new NodeStreamableHTTPServerTransport({
    sessionIdGenerator: randomUUID,
    eventStore: events(),
    retryInterval: RETRY,
    onsessioninitialized(opened) {
      sessions.set(opened, { transport, server, watched });
      if (sessions.size > SESSIONS) void sessions.values().next().value.transport.close();
    },
  });
  transport.onclose = () => sessions.delete(transport.sessionId);
  await server.connect(transport);
  return transport.handleRequest(req, res, body);
}

const stateless = toNodeHandler(modern);
const [host, origin] = [localhostHostValidation(), localhostOriginValidation()];

async function serve(req, res) {
  if (!host(req, res) || !origin(req, res)) return;
  if (new URL(req.url, 'http://x').pathname !== '/mcp') return void res.writeHead(404).end();
  const chunks = [];
  for await (const chunk of req) chunks.push(chunk);
  const raw = Buffer.concat(chunks).toString();
  let body;
  try {
    body = raw ? JSON.parse(raw) : undefined;
  } catch {
    return refuse(res, 400, -32700, 'No JSON');
  }
  const own = ofTasks(body ?? {}, req.headers);
  if (own) {
    const { status = 200, ...said } = own;
    res.writeHead(status, { 'content-type': 'application/json' });
    return void res.end(JSON.stringify({ jsonrpc: '2.0', id: body.id, ...said }));
  }
  const session = !how && (await isLegacyRequest(await toWebRequest(req, body), body));
  await (session ? inSession(req, res, body) : stateless(req, res, body));
}

const http = createServer((req, res) => {
  serve(req, res).catch((error) => {
    process.stderr.write(`${error?.stack ?? error}\n`);
    if (!res.headersSent) refuse(res, 500, -32603, 'Failed');
  });
});
http.listen(0, '127.0.0.1', () => say({ url: `http://127.0.0.1:${http.address().port}/mcp` }));
answerLines(() => ({ sessions: sessions.size, cancelled: cancelled.size }), () => http.closeAllConnections());
