// The forms that the tools ask people to fill in.
const object = (properties, required = []) => ({ type: 'object', properties, required });
const oneOf = (...pairs) => pairs.map(([value, title]) => ({ const: value, title }));
const string = (description) => ({ type: 'string', description });

export const name = object({ name: string('What to call you') }, ['name']);
export const color = object({ color: string('Any color') }, ['color']);
export const confirmed = object({ ok: { type: 'boolean', description: 'Whether it is so' } }, ['ok']);
export const context = object({ context: string('What it is about') }, ['context']);
export const user = object({ username: string('Your name here'), email: string('Where to write to') }, ['username', 'email']);

// Each primitive type with a default.
export const defaults = object({
  name: { ...string('Whose it is'), default: 'John Doe' },
  age: { type: 'integer', description: 'In years', default: 30 },
  score: { type: 'number', description: 'Of 100', default: 95.5 },
  status: { ...string('How it stands'), enum: ['active', 'inactive', 'pending'], default: 'active' },
  verified: { type: 'boolean', description: 'Whether somebody looked', default: true },
});

// Each of the five ways to offer a choice.
export const choices = object({
  untitledSingle: { ...string('One of three'), enum: ['option1', 'option2', 'option3'] },
  titledSingle: {
    ...string('One of three, with titles'),
    oneOf: oneOf(['value1', 'First Option'], ['value2', 'Second Option'], ['value3', 'Third Option']),
  },
  legacyEnum: {
    ...string('One of three, as it was written before'),
    enum: ['opt1', 'opt2', 'opt3'],
    enumNames: ['Option One', 'Option Two', 'Option Three'],
  },
  untitledMulti: {
    type: 'array',
    description: 'Some of three',
    minItems: 1,
    maxItems: 3,
    items: { type: 'string', enum: ['option1', 'option2', 'option3'] },
  },
  titledMulti: {
    type: 'array',
    description: 'Some of three, with titles',
    minItems: 1,
    maxItems: 3,
    items: { anyOf: oneOf(['value1', 'First Choice'], ['value2', 'Second Choice'], ['value3', 'Third Choice']) },
  },
});
