// A shop of its own in a real browser: its pages before anything came in, then with customers whose
// names and addresses are as long as they get.
//
// SHOTS as in browser.mjs.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { dashboard, serve } from './browser.mjs';

const { open, looks } = dashboard(serve);

const LONG = 'Maximiliane-Theodora von und zu Hohenstein-Oberhausen';
const MAIL = 'maximiliane.theodora.von.und.zu.hohenstein-oberhausen@mail.department.of-a-very-long-company-name.example.com';

/** 60 customers, one of them with long names. */
const orders = () => {
  const rows = ['order_id,customer_id,email,ordered_at,total,currency,status,first_name,last_name'];
  rows.push(`X-1,x1,${MAIL},2026-01-02,123456789.00,EUR,paid,${LONG},${LONG}`);
  for (let n = 0; n < 60; n += 1) {
    const day = String(1 + (n % 28)).padStart(2, '0');
    rows.push(`A-${n},c${n % 40},anna${n % 40}@example.com,2026-02-${day},${10 + n}.00,EUR,paid,Anna,Berg`);
  }
  return `${rows.join('\n')}\n`;
};

test('pages of a shop that nothing came into say what to do', async (t) => {
  for (const [name, path] of Object.entries({
    overview: '/',
    segments: '/segments',
    segment: '/segments/champion',
    customers: '/customers',
    runs: '/runs',
    deliveries: '/deliveries',
    destinations: '/destinations',
    import: '/import',
    settings: '/settings',
  })) {
    await t.test(name, () => looks(`empty-${name}`, path));
  }
});

test('long names are cut or broken, never the page', async (t) => {
  const { page, complaints } = await open('/import');
  const name = `${'an-export-with-a-long-name-'.repeat(4)}.csv`;
  await page.getByLabel('An export').setInputFiles({ name, mimeType: 'text/csv', buffer: Buffer.from(orders()) });
  await page.getByRole('button', { name: 'Upload' }).click();
  await page.waitForURL('**/import/*');
  const file = new URL(page.url()).pathname;
  await page.getByRole('button', { name: 'Import', exact: true }).click();
  await page.getByText('What was imported').waitFor();
  await page.goto('/');
  // Beside the title, and in the steps of a new shop.
  await page.getByRole('button', { name: 'Score now' }).first().click();
  // The Overview does not load itself again.
  for (let tries = 0; tries < 50 && (await page.locator('.kpi').count()) === 0; tries += 1) {
    await page.waitForTimeout(100);
    await page.goto('/');
  }
  assert.equal(await page.locator('.kpi dd').first().textContent(), '41');
  await page.goto('/customers?q=x1');
  const customer = await page.locator('.rows tbody th a').first().getAttribute('href');
  assert.equal(await page.locator('.rows tbody th a').first().textContent(), `${LONG} ${LONG}`);
  await page.goto('/customers');
  assert.deepEqual(complaints, []);
  await page.context().close();
  for (const [name, path] of Object.entries({
    overview: '/',
    segments: '/segments',
    customers: '/customers?sort=email',
    customer,
    import: '/import',
    file,
    run: '/runs/1',
  })) {
    await t.test(name, () => looks(`long-${name}`, path));
  }
});
