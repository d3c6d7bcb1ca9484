// Tools that need nothing of the client.
import { audio, embedded, image, pause, text } from './bytes.mjs';

const said = (...content) => ({ content });
const log = (ctx, data) => ctx.mcpReq.log('info', data, 'conforming');

// Longer than a client's pause before it asks again for a stream that was closed.
const AFTER_CLOSING = 100;

const schema2020 = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  type: 'object',
  $defs: {
    address: { $anchor: 'addressDef', type: 'object', properties: { street: { type: 'string' }, city: { type: 'string' } } },
  },
  properties: {
    name: { type: 'string' },
    address: { $ref: '#/$defs/address' },
    contactMethod: { type: 'string', enum: ['phone', 'email'] },
    phone: { type: 'string' },
    email: { type: 'string' },
  },
  allOf: [{ anyOf: [{ required: ['phone'] }, { required: ['email'] }] }],
  if: { properties: { contactMethod: { const: 'phone' } }, required: ['contactMethod'] },
  then: { required: ['phone'] },
  else: { required: ['email'] },
  additionalProperties: false,
};

async function progress(ctx, steps) {
  const progressToken = ctx.mcpReq._meta?.progressToken;
  for (const [at, message] of steps) {
    if (progressToken !== undefined) {
      await ctx.mcpReq.notify({ method: 'notifications/progress', params: { progressToken, progress: at, total: 100, message } });
    }
    await pause(20);
  }
}

export const plainTools = (changed) => ({
  test_simple_text: { run: () => said(text('This is a simple text response for testing.')) },
  test_image_content: { run: () => said(image) },
  test_audio_content: { run: () => said(audio) },
  test_embedded_resource: { run: () => said(embedded('test://embedded-resource', 'text/plain', 'What lies in the resource.')) },
  test_multiple_content_types: {
    run: () => said(text('Several kinds at once:'), image, embedded('test://mixed', 'application/json', '{"mixed":true}')),
  },
  test_error_handling: { run: () => ({ isError: true, content: [text('This tool intentionally returns an error for testing')] }) },
  test_tool_with_logging: {
    async run(_args, ctx) {
      for (const line of ['Tool execution started', 'Tool processing data', 'Tool execution completed']) {
        await log(ctx, line);
        await pause(20);
      }
      return said(text('Said three lines'));
    },
  },
  test_logging_tool: {
    async run(_args, ctx) {
      await log(ctx, 'Only for who asked');
      return said(text('Said a line to who asked for it'));
    },
  },
  test_tool_with_progress: {
    async run(_args, ctx) {
      await progress(ctx, [[0, 'begun'], [50, 'half'], [100, 'done']]);
      return said(text('Three steps'));
    },
  },
  // Lets the client come back for the answer.
  test_reconnection: {
    async run(_args, ctx) {
      ctx.http?.closeSSE?.();
      await pause(AFTER_CLOSING);
      return said(text('The stream was closed in between'));
    },
  },
  json_schema_2020_12_tool: { schema: schema2020, run: (args) => said(text(JSON.stringify(args))) },
  test_x_mcp_header: {
    input: { region: { type: 'string', 'x-mcp-header': 'Region' }, count: { type: 'integer', 'x-mcp-header': 'Count' } },
    required: [],
    run: ({ region = '', count = 0 }) => said(text(`region=${region} count=${count}`)),
  },
  test_trigger_tool_change: { run: () => (changed.tools(), said(text('Told that tools changed'))) },
  test_trigger_prompt_change: { run: () => (changed.prompts(), said(text('Told that prompts changed'))) },
  // For those who try what a gateway does, beyond the suite.
  echo: { input: { message: { type: 'string' } }, run: ({ message }) => said(text(`Echo: ${message}`)) },
  wait: {
    input: { milliseconds: { type: 'integer' }, label: { type: 'string' } },
    async run({ milliseconds, label }, ctx) {
      const { signal } = ctx.mcpReq;
      const stopped = new Promise((done) => signal.addEventListener('abort', done));
      await Promise.race([pause(milliseconds), stopped]);
      if (signal.aborted) changed.cancelled(label);
      return said(text('Waited'));
    },
  },
  was_cancelled: { input: { label: { type: 'string' } }, run: ({ label }) => said(text(changed.wasCancelled(label) ? 'yes' : 'no')) },
  touch_watched: { run: () => (changed.resource('test://watched-resource'), said(text('Touched'))) },
});
