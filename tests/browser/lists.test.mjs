// Lists in a real browser: sorted by the arrows beside their headings, filtered by their forms, and on a
// phone without a value left out.
//
// QUINTILE_URL and SHOTS as in browser.mjs.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { dashboard } from './browser.mjs';

const { open, looks } = dashboard();

/** Numbers of a column as the page shows them. */
const numbers = (page, cells) =>
  page.locator(cells).evaluateAll((all) => all.map((cell) => Number(cell.textContent.replace(/[^\d-]/g, '') || -1)));

const falling = (values) => values.every((value, index) => index === 0 || value <= values[index - 1]);

test('every list in every look', async (t) => {
  const pages = {
    'customers-sorted': '/customers?segment=lost&sort=spent',
    'search-sorted': '/customers?q=a&sort=last',
    'runs-filtered': '/runs?changed=1&sort=moved',
    'runs-none': '/runs?trigger=manual&failed=1',
    'segments-sorted': '/segments?sort=revenue&dir=asc',
    'destinations-sorted': '/destinations?sort=health',
    'syncs-none': '/syncs',
    'import-plain': '/import',
    settings: '/settings',
    overview: '/',
    'overview-revenue': '/?by=revenue',
  };
  for (const [name, path] of Object.entries(pages)) await t.test(name, () => looks(name, path));
});

test('the arrow beside a heading sorts, and turns around', async () => {
  const { page, complaints } = await open('/customers?q=an');
  await page.getByRole('link', { name: 'Sort by spent, descending' }).click();
  await page.waitForURL('**q=an&sort=spent');
  assert.ok(falling(await numbers(page, '.rows tbody td:nth-child(5)')));
  assert.equal(await page.locator('th[aria-sort=descending]').count(), 1);
  await page.getByRole('link', { name: 'Sort by spent, ascending' }).click();
  await page.waitForURL('**q=an&sort=spent&dir=asc');
  assert.ok(falling((await numbers(page, '.rows tbody td:nth-child(5)')).reverse()));

  // Another filter keeps the order, and the way back leaves it.
  await page.getByLabel('Segment').selectOption('lost');
  await page.getByRole('button', { name: 'Show' }).click();
  await page.waitForURL('**sort=spent&dir=asc');
  await page.getByRole('link', { name: 'Usual order' }).click();
  await page.waitForURL('**/customers?q=an&segment=lost');
  assert.deepEqual(complaints, []);
  await page.context().close();
});

test('runs are filtered by the form and sorted by the arrows', async () => {
  const { page } = await open('/runs');
  await page.getByRole('link', { name: 'Sort by moved, descending' }).click();
  await page.getByLabel('Only those that changed somebody').check();
  await page.getByLabel('Started').selectOption('scheduled');
  await page.getByRole('button', { name: 'Show' }).click();
  await page.waitForURL('**/runs?trigger=scheduled&changed=1&sort=moved');
  const moved = await numbers(page, '.rows tbody td:nth-child(6)');
  assert.ok(moved.length > 10 && falling(moved));
  assert.equal(await page.getByRole('link', { name: 'Download CSV' }).getAttribute('href'), '/runs.csv?trigger=scheduled&changed=1&sort=moved');
  await page.context().close();
});

test('a phone leaves out no value of a segment', async () => {
  const { page } = await open('/segments', { width: 390 });
  const row = page.locator('.seg tbody tr').first();
  for (const label of ['Customers', 'Share', 'Revenue', 'Of revenue', 'Spent each', 'Change', '12 weeks']) {
    assert.ok(await row.locator(`td[data-label="${label}"]`).isVisible(), label);
  }
  await page.getByRole('link', { name: 'Sort by change, descending' }).click();
  await page.waitForURL('**/segments?sort=change');
  await page.context().close();
});

for (const path of ['/runs', '/customers', '/deliveries?state=delivered', '/segments/champion']) {
  test(`a phone leaves out no value and no arrow of ${path}`, async () => {
    const { page } = await open(path);
    const arrows = await page.locator('.rows thead .sort').count();
    const names = await page.locator('.rows').first().locator('thead th').allInnerTexts();
    await page.context().close();
    const { page: phone } = await open(path, { width: 390 });
    const seen = await phone.locator('.rows thead .sort').evaluateAll((all) => all.filter((one) => one.checkVisibility()).length);
    assert.equal(seen, arrows);
    const cells = phone.locator('.rows').first().locator('tbody tr').first().locator('td');
    for (const cell of await cells.all()) {
      const isOfItsOwnPage = await cell.evaluate((td) => td.matches('.one .sg'));
      assert.ok(isOfItsOwnPage || (await cell.isVisible()) || (await cell.innerText()) === '', await cell.innerHTML());
    }
    const labels = await cells.evaluateAll((all) => all.map((td) => td.dataset.label).filter(Boolean));
    for (const label of labels) assert.ok(names.some((name) => name.startsWith(label)), `${label} of ${names}`);
    await phone.context().close();
  });
}
