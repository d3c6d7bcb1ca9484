// Resources, and prompts that need nothing of the client.
import { PNG, embedded, image, text } from './bytes.mjs';

const WATCHED = 'test://watched-resource';

export const resources = {
  'static-text': { uri: 'test://static-text', mimeType: 'text/plain', of: { text: 'What the static text says.' } },
  'static-binary': { uri: 'test://static-binary', mimeType: 'image/png', of: { blob: PNG } },
  'watched-resource': { uri: WATCHED, mimeType: 'text/plain', of: { text: 'What somebody waits for.' } },
};

export const template = {
  uri: 'test://template/{id}/data',
  mimeType: 'application/json',
  read: (uri, { id }) => ({
    contents: [{ uri: uri.toString(), mimeType: 'application/json', text: JSON.stringify({ id, templateTest: true, data: `Data for ID: ${id}` }) }],
  }),
};

const message = (content) => ({ role: 'user', content });

export const prompts = {
  test_simple_prompt: { run: () => ({ messages: [message(text('This is a simple prompt for testing.'))] }) },
  test_prompt_with_arguments: {
    args: { arg1: 'The first', arg2: 'The second' },
    run: ({ arg1, arg2 }) => ({ messages: [message(text(`Prompt with arguments: arg1='${arg1}', arg2='${arg2}'`))] }),
  },
  test_prompt_with_embedded_resource: {
    args: { resourceUri: 'What to put in' },
    run: ({ resourceUri }) => ({
      messages: [message(embedded(resourceUri, 'text/plain', 'What lies in the prompt.')), message(text('Look at the resource above.'))],
    }),
  },
  test_prompt_with_image: { run: () => ({ messages: [message(image), message(text('Look at the picture above.'))] }) },
};
