// The dashboard in a real browser: no console message, no sideways scroll and no axe violation on any
// page, light and dark, wide and narrow; and the ways from page to page.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { dashboard } from './browser.mjs';

const site = dashboard();
const { base, open, looks } = site;

/** A customer with a segment, the newest run, and the newest that moved somebody: not known beforehand. */
async function addresses() {
  const { page } = await open('/customers');
  const customer = await page.locator('.rows tbody tr:has(.dot) th a').first().getAttribute('href');
  await page.goto('/runs');
  const runs = await page.locator('.rows tbody th a').evaluateAll((links) => links.map((link) => link.getAttribute('href')));
  const [run] = runs;
  let moved = null;
  for (const each of runs) {
    await page.goto(each);
    if (await page.getByRole('heading', { name: 'Receipt' }).count()) {
      moved = each;
      break;
    }
  }
  assert.ok(moved, 'the newest 50 runs moved nobody');
  await page.context().close();
  return { customer, run, moved };
}

const SOME_ORDERS = `order_id,customer_id,email,ordered_at,total,currency,status,first_name,note
B-1,c1,anna@example.com,2026-01-02,1210.00,EUR,paid,Anna,x
B-2,,a.guest.with.a.long.address@mail.example.com,2026-01-03,20.00,EUR,refunded,,x
B-3,c1,anna@example.com,never,20.00,EUR,paid,Anna,x
`;

/** Uploads a file through the form; returns its address. */
async function uploaded(name, text) {
  const { page, complaints } = await open('/import');
  await page.getByLabel('An export').setInputFiles({ name, mimeType: 'text/csv', buffer: Buffer.from(text) });
  await page.getByRole('button', { name: 'Upload' }).click();
  await page.waitForURL('**/import/*');
  const path = new URL(page.url()).pathname;
  assert.deepEqual(complaints, []);
  await page.context().close();
  return path;
}

/** Uploads and imports a file, waiting as the page does: by loading itself again. */
async function imported(name, text) {
  const path = await uploaded(name, text);
  const { page } = await open(path);
  await page.getByRole('button', { name: 'Import', exact: true }).click();
  await page.getByText('What was imported').waitFor();
  await page.context().close();
  return path;
}

test('every page in every look', async (t) => {
  const { customer, run, moved } = await addresses();
  const pages = {
    overview: '/',
    revenue: '/?by=revenue',
    customers: '/customers',
    filtered: '/customers?segment=at_risk&r=2',
    search: '/customers?q=a',
    nobody: '/customers?q=nobody%40nowhere',
    customer,
    runs: '/runs',
    run,
    moved,
    'moved-unchanged': `${moved}?unchanged=1`,
    import: '/import',
    imported: await imported('done.csv', SOME_ORDERS),
    unusable: await uploaded('unusable.csv', 'Order Number;Order Date;Order Total Amount\n'),
    // The last: a file that waits gives way to the next.
    waiting: await uploaded('waits.csv', SOME_ORDERS),
  };
  for (const [name, path] of Object.entries(pages)) await t.test(name, () => looks(name, path));
});

test('pages of errors and of nothing are pages too', async () => {
  const { page, status } = await open('/nowhere');
  assert.equal(status, 404);
  assert.equal(await page.locator('h1').textContent(), 'Not here');
  assert.equal(await page.locator('nav a').count(), 8);
  await page.context().close();
  await looks('error', '/nowhere', { status: 404 });
});

test('a cell of the heat map leads to its customers', async () => {
  const { page, complaints } = await open('/');
  const cell = page.locator('.heat a').last();
  const [, r, f] = (await cell.getAttribute('href')).match(/r=(\d)&f=(\d)/);
  await cell.click();
  await page.waitForURL(`**/customers?r=${r}&f=${f}`);
  const scores = await page.locator('.rows tbody .rfm span[aria-hidden]').allTextContents();
  assert.ok(scores.length > 0);
  for (const score of scores) assert.match(score, new RegExp(`^${r} ${f} \\d$`));

  await page.locator('.rows tbody th a').first().click();
  await page.waitForURL('**/customers/*');
  assert.match((await page.locator('.kpi div').first().textContent()).replace(/\s+/g, ''), new RegExp(`R${r}of5`));
  assert.deepEqual(complaints, []);
  await page.context().close();
});

test('search and filters go through the form', async () => {
  const { page } = await open('/customers');
  const name = await page.locator('.rows tbody th a').first().textContent();
  await page.getByLabel('Search').fill(name);
  await page.getByRole('button', { name: 'Show' }).click();
  await page.waitForURL('**/customers?q=*');
  assert.ok((await page.locator('.rows tbody th a').allTextContents()).includes(name));
  await page.getByRole('link', { name: 'Clear' }).click();
  await page.waitForURL('**/customers');
  await page.getByLabel('Segment').selectOption('lost');
  await page.getByRole('button', { name: 'Show' }).click();
  await page.waitForURL('**segment=lost**');
  for (const label of await page.locator('.rows .sg').allTextContents()) assert.equal(label.trim(), 'Lost');
  await page.context().close();
});

test('the keyboard reaches the content first', async () => {
  const { page } = await open('/');
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Skip to content');
  await page.keyboard.press('Enter');
  await page.waitForURL(/#main$/);
  await page.context().close();
});

test('Score now comes back to the Overview', async () => {
  const { page, complaints } = await open('/');
  await page.getByRole('button', { name: 'Score now' }).click();
  await page.waitForURL('**/');
  assert.equal(await page.locator('h1').textContent(), 'Overview');
  assert.deepEqual(complaints, []);
  await page.context().close();
});

test('a file is tried out and imported through the page', async () => {
  const path = await uploaded('orders.csv', SOME_ORDERS);
  const { page, complaints } = await open(path);
  assert.match(await page.locator('.plain tbody').first().textContent(), /anna@example\.com/);
  await page.getByRole('button', { name: 'Dry run' }).click();
  await page.getByText('What an import would do').waitFor();
  await page.getByRole('button', { name: 'Import', exact: true }).click();
  await page.getByText('What was imported').waitFor();
  assert.match(await page.locator('.counts').textContent(), /Rejected rows1/);
  const [download] = await Promise.all([
    page.waitForEvent('download'),
    page.getByRole('link', { name: 'Rejected rows' }).click(),
  ]);
  assert.match(download.suggestedFilename(), /^rejected-\d+\.csv$/);
  await page.getByRole('link', { name: 'Import' }).first().click();
  assert.ok((await page.locator('.rows tbody th a').allTextContents()).includes('orders.csv'));
  // A download ends the navigation that began it, which the browser calls a failed request.
  assert.deepEqual(complaints.filter((complaint) => !complaint.includes('/rejected.csv')), []);
  await page.context().close();
});

test('a form on another site starts nothing', async () => {
  const context = await site.browser.newContext();
  const page = await context.newPage();
  await page.setContent(`<form method="post" action="${base}/runs"><button>Win</button></form>`);
  const [response] = await Promise.all([
    page.waitForResponse((response) => response.request().method() === 'POST'),
    page.getByRole('button').click(),
  ]);
  assert.equal(response.status(), 403);
  await context.close();
});
