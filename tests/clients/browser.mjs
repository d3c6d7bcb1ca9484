// A real Chromium without a screen: node browser.mjs CHROMIUM. Takes lines, each of which may say `as`, the name of a
// person with cookies of their own:
//   {do: "goto", url}                        the head of what came: url, status, headers
//   {do: "fill", label, value}               types into the field of that label
//   {do: "click", name}                      presses the button or link with that text, and waits for what it opens
//   {do: "wait", url} or {do: "wait", text}  until the address begins with it, or the page shows it
//   {do: "look"}                             address, title, the text that is shown, names of fields, buttons and links
//   {do: "cookies"}, {do: "forget"}          the cookies of all sites; without any from now on
//   {do: "frames"}                           the addresses of the page and of what it frames
//   {do: "heads"}                            of every page that was shown or redirected from, since the last time
//   {do: "run", script}                      what an expression is worth in the page
//   {do: "serve", url, html}                 a page of a site that does not exist
//   {do: "shoot", path, width, dark}         a picture of the whole page
//   {do: "complaints"}                       what the pages' consoles said, since the last time
import { answerLines, say } from './lines.mjs';
import { load } from './packages.mjs';

const { chromium } = (await load('playwright-core')).default;
const browser = await chromium.launch({
  executablePath: process.argv[2],
  args: [
    // Tests run as root in containers; the pages are our own.
    '--no-sandbox',
    '--disable-dev-shm-usage',
    // Nothing but this machine is there.
    '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1',
  ],
});
say({ ok: { version: browser.version() } });

const PATIENCE = 30_000;
const people = new Map();

async function person(name = '') {
  const known = people.get(name);
  if (known) return known;
  const context = await browser.newContext({ viewport: { width: 1100, height: 800 }, ignoreHTTPSErrors: true });
  context.setDefaultTimeout(PATIENCE);
  const page = await context.newPage();
  const one = { context, page, heads: [], complaints: [] };
  page.on('response', async (response) => {
    if (!response.request().isNavigationRequest() || response.frame() !== page.mainFrame()) return;
    one.heads.push(head(response));
  });
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) one.complaints.push({ url: message.location().url, text: message.text() });
  });
  page.on('pageerror', (error) => one.complaints.push({ url: page.url(), text: `${error}` }));
  people.set(name, one);
  return one;
}

const head = (response) => ({ url: response.url(), status: response.status(), headers: response.headers() });
const taken = (list) => list.splice(0, list.length);

const verbs = {
  async goto({ page }, { url }) {
    return head(await page.goto(url));
  },
  fill: ({ page }, { label, value }) =>
    page.getByLabel(label, { exact: true }).or(page.getByPlaceholder(label, { exact: true })).fill(value),
  async click({ page }, { name }) {
    const hasText = new RegExp(`^\\s*${name.replace(/[^\w ]/g, '\\$&')}\\s*$`);
    await page.getByRole('button').or(page.getByRole('link')).filter({ hasText }).click();
    await page.waitForLoadState();
  },
  async wait({ page }, { url, text }) {
    if (url) await page.waitForURL((now) => now.href.startsWith(url));
    if (text) await page.getByText(text).first().waitFor();
  },
  look: async ({ page }) => ({
    url: page.url(),
    title: await page.title(),
    text: await page.locator('body').innerText(),
    fields: await page.locator('input:not([type=hidden])').evaluateAll((all) => all.map((one) => one.labels?.[0]?.innerText ?? '')),
    buttons: await page.getByRole('button').allInnerTexts(),
    links: await page.getByRole('link').allInnerTexts(),
  }),
  cookies: ({ context }) => context.cookies(),
  forget: ({ context }) => context.clearCookies(),
  frames: ({ page }) => page.frames().map((frame) => frame.url()),
  heads: ({ heads }) => taken(heads),
  complaints: ({ complaints }) => taken(complaints),
  run: ({ page }, { script }) => page.evaluate(script),
  serve: ({ context }, { url, html }) =>
    context.route(url, (route) => route.fulfill({ contentType: 'text/html', body: html })),
  async shoot({ page }, { path, width = 1100, dark = false }) {
    await page.setViewportSize({ width, height: 800 });
    await page.emulateMedia({ colorScheme: dark ? 'dark' : 'light' });
    await page.screenshot({ path, fullPage: true });
  },
};

async function answer(line) {
  const one = await person(line.as);
  try {
    return await verbs[line.do](one, line);
  } catch (error) {
    const text = await one.page.locator('body').innerText().catch(() => '');
    throw new Error(`${error.message}\nThe page is ${one.page.url()}:\n${text}`);
  }
}

answerLines(answer, () => browser.close());
