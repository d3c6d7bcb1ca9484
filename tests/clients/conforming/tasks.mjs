// The tasks extension, which no SDK for servers has: calls of these tools and the methods on tasks, answered before the SDK's
// handler sees them. Only for stateless requests that declare the extension.
import { randomUUID } from 'node:crypto';

import { pause, text } from './bytes.mjs';

export const EXTENSION = 'io.modelcontextprotocol/tasks';
const META = 'io.modelcontextprotocol/';
// Milliseconds that a task is kept, and until somebody may ask again.
const KEPT = 60_000;
const ASK_AGAIN = 100;
// Tasks at most; the oldest go first.
const MOST = 1024;

const form = (message, field, type) => ({
  method: 'elicitation/create',
  params: { mode: 'form', message, requestedSchema: { type: 'object', properties: { [field]: { type } }, required: [field] } },
});
const said = (...words) => ({ content: words.map(text) });
const ended = new Set(['completed', 'failed', 'cancelled']);

const tools = {
  greet: { input: { name: { type: 'string' } }, run: ({ name }) => said(`Hello, ${name}!`) },
  slow_compute: {
    input: { seconds: { type: 'number' }, label: { type: 'string' } },
    async run({ seconds, label = '' }, signal) {
      await Promise.race([pause(seconds * 1000), new Promise((done) => signal?.addEventListener('abort', done))]);
      return said(`Computed ${label}`);
    },
  },
  failing_job: {
    input: {},
    required: true,
    async run() {
      await pause(200);
      return { isError: true, ...said('The job failed, as it always does') };
    },
  },
  protocol_error_job: {
    input: {},
    run: () => Promise.reject(Object.assign(new Error('The job broke'), { code: -32603 })),
  },
  confirm_delete: {
    input: { filename: { type: 'string' } },
    questions: ({ filename }) => ({ confirm: form(`Delete ${filename}?`, 'confirm', 'boolean') }),
    run: ({ filename }) => said(`Deleted ${filename}`),
  },
  multi_input: {
    input: {},
    questions: () => ({ first: form('Who?', 'name', 'string'), second: form('Sure?', 'confirm', 'boolean') }),
    run: () => said('Both are answered'),
  },
  test_tool_with_task: {
    input: {},
    required: true,
    before: { user_name: form('What is your name?', 'name', 'string') },
    run: (_args, _signal, before) => said(`Hello, ${before.user_name.content?.name}!`),
  },
};
const syncOnly = new Set(['greet']);

// What the SDK is told of the tools: their schemas, and what they do where no task is wanted.
export const taskTools = Object.fromEntries(
  Object.entries(tools).map(([name, { input, run }]) => [name, { input, required: [], run: (args) => run(args, undefined, {}) }]),
);

const kept = new Map();
const now = () => new Date().toISOString();
const shown = ({ taskId, status, createdAt, lastUpdatedAt }) => ({
  taskId, status, createdAt, lastUpdatedAt, ttlMs: KEPT, pollIntervalMs: ASK_AGAIN,
});

function settle(task, status, more = {}) {
  if (ended.has(task.status)) return;
  Object.assign(task, { status, lastUpdatedAt: now() }, more);
}

function begin({ run, questions }, args, before) {
  const task = { taskId: randomUUID(), status: 'working', createdAt: now(), lastUpdatedAt: now(), stop: new AbortController() };
  kept.set(task.taskId, task);
  if (kept.size > MOST) kept.delete(kept.keys().next().value);
  task.go = () => {
    task.status = 'working';
    Promise.resolve()
      .then(() => run(args, task.stop.signal, before))
      .then((result) => settle(task, 'completed', { result: { resultType: 'complete', ...result } }))
      .catch(({ code = -32603, message }) => settle(task, 'failed', { error: { code, message } }));
  };
  task.inputRequests = questions?.(args);
  if (task.inputRequests) task.status = 'input_required';
  else task.go();
  return { resultType: 'task', ...shown(task) };
}

const methods = {
  'tasks/get': (task) => ({
    resultType: 'complete',
    ...shown(task),
    ...(task.status === 'input_required' && { inputRequests: task.inputRequests }),
    ...(task.result && { result: task.result }),
    ...(task.error && { error: task.error }),
  }),
  'tasks/update'(task, { inputResponses = {} }) {
    if (task.status === 'input_required') {
      for (const key of Object.keys(inputResponses)) delete task.inputRequests[key];
      if (!Object.keys(task.inputRequests).length) task.go();
    }
    return { resultType: 'complete' };
  },
  'tasks/cancel'(task) {
    settle(task, 'cancelled');
    task.stop.abort();
    return { resultType: 'complete' };
  },
};

const refused = (status, code, message, data) => ({ status, error: { code, message, data } });
const unequal = (what) => refused(400, -32020, `Header mismatch: ${what}`);

// `undefined` where it is none of ours.
export function answer({ method, params = {} }, headers) {
  const meta = params._meta ?? {};
  const declared = meta[`${META}clientCapabilities`]?.extensions?.[EXTENSION] !== undefined;
  const tool = method === 'tools/call' && !syncOnly.has(params.name) ? tools[params.name] : undefined;
  if (!meta[`${META}protocolVersion`] || !(methods[method] || tool)) return undefined;
  if (tool && !declared && !tool.required) return undefined;
  const named = tool ? params.name : params.taskId;
  if (headers['mcp-protocol-version'] !== meta[`${META}protocolVersion`]) return unequal('MCP-Protocol-Version');
  if (headers['mcp-method'] !== method) return unequal('Mcp-Method');
  if (headers['mcp-name'] !== named) return unequal('Mcp-Name');
  if (!declared) {
    const requiredCapabilities = { extensions: { [EXTENSION]: {} } };
    return refused(400, -32021, `${method} needs the extension ${EXTENSION}`, { requiredCapabilities });
  }
  if (tool) {
    const before = params.inputResponses ?? {};
    const open = Object.entries(tool.before ?? {}).filter(([key]) => before[key] === undefined);
    if (open.length) return { result: { resultType: 'input_required', inputRequests: Object.fromEntries(open) } };
    return { result: begin(tool, params.arguments ?? {}, before) };
  }
  const task = kept.get(params.taskId);
  return task ? { result: methods[method](task, params) } : refused(200, -32602, `There is no task ${params.taskId}`);
}
