// The TypeScript client in one of its modes, doing everything that the matrix asks of a client:
// node matrix_typescript.mjs URL PROFILE legacy|auto|2026-07-28|sse|mcp-remote. Prints a line of JSON for each operation:
// {op, is: "ok" | "no" | "-", said}; "-" where client or server have no such thing.
import { randomUUID } from 'node:crypto';

import { say } from './lines.mjs';
import { load } from './packages.mjs';

const { Client, SSEClientTransport, StreamableHTTPClientTransport } = await load('@modelcontextprotocol/client');
const { StdioClientTransport } = await load('@modelcontextprotocol/client/stdio');

const [url, text, mode] = process.argv.slice(2);
const profile = JSON.parse(text);
// Milliseconds until something that was said to happen must have happened.
const PATIENCE = 5_000;

const transports = {
  sse: () => new SSEClientTransport(new URL(url)),
  'mcp-remote': () =>
    new StdioClientTransport({
      command: process.execPath,
      args: [`${process.env.GATEHOUSE_NODE_MODULES}/mcp-remote/dist/proxy.js`, url, '--transport', 'http-only', '--allow-http'],
      env: { ...process.env, MCP_REMOTE_CONFIG_DIR: process.env.HOME },
      stderr: 'inherit',
    }),
};
const versionNegotiation = { legacy: { mode: 'legacy' }, auto: { mode: 'auto' }, '2026-07-28': { mode: { pin: '2026-07-28' } } }[mode];
const client = new Client(
  { name: 'gatehouse-matrix', version: '1' },
  { versionNegotiation, capabilities: { elicitation: { form: {} }, sampling: {}, roots: {} } },
);

const sample = { string: 'Ada', number: 7, integer: 7, boolean: true };
const filled = ({ requestedSchema }) =>
  Object.fromEntries(
    (requestedSchema.required ?? []).map((field) => {
      const { type, format } = requestedSchema.properties[field];
      return [field, format === 'email' ? 'ada@example.org' : sample[type]];
    }),
  );
client.setRequestHandler('elicitation/create', ({ params }) => ({
  action: 'accept',
  content: { name: 'Ada', ...filled(params) },
}));
client.setRequestHandler('sampling/createMessage', () => ({
  model: 'none',
  role: 'assistant',
  content: { type: 'text', text: 'Sampled.' },
}));
const updates = new Set();
// Seen as they arrive: the client forgets who asked for progress with the answer, even where it has read both at once.
const progress = [];
client.setNotificationHandler('notifications/resources/updated', ({ params }) => updates.add(params.uri));

const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
async function until(what, holds) {
  for (const end = Date.now() + PATIENCE; Date.now() < end; await pause(50)) {
    const held = await holds();
    if (held) return held;
  }
  throw new Error(`never: ${what}`);
}

async function call({ name, arguments: args, says = '' }, options) {
  const { content, isError } = await client.callTool({ name, arguments: args }, options);
  const said = content.map((part) => part.text ?? part.type).join(' ');
  if (isError || !said.includes(says)) throw new Error(said);
  return said;
}

const stateless = () => client.getProtocolEra() === 'modern';
const absent = Symbol('absent');
const offers = () => client.getServerCapabilities() ?? {};

const operations = {
  async open() {
    const transport = transports[mode]?.() ?? new StreamableHTTPClientTransport(new URL(url));
    await client.connect(transport);
    const { onmessage } = transport;
    transport.onmessage = (message, extra) => {
      if (message.method === 'notifications/progress') progress.push(message.params.progress);
      return onmessage?.(message, extra);
    };
    return stateless() ? 'stateless' : 'session';
  },
  async list() {
    const { tools } = await client.listTools();
    if (!tools.some((tool) => tool.name === profile.call.name)) throw new Error(tools.map((tool) => tool.name).join(' '));
    const [{ resources }, { prompts }] = [await client.listResources(), await client.listPrompts()];
    return `${tools.length} tools, ${resources.length} resources, ${prompts.length} prompts`;
  },
  call: () => call(profile.call),
  async progress() {
    await call(profile.progress, { onprogress() {} });
    if (progress.length < 2) throw new Error(`progress: ${progress}`);
    return progress.join(' ');
  },
  async cancel() {
    const [controller, label] = [new AbortController(), randomUUID()];
    const { name, arguments: args } = profile.wait;
    const waiting = call({ name, arguments: profile.was_cancelled ? { ...args, label } : args }, { signal: controller.signal });
    const ended = waiting.then(() => 'it was not cancelled', () => undefined);
    await pause(500);
    controller.abort('enough');
    const wrong = await ended;
    if (wrong) throw new Error(wrong);
    if (!profile.was_cancelled) return call(profile.call);
    return until('the server hears of it', async () => (await call({ ...profile.was_cancelled, arguments: { label } })) === 'yes');
  },
  async read() {
    const { contents } = await client.readResource({ uri: profile.resource });
    if (!(contents[0].text || contents[0].blob)) throw new Error(JSON.stringify(contents));
  },
  async subscribe() {
    if (!offers().resources?.subscribe) return absent;
    const uri = profile.watched;
    const subscription = stateless() ? await client.listen({ resourceSubscriptions: [uri] }) : void (await client.subscribeResource({ uri }));
    await call(profile.touch);
    await until('the update is told', () => updates.has(uri));
    await (subscription ? subscription.close() : client.unsubscribeResource({ uri }));
  },
  async prompt() {
    const { name, arguments: args, says } = profile.prompt;
    const { messages } = await client.getPrompt({ name, arguments: args });
    if (!messages[0].content.text.includes(says)) throw new Error(JSON.stringify(messages));
  },
  async complete() {
    if (!offers().completions) return absent;
    const { prompt: name, argument, value } = profile.completion;
    const { completion } = await client.complete({ ref: { type: 'ref/prompt', name }, argument: { name: argument, value } });
    if (!completion.values.length) throw new Error('no values');
    return completion.values.join(' ');
  },
  elicit: () => call(profile.elicit),
  sample: () => call(profile.sample),
};

for (const [op, run] of Object.entries(operations)) {
  try {
    const said = await run();
    say(said === absent ? { op, is: '-' } : { op, is: 'ok', said });
  } catch (error) {
    say({ op, is: 'no', said: `${error?.code ?? ''} ${error?.message ?? error}`.slice(0, 400) });
    if (op === 'open') break;
  }
}
await Promise.race([client.close(), pause(2000)]);
process.exit(0);
