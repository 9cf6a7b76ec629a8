// The pages of segments, of one segment and of the settings in a real browser, and erasing a person:
// no console message, no sideways scroll and no axe violation, light and dark, wide and narrow; the
// ways between them; and what goes to the printer.
//
// QUINTILE_URL and SHOTS as in browser.mjs.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { dashboard, shots } from './browser.mjs';

const { open, looks } = dashboard();

/** Values of the runs to choose from, newest first. */
async function runs() {
  const { page } = await open('/segments');
  const values = await page.locator('select[name=from] option').evaluateAll((all) => all.map((one) => one.value));
  await page.context().close();
  return values;
}

const unfold = (page) => page.locator('details').evaluateAll((all) => all.forEach((it) => (it.open = true)));

test('every page in every look', async (t) => {
  const [newest, , , , , , , , , older] = await runs();
  const pages = {
    segments: ['/segments'],
    flow: [`/segments?from=${older}&to=${newest}&unchanged=1`, { act: unfold }],
    segment: ['/segments/at_risk'],
    unknown: ['/segments/nobody', { status: 404 }],
    settings: ['/settings'],
  };
  for (const [name, [path, how]] of Object.entries(pages)) await t.test(name, () => looks(name, path, how));
});

test('from all segments to one and to its customers', async () => {
  const { page, complaints } = await open('/');
  await page.getByRole('navigation', { name: 'Main' }).getByRole('link', { name: 'Segments' }).click();
  await page.waitForURL('**/segments');
  await page.locator('.seg').getByRole('link', { name: 'At risk' }).click();
  await page.waitForURL('**/segments/at_risk');
  assert.equal((await page.locator('h1').textContent()).trim(), 'At risk');
  await page.getByRole('link', { name: 'All of them' }).click();
  await page.waitForURL('**/customers?segment=at_risk');
  for (const label of await page.locator('.rows tbody .sg').allTextContents()) assert.equal(label.trim(), 'At risk');
  await page.locator('.rows tbody th a').first().click();
  await page.waitForURL('**/customers/*');
  assert.match(await page.locator('.sub').first().textContent(), /^At risk/);
  await page.locator('.sub a.tag').click();
  await page.waitForURL('**/segments/at_risk');
  assert.deepEqual(complaints, []);
  await page.context().close();
});

test('two runs are chosen, and the drawing and the table say the same', async () => {
  const [newest, , , , , , , , , older] = await runs();
  const { page, complaints } = await open('/segments');
  await page.getByLabel('From the run of').selectOption(older);
  await page.getByLabel('to the run of').selectOption(newest);
  await page.getByRole('button', { name: 'Show' }).click();
  await page.waitForURL(`**/segments?from=${older}&to=${newest}**`);
  assert.equal(await page.getByLabel('From the run of').inputValue(), older);
  const numbers = (texts) => texts.map((text) => Number(text.replace(/\D/g, ''))).filter((number) => number > 0);
  const sum = (list) => list.reduce((all, one) => all + one, 0);
  const cells = numbers(await page.locator('.matrix tbody td:not(.all)').allTextContents());
  const ribbons = numbers((await page.locator('.sankey path title').allTextContents()).map((text) => text.split(':')[1]));
  assert.ok(cells.length > 3);
  assert.deepEqual([...cells].sort(), [...ribbons].sort());
  const without = sum(cells);
  await page.getByLabel('Also who stayed').check();
  await page.getByRole('button', { name: 'Show' }).click();
  await page.waitForURL('**unchanged=1**');
  const all = sum(numbers(await page.locator('.matrix tbody td:not(.all)').allTextContents()));
  assert.ok(all > without, `${all} with those who stayed, ${without} without`);
  assert.deepEqual(complaints, []);
  await page.context().close();
});

test('a person is erased only when their id is typed', async () => {
  const { page } = await open('/customers?segment=lost');
  await page.locator('.rows tbody th a').nth(3).click();
  await page.waitForURL('**/customers/*');
  const path = new URL(page.url()).pathname;
  const id = path.split('/').pop();
  await page.getByText('Erase this person').click();
  await page.getByLabel('to confirm').fill('yes');
  await page.getByRole('button', { name: 'Erase' }).click();
  await page.getByText('Nothing was erased').waitFor();
  await page.goto(path);
  await page.getByText('Erase this person').click();
  await page.getByLabel('to confirm').fill(id);
  await page.getByRole('button', { name: 'Erase' }).click();
  await page.waitForURL(`**/customers?erased=${id}`);
  assert.match(await page.locator('.notice').textContent(), new RegExp(`Customer ${id} has no name any more`));
  await page.goto(path);
  assert.equal(await page.getByText('Erase this person').count(), 0);
  await page.context().close();
});

test('on paper there is nothing to press, and bars are there', async () => {
  for (const path of ['/', '/segments', '/customers']) {
    const { page } = await open(path, { scheme: 'dark' });
    await page.emulateMedia({ media: 'print', colorScheme: 'dark' });
    if (shots) await page.screenshot({ path: `${shots}/print${path.replace('/', '-')}.png`, fullPage: true });
    for (const gone of ['.side', 'button', 'form', '.button']) {
      for (const element of await page.locator(gone).all()) assert.equal(await element.isVisible(), false, `${path} ${gone}`);
    }
    if (path !== '/customers') assert.ok(await page.locator('.seg .k2').first().isVisible());
    const white = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    assert.equal(white, 'rgb(255, 255, 255)');
    const text = await page.evaluate(() => getComputedStyle(document.body).color);
    assert.equal(text, 'rgb(0, 0, 0)');
    assert.equal(await page.evaluate(() => getComputedStyle(document.body).printColorAdjust), 'exact');
    await page.context().close();
  }
});
