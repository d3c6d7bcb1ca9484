// A script that is asked by lines of JSON and answers each with a line; it ends with its standard input.
import { createInterface } from 'node:readline';

export const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);

export async function answerLines(answer, end = () => {}) {
  for await (const line of createInterface({ input: process.stdin })) {
    try {
      say({ ok: (await answer(JSON.parse(line))) ?? null });
    } catch (error) {
      say({ error: `${error?.stack ?? error}` });
    }
  }
  await end();
  process.exit(0);
}
