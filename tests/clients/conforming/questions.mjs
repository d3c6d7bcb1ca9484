// Tools that need something of the client. Each says `input_required`; in a session the SDK asks by real requests.
import * as forms from './forms.mjs';
import { text } from './bytes.mjs';

const elicit = (message, requestedSchema) => ({ method: 'elicitation/create', params: { mode: 'form', message, requestedSchema } });
const sample = (prompt, maxTokens = 100) => ({
  method: 'sampling/createMessage',
  params: { messages: [{ role: 'user', content: text(prompt) }], maxTokens },
});
const roots = { method: 'roots/list', params: {} };

const elicited = (answer) => `action=${answer.action}, content=${JSON.stringify(answer.content ?? {})}`;
const sampled = (answer) => [answer.content].flat().find((part) => part?.type === 'text')?.text ?? 'nothing';
const listed = (answer) => answer.roots.map((root) => root.uri).join(' ');

// What an answer must be for its question to be answered.
const fits = {
  'elicitation/create': (answer, { params }) =>
    typeof answer?.action === 'string' &&
    (answer.action !== 'accept' || params.requestedSchema.required.every((field) => answer.content?.[field] !== undefined)),
  'sampling/createMessage': (answer) => answer?.content !== undefined && typeof answer?.role === 'string',
  'roots/list': (answer) => Array.isArray(answer?.roots),
};

// Asks everything that is not answered yet, or goes on with the answers.
export function asking(questions, then, more = {}) {
  return async (args, ctx) => {
    const wanted = typeof questions === 'function' ? await questions(args, ctx) : questions;
    const answers = ctx.mcpReq.inputResponses ?? {};
    const open = Object.entries(wanted).filter(([key, question]) => !fits[question.method](answers[key], question));
    if (!open.length) return then(answers, args, ctx);
    const state = more.state && { requestState: await more.state(ctx) };
    return { resultType: 'input_required', inputRequests: Object.fromEntries(open), ...state };
  };
}

const said = (what) => ({ content: [text(what)] });

export function questionTools(codec) {
  const state = (step) => () => codec.mint({ step });
  const steps = {
    undefined: asking({ step1: elicit('Step 1: What is your name?', forms.name) }, () => 'next', { state: state('one') }),
    one: asking({ step1: elicit('Step 1: What is your name?', forms.name) }, () => 'next', { state: state('one') }),
    two: asking({ step2: elicit('Step 2: What is your favorite color?', forms.color) }, (answers) =>
      said(`Your color: ${elicited(answers.step2)}`), { state: state('two') }),
  };
  const everything = {
    user_name: elicit('What is your name?', forms.name),
    greeting: sample('Generate a greeting', 50),
    client_roots: roots,
  };
  return {
    test_sampling: {
      input: { prompt: { type: 'string' } },
      run: asking(({ prompt }) => ({ answer: sample(prompt) }), ({ answer }) => said(`LLM response: ${sampled(answer)}`)),
    },
    test_elicitation: {
      input: { message: { type: 'string' } },
      run: asking(({ message }) => ({ answer: elicit(message, forms.user) }), ({ answer }) => said(`User response: ${elicited(answer)}`)),
    },
    test_elicitation_sep1034_defaults: {
      run: asking({ answer: elicit('All of these have defaults', forms.defaults) }, ({ answer }) => said(`Elicitation completed: ${elicited(answer)}`)),
    },
    test_elicitation_sep1330_enums: {
      run: asking({ answer: elicit('Choose some of these', forms.choices) }, ({ answer }) => said(`Elicitation completed: ${elicited(answer)}`)),
    },
    test_missing_capability: {
      run: asking({ answer: sample('Say something') }, ({ answer }) => said(sampled(answer))),
    },
    test_streaming_elicitation: {
      run: asking({ answer: elicit('What is your name?', forms.name) }, ({ answer }) => said(elicited(answer))),
    },
    test_input_required_result_elicitation: {
      run: asking({ user_name: elicit('What is your name?', forms.name) }, ({ user_name }) => said(`Hello, ${user_name.content?.name ?? 'nobody'}!`)),
    },
    test_input_required_result_sampling: {
      run: asking({ capital_question: sample('What is the capital of France?') }, ({ capital_question }) => said(sampled(capital_question))),
    },
    test_input_required_result_list_roots: {
      run: asking({ client_roots: roots }, ({ client_roots }) => said(`Roots: ${listed(client_roots)}`)),
    },
    test_input_required_result_request_state: {
      run: asking({ confirm: elicit('Please confirm', forms.confirmed) }, (_answers, _args, ctx) =>
        said(ctx.mcpReq.requestState()?.step === 'confirm' ? 'state-ok' : 'no state'), { state: state('confirm') }),
    },
    test_input_required_result_tampered_state: {
      run: asking({ confirm: elicit('Please confirm', forms.confirmed) }, (_answers, _args, ctx) =>
        said(ctx.mcpReq.requestState()?.step === 'tampered' ? 'state-ok' : 'no state'), { state: state('tampered') }),
    },
    test_input_required_result_multiple_inputs: {
      run: asking(everything, ({ user_name, greeting, client_roots }) =>
        said(`${sampled(greeting)} ${elicited(user_name)} ${listed(client_roots)}`), { state: state('all') }),
    },
    test_input_required_result_multi_round: {
      async run(args, ctx) {
        const step = ctx.mcpReq.requestState()?.step;
        const result = await steps[step](args, ctx);
        return result === 'next' ? steps.two(args, ctx) : result;
      },
    },
    // Asks for what the client says that it can do, and for nothing else.
    test_input_required_result_capabilities: {
      run: asking((_args, ctx) => {
        const can = ctx.mcpReq.envelope?.['io.modelcontextprotocol/clientCapabilities'] ?? {};
        const needs = { user_name: 'elicitation', greeting: 'sampling', client_roots: 'roots' };
        return Object.fromEntries(Object.entries(everything).filter(([key]) => can[needs[key]]));
      }, () => said('Nothing is left to ask')),
    },
  };
}

export const questionPrompts = {
  test_input_required_result_prompt: {
    run: asking({ user_context: elicit('What context should the prompt use?', forms.context) }, ({ user_context }) => ({
      messages: [{ role: 'user', content: text(`The context: ${elicited(user_context)}`) }],
    })),
  },
};
