// The sign-in page in a real browser, light and dark, wide and narrow, and the way through it. Starts a
// dashboard with a password of its own.

import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { axe, launch, shots } from './browser.mjs';

const PASSWORD = 'correct horse battery';
const quintile = new URL('../../target/debug/quintile', import.meta.url).pathname;

let browser;
let folder;
let server;
let base;

// The other tests' variable would be a setting of this server.
const { QUINTILE_URL: _, ...env } = process.env;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'quintile-login-'));
  const hash = spawnSync(quintile, ['hash-password'], { env, input: `${PASSWORD}\n`, encoding: 'utf8' }).stdout.trim();
  assert.match(hash, /^\$argon2id\$/);
  writeFileSync(
    join(folder, 'config.toml'),
    `[webhooks]\nlisten = "127.0.0.1:0"\n[dashboard]\nlisten = "127.0.0.1:0"\npassword_hash = "${hash}"\n`,
  );
  server = spawn(quintile, ['serve'], { cwd: folder, env, stdio: ['ignore', 'pipe', 'ignore'] });
  for await (const line of createInterface({ input: server.stdout })) {
    base = line.match(/^dashboard +(\S+)/)?.[1];
    if (base) break;
  }
  assert.ok(base, 'the dashboard did not start');
  browser = await launch();
});
after(async () => {
  await browser?.close();
  server?.kill();
  if (folder) rmSync(folder, { recursive: true });
});

/** A fresh browser on a page, and what it complains of but for the status of the page itself. */
async function open(path, { width = 1280, scheme = 'light', bypassCSP = false } = {}) {
  const context = await browser.newContext({
    viewport: { width, height: 900 },
    colorScheme: scheme,
    bypassCSP,
    baseURL: base,
  });
  const page = await context.newPage();
  const complaints = [];
  page.on('console', (message) => {
    if (!message.text().includes('401 (Unauthorized)')) complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(String(error)));
  await page.goto(path);
  return { page, complaints };
}

async function signIn(page, password) {
  // Who types before the page has put the cursor there is told of it on the console.
  await page.locator('input[type=password]:focus').waitFor();
  await page.getByLabel('Password').fill(password);
  await page.getByRole('button', { name: 'Sign in' }).click();
}

/** No complaint, no sideways scroll, and with the policy out of axe's way no violation. */
async function isSound(name, { width, scheme }, arrive) {
  const { page, complaints } = await open('/customers?segment=lost', { width, scheme });
  await arrive(page);
  if (shots) await page.screenshot({ path: `${shots}/${name}-${width}-${scheme}.png`, fullPage: true });
  const sideways = await page.evaluate(
    () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
  );
  assert.equal(sideways, 0, 'the page scrolls sideways');
  assert.deepEqual(complaints, []);
  await page.context().close();

  const checked = await open('/customers?segment=lost', { width, scheme, bypassCSP: true });
  await arrive(checked.page);
  await checked.page.addScriptTag({ path: axe });
  const { violations } = await checked.page.evaluate(() => globalThis.axe.run());
  assert.deepEqual(violations.map((rule) => `${rule.id}: ${rule.nodes.map((node) => node.html).join(' | ')}`), []);
  await checked.page.context().close();
}

test('the sign-in in every look', async (t) => {
  for (const scheme of ['light', 'dark']) {
    for (const width of [1280, 390]) {
      await t.test(`${scheme} ${width}`, () =>
        isSound('sign-in', { width, scheme }, async (page) => {
          assert.equal(await page.locator('h1').textContent(), 'Sign in');
          assert.equal(await page.locator('nav').count(), 0);
        }),
      );
    }
  }
  await t.test('after a wrong password', () =>
    isSound('wrong', { width: 390, scheme: 'light' }, async (page) => {
      await signIn(page, 'wrong');
      await page.getByRole('alert').waitFor();
    }),
  );
  for (const width of [1280, 390]) {
    await t.test(`inside ${width}`, () =>
      isSound('inside', { width, scheme: 'light' }, async (page) => {
        await signIn(page, PASSWORD);
        await page.waitForURL('**/customers?segment=lost');
        await page.getByRole('button', { name: 'Sign out' }).waitFor();
      }),
    );
  }
});

test('in, out, and kept out', async () => {
  const { page, complaints } = await open('/runs');
  assert.equal(new URL(page.url()).pathname, '/login');
  await signIn(page, PASSWORD);
  await page.waitForURL('**/runs');
  const [session] = (await page.context().cookies()).filter((cookie) => cookie.name === 'quintile_session');
  assert.equal(session.httpOnly && session.sameSite === 'Lax' && !session.secure, true);
  await page.getByRole('button', { name: 'Score now' }).click();
  await page.waitForURL(`${base}/`);
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.waitForURL('**/login');
  await page.goBack();
  assert.equal(await page.locator('h1').textContent(), 'Sign in', 'nothing is shown from memory');
  assert.deepEqual(complaints, []);
  await page.context().close();
});

test('a form of another site signs nobody in or out', async () => {
  const { page } = await open('/login');
  await signIn(page, PASSWORD);
  await page.waitForURL(`${base}/`);
  const elsewhere = await page.context().newPage();
  const form = `<form method="post" action="${base}/logout"><button>Win</button></form>`;
  await elsewhere.goto(`data:text/html,${encodeURIComponent(form)}`);
  await elsewhere.getByRole('button').click();
  await elsewhere.waitForURL(`${base}/**`);
  await page.goto('/customers');
  assert.equal(await page.locator('h1').textContent(), 'Customers');
  await page.context().close();
});
