// Deliveries and Destinations in a real browser: no console message, no sideways scroll and no axe
// violation, light and dark, wide and narrow; and what a merchant does there with a tool that fails.
//
// QUINTILE_URL and SHOTS as in browser.mjs. The demo's destination `loyalty-app` is in trouble.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { dashboard, shots } from './browser.mjs';

const site = dashboard();
const { base, open, looks } = site;

/** The address of the first delivery in a state. */
async function first(state) {
  const { page } = await open(`/deliveries?state=${state}`);
  const href = await page.locator('.rows tbody th a').first().getAttribute('href');
  await page.context().close();
  return href;
}

/** The card of a destination. */
const card = (page, name) => page.locator('.dst').filter({ has: page.getByRole('heading', { name, exact: true }) });

test('every page in every look', async (t) => {
  const dead = await first('dead');
  const delivered = await first('delivered');
  const unfold = (page) => page.locator('summary').evaluateAll((all) => all.forEach((it) => { it.parentElement.open = true; }));
  const pages = {
    'deliveries-urgent': ['/deliveries'],
    'deliveries-retrying': ['/deliveries?state=retrying'],
    'deliveries-delivered': ['/deliveries?state=delivered&destination=demo-receiver&segment=champion'],
    'deliveries-none': ['/deliveries?state=held'],
    'deliveries-nobody': ['/deliveries?state=dead&customer=x'],
    'deliveries-decide': ['/deliveries/decide?state=dead&action=retry'],
    'deliveries-defs': ['/deliveries?state=dead', unfold],
    'delivery-dead': [dead],
    'delivery-dead-curl': [dead, unfold],
    'delivery-delivered': [delivered],
    destinations: ['/destinations'],
    'destinations-unfolded': ['/destinations', unfold],
  };
  for (const [name, [path, act]] of Object.entries(pages)) {
    await t.test(name, () => looks(name, path, { act }));
  }
});

test('a dead letter is sent again from its page', async () => {
  const dead = await first('dead');
  const { page, complaints } = await open(dead);
  await page.getByRole('button', { name: 'Send again' }).click();
  await page.waitForURL('**/deliveries/*?said=*');
  assert.notEqual(new URL(page.url()).pathname, dead);
  await page.getByText('1 delivery is tried now').waitFor();
  await page.locator('.facts').getByRole('link', { name: `delivery ${dead.split('/').pop()}` }).click();
  assert.equal(await page.locator('.sub .pill').first().textContent(), 'Replaced by a newer one');
  assert.deepEqual(complaints, []);
  await page.context().close();
});

test('all that gave up are sent again after one question', async () => {
  const { page, complaints } = await open('/deliveries?state=dead');
  const count = await page.locator('.rows tbody tr').count();
  await page.getByRole('link', { name: 'Send all of these again' }).click();
  const words = count === 1 ? '1 delivery' : `${count} deliveries`;
  assert.equal(await page.locator('h1').textContent(), `Send ${words} again?`);
  await page.getByRole('button', { name: `Send ${words} again` }).click();
  await page.getByText(`${words} ${count === 1 ? 'is' : 'are'} tried now`).waitFor();
  assert.equal(await page.locator('.empty h2').textContent(), 'None here');
  assert.deepEqual(complaints, []);
  await page.context().close();
});

test('a destination is tested, paused and resumed', async () => {
  const { page, complaints } = await open('/destinations');
  const well = card(page, 'demo-receiver');
  await well.getByRole('button', { name: 'Send a test' }).click();
  await well.getByText('It works: your tool took the test event.').waitFor();
  await card(page, 'loyalty-app').getByRole('button', { name: 'Send a test' }).click();
  await card(page, 'loyalty-app').locator('.notice').getByText('503').first().waitFor();
  await card(page, 'loyalty-app').locator('.notice summary').click();
  assert.match(await card(page, 'loyalty-app').locator('.notice pre').last().textContent(), /<support@loyalty\.example>/);
  if (shots) await page.screenshot({ path: `${shots}/destinations-tested.png`, fullPage: true });

  await well.getByRole('button', { name: 'Pause' }).click();
  await well.getByText('Paused', { exact: true }).waitFor();
  await well.getByRole('button', { name: 'Resume' }).first().click();
  await well.getByText('Healthy', { exact: true }).waitFor();

  await card(page, 'loyalty-app').getByRole('link', { name: 'Deliveries' }).click();
  await page.waitForURL('**/deliveries?destination=loyalty-app');
  assert.equal(await page.locator('h1').textContent(), 'Deliveries');
  assert.deepEqual(complaints, []);
  await page.context().close();
});

test('forms on another site do nothing', async () => {
  const context = await site.browser.newContext();
  for (const path of ['/destinations/demo-receiver/pause', '/deliveries/decide']) {
    const page = await context.newPage();
    await page.setContent(`<form method="post" action="${base}${path}"><button>Win</button></form>`);
    const [response] = await Promise.all([
      page.waitForResponse((response) => response.request().method() === 'POST'),
      page.getByRole('button').click(),
    ]);
    assert.equal(response.status(), 403, path);
  }
  await context.close();
});
