// The inspector's CLI, one process for each thing that it can do: node matrix_inspector.mjs URL PROFILE; as matrix_typescript.mjs.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

import { say } from './lines.mjs';

const [url, text] = process.argv.slice(2);
const profile = JSON.parse(text);
const cli = `${process.env.GATEHOUSE_NODE_MODULES}/@modelcontextprotocol/inspector-cli/build/cli.js`;

async function ask(...args) {
  const { stdout } = await promisify(execFile)(process.execPath, [cli, '--cli', url, ...args], { timeout: 30_000 });
  return JSON.parse(stdout);
}
const pairs = (option, values) => Object.entries(values).flatMap(([key, value]) => [option, `${key}=${value}`]);
const holds = (said, what) => {
  if (!JSON.stringify(said).includes(what)) throw new Error(JSON.stringify(said));
};

const operations = {
  async open() {
    await ask('--method', 'tools/list');
    // It knows no other.
    return 'session';
  },
  async list() {
    const { tools } = await ask('--method', 'tools/list');
    holds(tools.map((tool) => tool.name), profile.call.name);
  },
  async call() {
    const { name, arguments: args, says } = profile.call;
    holds(await ask('--method', 'tools/call', '--tool-name', name, ...pairs('--tool-arg', args)), says);
  },
  async read() {
    holds(await ask('--method', 'resources/read', '--uri', profile.resource), 'contents');
  },
  async prompt() {
    const { name, arguments: args, says } = profile.prompt;
    holds(await ask('--method', 'prompts/get', '--prompt-name', name, ...pairs('--prompt-args', args)), says);
  },
};

for (const op of ['open', 'list', 'call', 'progress', 'cancel', 'read', 'subscribe', 'prompt', 'complete', 'elicit', 'sample']) {
  try {
    say(operations[op] ? { op, is: 'ok', said: await operations[op]() } : { op, is: '-' });
  } catch (error) {
    say({ op, is: 'no', said: `${error?.stderr || error?.message || error}`.slice(0, 400) });
  }
}
