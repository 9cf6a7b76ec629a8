// Words, numbers and lists in a real browser: a heading leads to its meaning, whoever is not scored is
// found, and lists can be turned around.
//
// QUINTILE_URL and SHOTS as in browser.mjs.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { axe, dashboard, shots } from './browser.mjs';

const site = dashboard();
const { open } = site;

test('pages with words to look up, in every look', async (t) => {
  const pages = {
    'not-scored': ['/customers?segment=none', 200],
    'unknown-segment': ['/customers?segment=xyz', 400],
    'run-that-is-not-there': ['/segments?from=999', 200],
    'oldest-deliveries': ['/deliveries?state=delivered&order=oldest', 200],
  };
  for (const [name, [path, status]] of Object.entries(pages)) {
    for (const scheme of ['light', 'dark']) {
      for (const width of [1280, 390]) {
        await t.test(`${name} ${scheme} ${width}`, async () => {
          const { page, status: answered } = await open(path, { width, scheme, bypassCSP: true });
          assert.equal(answered, status);
          if (shots) await page.screenshot({ path: `${shots}/${name}-${width}-${scheme}.png`, fullPage: true });
          const sideways = await page.evaluate(
            () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
          );
          assert.equal(sideways, 0, 'the page scrolls sideways');
          await page.addScriptTag({ path: axe });
          const { violations } = await page.evaluate(() => globalThis.axe.run());
          assert.deepEqual(violations.map((rule) => `${rule.id}: ${rule.nodes.map((node) => node.html).join(' | ')}`), []);
          await page.context().close();
        });
      }
    }
  }
});

test('a heading leads to what it means', async () => {
  const { page, complaints } = await open('/runs');
  await page.getByRole('columnheader', { name: 'Moved' }).getByRole('link', { name: 'Moved', exact: true }).click();
  const entry = page.locator('.terms div:target');
  assert.match(await entry.textContent(), /^Moved: in another segment than in the run before/);
  assert.ok(await entry.isVisible());
  assert.deepEqual(complaints, []);
  await page.context().close();
});

test('who is not scored is a click away and says why', async () => {
  const { page } = await open('/');
  await page.getByRole('link', { name: 'who is not scored' }).click();
  await page.waitForURL('**/customers?segment=none');
  const reasons = await page.locator('.rows tbody .sg').allTextContents();
  assert.ok(reasons.length > 0);
  for (const reason of reasons) assert.match(reason, /^(no counted order|not yet|erased)$/);
  await page.context().close();
});

test('deliveries can be listed from the oldest on, page by page', async () => {
  const { page } = await open('/deliveries?state=delivered');
  await page.getByRole('link', { name: 'Oldest first' }).click();
  await page.waitForURL('**/deliveries?*order=oldest*');
  const ids = async () => (await page.locator('.rows tbody th a').evaluateAll((all) => all.map((it) => Number(it.pathname.split('/').pop()))));
  const first = await ids();
  await page.getByRole('link', { name: 'Next page' }).click();
  await page.waitForURL('**/deliveries?*after=*');
  const second = await ids();
  assert.ok(first.at(-1) < second[0], `${first.at(-1)} comes before ${second[0]}`);
  await page.getByRole('link', { name: 'Newest first' }).click();
  assert.ok((await ids())[0] > second[0]);
  await page.context().close();
});

test('the demo names the addresses it really has', async () => {
  const { page } = await open('/settings');
  const [dashboard] = await page.locator('.settings section', { hasText: 'dashboard' }).locator('tr', { hasText: 'listen' }).allTextContents();
  assert.ok(dashboard.includes(new URL(site.base).host) && dashboard.includes('config.toml, line'), dashboard);
  await page.goto('/import');
  assert.match(await page.getByText('Your tunnel or web server passes these to').textContent(), /127\.0\.0\.1:[1-9]\d+ on this machine/);
  await page.context().close();
});
