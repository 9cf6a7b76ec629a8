// Makes the pictures of the README: `npm run pictures`, with QUINTILE_URL naming a running demo
// (`quintile demo`). Writes docs/pictures, in the size and the light that the README shows.

import { mkdirSync, writeFileSync } from 'node:fs';
import { demo, launch } from './browser.mjs';

const folder = new URL('../../docs/pictures/', import.meta.url);
const WIDTH = 1280;
const TALLEST = 1700;

if (!demo) throw new Error('QUINTILE_URL must name a running demo, like http://127.0.0.1:8787');
mkdirSync(folder, { recursive: true });
const browser = await launch();
const context = await browser.newContext({ colorScheme: 'light', baseURL: demo });
const page = await context.newPage();

/** Two nights a week apart, so that there is something to see between them. */
async function flow() {
  await page.goto('/segments');
  const runs = await page.locator('select[name=from] option').evaluateAll((all) => all.map((one) => one.value));
  return `/segments?from=${runs[8]}&to=${runs[1]}`;
}

for (const [name, path] of Object.entries({ overview: '/', segments: await flow(), deliveries: '/deliveries' })) {
  await page.setViewportSize({ width: WIDTH, height: 700 });
  await page.goto(path);
  const height = Math.min(await page.evaluate(() => document.documentElement.scrollHeight), TALLEST);
  await page.setViewportSize({ width: WIDTH, height });
  const client = await context.newCDPSession(page);
  const { data } = await client.send('Page.captureScreenshot', { format: 'webp', quality: 90 });
  writeFileSync(new URL(`${name}.webp`, folder), Buffer.from(data, 'base64'));
  console.log(`docs/pictures/${name}.webp: ${Math.round((data.length * 3) / 4 / 1000)} kB`);
}
await browser.close();
